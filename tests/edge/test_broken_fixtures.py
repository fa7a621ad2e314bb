"""A broken fixture, whatever broke it, is one clear line for every command that reads it, and never a traceback."""

import json
import sys
import time
from pathlib import Path
from random import Random

import msgspec
import pytest
import zstandard

from streamer import cli
from streamer.core.events import Tick
from streamer.edge.demo import _play
from streamer.edge.frames import Sign
from streamer.edge.recordings.fixtures import MAX_LINE_BYTES, SUFFIX, FixtureError, FixtureReader
from streamer.edge.recordings.replay import replay
from tests.edge.broken_fixtures import a_stage, packed, place, whole_lines

__all__ = ["place", "whole_lines"]


# ---------------------------------------------------------------- known kinds


@pytest.mark.parametrize("what", ["order of nobody", "order of no mall", "stop of another", "number beyond 64 bits"])
def test_a_state_that_contradicts_itself_is_refused_before_play(whole_lines: list[str], place: Path, what: str) -> None:
    header = json.loads(whole_lines[0])
    start = header["start"]
    driver = next(one for one in start["drivers"].values() if one["order_ids"])
    order = start["orders"][driver["order_ids"][0]]
    match what:
        case "order of nobody":
            order["driver_id"] = "nobody"
        case "order of no mall":
            order["mall_id"] = "nowhere"
        case "stop of another":
            driver["route"][0]["order_id"] = "o-999"
        case _:
            start["assignments"] = 2**70
    place.write_bytes(packed([json.dumps(header), *whole_lines[1:]]))
    with pytest.raises(FixtureError, match="the state that this recording begins with contradicts itself"):
        replay(place)


BOMBS = {
    "zeros": (b"\0", "has a line of more than"),
    "spaces": (b" ", "has a line of more than"),
    "empty lines": (b"\n", "line 1: not a fixture header"),
    "brackets": (b"[", "has a line of more than"),
}


@pytest.mark.parametrize("kind", list(BOMBS))
def test_a_bomb_is_refused_without_unpacking_it(tmp_path: Path, kind: str) -> None:
    byte, reason = BOMBS[kind]
    bomb = tmp_path / f"bomb{SUFFIX}"
    with bomb.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as stream:
        for _ in range(256):
            stream.write(byte * (4 << 20))
    assert bomb.stat().st_size < 200_000, "a gibibyte, once unpacked"
    began_s = time.monotonic()
    with pytest.raises(FixtureError, match=reason):
        FixtureReader(bomb)
    assert time.monotonic() - began_s < 5


def test_a_long_line_that_does_not_compress_is_refused_in_seconds(tmp_path: Path) -> None:
    """Each part was once added to all before it, which took a quarter of an hour to find the line too long."""
    path = tmp_path / f"long{SUFFIX}"
    with path.open("wb") as file:
        stream = zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False)
        noise = Random(1)
        for _ in range(MAX_LINE_BYTES // (1 << 20) + 2):
            stream.write(noise.randbytes(1 << 20).replace(b"\n", b" "))
        stream.flush(zstandard.FLUSH_FRAME)
    began_s = time.monotonic()
    with pytest.raises(FixtureError, match="has a line of more than"):
        FixtureReader(path)
    assert time.monotonic() - began_s < 10


# ---------------------------------------------------------------- the commands


def broken(kind: str, lines: list[str], path: Path) -> None:
    header = msgspec.json.decode(lines[0])
    match kind:
        case "newer":
            path.write_bytes(packed([json.dumps({**header, "schema": 99}), *lines[1:]]))
        case "foreign":
            path.write_bytes(packed(['{"some": "other NDJSON"}', "{}"]))
        case "text":
            path.write_text("once upon a time")
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(packed(lines)[:-40])
        case "damaged":
            whole = bytearray(packed(lines))
            whole[len(whole) // 2] ^= 255
            path.write_bytes(whole)
        case _:
            path.write_bytes(packed([*lines[:20], '{"seq": 1}', *lines[20:]]))


AT_ONCE = (
    ("newer", "has schema 99, and this version reads up to 1: update Mallard"), ("foreign", "not a fixture header"),
    ("text", "is not Zstandard-compressed"), ("empty", "is not Zstandard-compressed"),
)  # fmt: skip
LATER = (("cut", "truncated"), ("damaged", "damaged"), ("line", "line 21: "))
"""A demo is at work by the time it reads as far."""


@pytest.mark.parametrize(
    ("command", "kind", "reason"),
    [
        *((command, *broken) for command in ("replay", "demo") for broken in AT_ONCE),
        *(("replay", *broken) for broken in LATER), ("calibrate", *AT_ONCE[0]), ("calibrate", *LATER[0]),
    ],
)  # fmt: skip
def test_each_command_says_in_one_line_what_is_wrong(
    whole_lines: list[str], place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str, kind: str, reason: str,
) -> None:  # fmt: skip
    broken(kind, whole_lines, place)
    options = ["--no-open", "--port", "18971", "--ingest-port", "18972"] if command == "demo" else []
    monkeypatch.setattr(sys, "argv", ["mallard", command, str(place), *options])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr()
    assert stop.value.code == 1
    assert said.out == ""
    assert said.err.startswith("mallard: ")
    assert said.err.count("\n") == 1
    assert reason in said.err


async def test_the_floor_of_a_demo_stays_open_where_its_recording_breaks(whole_lines: list[str], place: Path) -> None:
    broken("line", whole_lines, place)
    sign = Sign("replay", 1.0, "broken", 0)
    async with a_stage(place) as (runner, source):
        before = runner.engine.state.seq
        await _play(source, sign)
        assert runner.engine.state.seq > before
        runner.submit(Tick())
    assert sign.ended
