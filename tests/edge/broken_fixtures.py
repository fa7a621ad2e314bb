"""Fixtures that are broken on purpose: bytes flipped, cut or foreign, and lines that are JSON but not sense."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import strategies as st

from streamer.core.snapshot import dump_state
from streamer.edge.clock import PacedClock, WallClock
from streamer.edge.journal.contract import SCHEMA, JournalHeader, MemoryJournal, Snapshot
from streamer.edge.recordings.fixtures import SUFFIX, FixtureReader
from streamer.edge.recordings.record import Cut, record
from streamer.edge.recordings.replay import ReplaySource, floor_of
from streamer.edge.runner import Runner
from tests.builders import T0
from tests.edge.floor_kit import a_day
from tests.edge.test_record import a_journal

ODD: list[Any] = [
    None, True, -1, 0, 1.5, 2**53, 2**53 + 1, 2**63, 2**64, 10**30, 1e308, -1e-9, "", "x", "x" * 5_000, "\ud800", [],
    {}, [[]], {"type": "tick"}, "o-1", "d-1", "plaza", "delivered", T0, -T0,
]  # fmt: skip
"""What a value may have become."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a broken fixture may be put."""
    return tmp_path_factory.mktemp("broken") / f"broken{SUFFIX}"


@pytest.fixture(scope="module")
def whole_lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a small recording that begins in the middle of a day, with a state in its header."""
    path = tmp_path_factory.mktemp("whole") / f"whole{SUFFIX}"
    record(a_journal(list(a_day(12, 3))), Cut(from_ms=T0 + 30_000), path)
    with FixtureReader(path):
        return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode().splitlines()


def packed(lines: list[str]) -> bytes:
    """A fixture of these lines, with a checksum that is right."""
    text = "\n".join(lines) + "\n"
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(text.encode(errors="surrogatepass"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a JSON value has parts."""
    found = [path] if path else []
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        found += places(part, (*path, key))
    return found


def parts(value: Any) -> list[Any]:
    """All parts of a JSON value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for part in inside for found in (part, *parts(part))]


@st.composite
def odd_lines(draw: st.DrawFn, lines: list[str]) -> list[str]:
    """The lines with some values replaced, left out or doubled, and some lines moved."""
    lines = list(lines)
    for _ in range(draw(st.integers(1, 3))):
        # The header has most to say, and most to get wrong.
        at = 0 if draw(st.booleans()) else draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("value", "borrowed", "borrowed", "missing", "again", "moved", "text"))):
            case "again":
                lines.insert(at, lines[at])
            case "moved":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "text":
                lines[at] = draw(st.text(max_size=40)).replace("\n", "")
            case kind:
                lines[at] = changed(draw, lines[at], kind)
    return lines


def changed(draw: st.DrawFn, line: str, kind: str) -> str:
    """The line with one value left out, made odd, or taken from elsewhere in it, where its like stands."""
    try:
        value = json.loads(line)
    except ValueError:
        return line
    where = places(value)
    if not where:
        return line
    # By number: to sample from a list, hypothesis looks at all of it.
    *path, last = where[draw(st.integers(0, len(where) - 1))]
    inside = value
    for key in path:
        inside = inside[key]
    if kind == "missing":
        del inside[last]
    elif kind == "value":
        inside[last] = draw(st.sampled_from(ODD))
    else:
        alike = [part for part in parts(value) if type(part) is type(inside[last])]
        inside[last] = json.loads(json.dumps(alike[draw(st.integers(0, len(alike) - 1))]))
    return json.dumps(value)


@st.composite
def hurt_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes with some flipped, cut off, doubled or put in."""
    hurt = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(hurt)))
        match draw(st.sampled_from(("flip", "cut", "more", "lost"))):
            case "flip" if at < len(hurt):
                hurt[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del hurt[at:]
            case "more":
                hurt[at:at] = draw(st.binary(max_size=30))
            case "lost":
                del hurt[at : at + draw(st.integers(0, 50))]
            case _:
                pass
    return bytes(hurt)


@asynccontextmanager
async def a_stage(path: Path) -> AsyncIterator[tuple[Runner, ReplaySource]]:
    """A floor of its own for a fixture, as a demo has but for its sockets, warmed up."""
    with FixtureReader(path) as fixture:
        header = fixture.header
        clock = PacedClock(WallClock().now_ms(), 1e15)
        engine = floor_of(header, clock.start_ms)
        journal = MemoryJournal(JournalHeader(SCHEMA, header.malls, header.settings, header.made_by, clock.start_ms))
        if engine.state.seq:
            journal.append(Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state)))
        runner = Runner(engine, journal, clock)
        source = ReplaySource(runner, fixture, clock)
        await runner.start()
        try:
            await source.warm_up()
            yield runner, source
        finally:
            await runner.stop()


async def played(path: Path) -> int:
    """Play a fixture into a floor of its own; how many inputs took effect."""
    async with a_stage(path) as (runner, source):
        await source.play()
        return runner.engine.state.seq
