"""Replay by REST: a program opens a room, moves it, reads its marks and closes it."""

from collections.abc import Callable
from pathlib import Path

import httpx

from tests.edge.rooms.rooms_kit import END_MS, START_MS, a_recording

Rest = Callable[[str], httpx.AsyncClient]


async def test_a_program_replays_a_recording(rest: Rest, tmp_path: Path) -> None:
    a_recording(tmp_path)
    (tmp_path / "torn.ndjson.zst").write_bytes(b"(\xb5/\xfd torn")
    vera = rest("vera")
    items = {item["id"]: item for item in (await vera.get("/api/v1/recordings")).json()["items"]}
    assert items["a-day"]["story"] == "A day."
    assert items["torn"]["problem"] is not None
    refused = await vera.post("/api/v1/rooms", json={"source": "torn"})
    assert (refused.status_code, refused.json()["code"]) == (409, "bad_recording")

    opened = await vera.post("/api/v1/rooms", json={"source": "a-day", "at_ms": START_MS + 5_000})
    assert opened.status_code == 201, opened.text
    room = opened.json()["room"]
    assert [item["room"] for item in (await vera.get("/api/v1/rooms")).json()["items"]] == [room]
    at = f"/api/v1/rooms/{room}"
    while (stands := (await vera.post(f"{at}/transport")).json())["seeking_ms"] is not None:
        pass  # A busy machine answers before the room is there.
    assert (stands["at_ms"], stands["playing"]) == (START_MS + 5_000, False)
    moved = await vera.post(f"{at}/transport", json={"do": "seek", "at_ms": END_MS})
    assert (moved.status_code, moved.json()["at_ms"]) == (200, END_MS)
    marks = (await vera.get(f"{at}/marks")).json()
    assert marks["complete"]
    assert {mark["action"] for mark in marks["commands"]} == {"assign"}
    assert (await vera.post(f"{at}/transport", json={"do": "speed", "speed": 61})).status_code == 422

    assert (await rest("maya").delete(at)).status_code == 403, "vera opened it"
    assert (await vera.delete(at)).status_code == 200
    gone = await vera.post(f"{at}/transport", json={"do": "play"})
    assert (gone.status_code, gone.json()["code"]) == (410, "room_closed")
