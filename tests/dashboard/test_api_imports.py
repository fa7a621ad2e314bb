"""Orders in bulk: every row gets its own result, whatever the others are."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dashboard.api.imports import read_csv, read_ndjson
from dashboard.api.models import OrderBody
from tests.builders import MINUTE, T0

Rest = Callable[[str], httpx.AsyncClient]
HEADER = "external_id,mall_id,stores,items,name,phone,address,lat,lng,notes,placed_ms,ready_ms,due_ms,priority"
CSV = {"Content-Type": "text/csv"}
NDJSON = {"Content-Type": "application/x-ndjson"}


def a_row(external_id: str, **cells: Any) -> str:
    given = {
        "external_id": external_id, "mall_id": "plaza", "stores": "macys;zara", "items": 2, "name": '"Lee, R."',
        "phone": "+1702", "address": "Main 1", "lat": 36.14, "lng": -115.19, "notes": "", "placed_ms": T0,
        "ready_ms": "", "due_ms": T0 + 90 * MINUTE, "priority": "", **cells,
    }  # fmt: skip
    return ",".join(str(given[column]) for column in HEADER.split(","))


def a_line(external_id: str, **fields: Any) -> str:
    given = {
        "external_id": external_id,
        "mall_id": "plaza",
        "stores": ["macys"],
        "dropoff": {"lat": 36.14, "lng": -115.19},
    }
    return json.dumps({**given, "placed_ms": T0, "due_ms": T0 + 90 * MINUTE, **fields})


async def send(rest: Rest, content: str | bytes, headers: dict[str, str]) -> httpx.Response:
    return await rest("maya").post("/api/v1/orders/import", content=content, headers=headers)


async def test_csv_places_every_good_row_and_names_every_bad_one(rest: Rest) -> None:
    rows = [
        a_row("x-1"),
        a_row("x-2", lat="north"),
        a_row("x-3", stores="nothing"),
        a_row("x-1"),
        a_row("x-4", items=0),
    ]
    answer = await send(rest, "\n".join([HEADER, *rows]), CSV)
    assert answer.status_code == 200
    result = answer.json()
    assert [item["row"] for item in result["items"]] == [1, 2, 3, 4, 5]
    assert [item["status"] for item in result["items"]] == [201, 422, 422, 200, 422]
    assert (result["created"], result["existing"], result["refused"]) == (1, 1, 3)
    assert result["items"][1]["problem"]["detail"].startswith("dropoff.lat")
    order = result["items"][0]["order"]
    assert (order["stores"], order["dropoff"]["name"], order["external_id"]) == (["macys", "zara"], "Lee, R.", "x-1")


async def test_ndjson_places_every_good_line(rest: Rest) -> None:
    lines = [a_line("y-1"), "{nonsense", "", a_line("y-2", due_ms="soon"), "[1]", "null", a_line("y-3")]
    result = (await send(rest, "\r\n".join(lines), NDJSON)).json()
    assert [item["status"] for item in result["items"]] == [201, 422, 422, 422, 422, 201]
    assert len((await rest("vera").get("/api/v1/orders")).json()["items"]) == 2


async def test_import_sent_twice_with_its_key_places_once(rest: Rest) -> None:
    line = json.dumps({**json.loads(a_line("z")), "external_id": None})
    headers = {**NDJSON, "Idempotency-Key": "import-1"}
    first = (await send(rest, f"{line}\n{line}", headers)).json()
    again = (await send(rest, f"{line}\n{line}", headers)).json()
    assert first == again, "the stored answer"
    assert first["created"] == 2
    assert len((await rest("vera").get("/api/v1/orders")).json()["items"]) == 2


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/octet-stream"])
async def test_other_kind_of_file_is_said(rest: Rest, kind: str) -> None:
    answer = await send(rest, "x", {"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_empty_file_is_no_row(rest: Rest) -> None:
    for headers in (CSV, NDJSON):
        assert (await send(rest, "", headers)).json() == {"items": [], "created": 0, "existing": 0, "refused": 0}


@pytest.mark.parametrize(
    "body", [b"\xff\xfe\x00", b'a,b\n"unclosed', b"a,a\n1,2,3,4,5\n", b"\x00\n\x00", b"lat\n" + b"9" * 5000]
)
def test_garbage_csv_never_raises(body: bytes) -> None:
    assert all(isinstance(row, str) for row in read_csv(body))


@pytest.mark.parametrize("body", [b"\xff", b"[" * 100_000, b'{"a":"\\ud800"}', b"NaN", b"9" * 5000])
def test_garbage_ndjson_never_raises(body: bytes) -> None:
    assert all(isinstance(row, str) for row in read_ndjson(body))


def test_csv_of_a_spreadsheet_with_its_mark_and_prefixed_columns_is_read() -> None:
    header = HEADER.replace("lat,lng", "dropoff_lat, dropoff_lng").replace(",name,", ",dropoff_name,")
    (row,) = read_csv(("\ufeff" + header + "\r\n" + a_row("x-1") + "\r\n").encode())
    assert isinstance(row, OrderBody)
    assert (row.dropoff.lat, row.dropoff.name, row.priority, row.ready_ms) == (36.14, "Lee, R.", 0, None)
