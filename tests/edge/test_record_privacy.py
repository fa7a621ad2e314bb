"""A cut without people holds nothing of theirs: every personal value of a lived hour is looked for in it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import apsw
import msgspec
import pytest
import zstandard
from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.events import (
    DriverRegistered,
    HandOver,
    OrderCommand,
    OrderPlaced,
    Ping,
    Report,
    SetAutopilot,
    Undo,
)
from streamer.core.hexes import hex_of
from streamer.core.malls import parse_malls
from streamer.core.snapshot import dump_state
from streamer.edge.journal.contract import SCHEMA, JournalDamagedError, JournalHeader, MemoryJournal, Snapshot
from streamer.edge.journal.database import JournalReader
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, read_companion
from streamer.edge.recordings.pseudonyms import IMPERSONAL, blur
from streamer.edge.recordings.record import Cut, record
from streamer.edge.recordings.replay import floor_of, replay
from tests.builders import a_floor
from tests.edge.floor_kit import live_through, write_journal
from tests.edge.test_journal import a_history

LINES = 24_000
"""Of the fixture: its warm-up and a quarter of an hour, in which some twenty orders are delivered."""


class Hour(Struct):
    """A journal, and the cut of its second half without people."""

    journal: MemoryJournal
    cut: Path
    text: str
    from_ms: int


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Hour:
    with FixtureReader(find_fixture("two-malls")) as fixture:
        header = fixture.header
        journal = MemoryJournal(JournalHeader(SCHEMA, header.malls, header.settings, "a test", header.start_ms))
        engine = floor_of(header, header.start_ms)
        for line in islice(fixture, LINES):
            for entry in live_through(engine, iter([(line.at_ms, line.input)])):
                journal.append(entry)
    entries = list(journal.entries())
    out = tmp_path_factory.mktemp("cut") / "nobody.ndjson.zst"
    from_ms = entries[len(entries) // 2].at_ms
    record(journal, Cut(from_ms=from_ms, pseudonymise=True), out)
    text = zstandard.ZstdDecompressor().stream_reader(out.read_bytes()).read().decode()
    return Hour(journal, out, text, from_ms)


class Door(Struct, frozen=True):
    """Where a driver really went, and between when and when it had to do with it."""

    lat: float
    lng: float
    from_ms: int
    to_ms: int


def personal(journal: MemoryJournal) -> Iterator[str]:
    """Every text in a journal that names somebody, or was typed by somebody."""
    stores = {place.id for mall in parse_malls(journal.header.malls).malls.values() for place in mall.places}
    for entry in journal.entries():
        match entry.input:
            case DriverRegistered(driver_id=driver_id, name=name):
                yield from (driver_id, name)
            case OrderPlaced(dropoff=to, external_id=external_id):
                yield from (to.name, to.phone, to.address, to.notes, external_id or "", str((to.lat, to.lng)))
            case Report(id=report_id, reason=reason):
                yield from (report_id, reason)
            case OrderCommand() | HandOver() | Undo() | SetAutopilot():
                yield from (entry.input.reason, *({entry.input.actor} - IMPERSONAL - stores))


def strings(value: object) -> Iterator[str]:
    match value:
        case dict():
            yield str((value.get("lat"), value.get("lng")))
            for key, part in value.items():
                yield key
                yield from strings(part)
        case list():
            for part in value:
                yield from strings(part)
        case str():
            yield value


def said(hour: Hour) -> set[str]:
    """Every text and place in a cut, but for its malls, which are nobody's."""
    header, *lines = hour.text.splitlines()
    first = msgspec.json.decode(header)
    del first["malls"]
    found = set(strings(first))
    for line in lines:
        found.update(strings(msgspec.json.decode(line)))
    return found


def test_no_personal_value_is_in_a_cut_without_people(hour: Hour) -> None:
    values = {value for value in personal(hour.journal) if value}
    assert len(values) > 1_000
    texts = said(hour)
    assert not values & texts
    inside = [value for value in values if len(value) > 6 and any(value in text for text in texts)]
    assert not inside
    assert not [text for text in texts if "d-0" in text], "no id is made of a driver's"


def test_nothing_is_said_of_ways_that_few_drivers_went(hour: Hour) -> None:
    with FixtureReader(hour.cut) as cut:
        start = cut.header.start
    assert start is not None
    assert [mall.drive_pairs for mall in start.learned.malls.values()] == [{}, {}]
    assert all(mall.drive_score.n for mall in start.learned.malls.values()), "of all ways together, there is"


def test_a_plain_cut_holds_them_and_lets_the_same_happen(hour: Hour, tmp_path: Path) -> None:
    """Or else the tests above would look for the wrong things."""
    out = tmp_path / "plain.ndjson.zst"
    plain = record(hour.journal, Cut(from_ms=hour.from_ms), out)
    text = zstandard.ZstdDecompressor().stream_reader(out.read_bytes()).read().decode()
    values = {value for value in personal(hour.journal) if len(value) > 6}
    assert sum(value in text for value in values) > 0.5 * len(values)
    veiled = read_companion(hour.cut)
    assert (veiled.kpis.delivered, veiled.kpis.on_time) == (plain.kpis.delivered, plain.kpis.on_time)
    assert veiled.counts == plain.counts


def test_no_fix_of_a_driver_lies_near_a_door_it_served(hour: Hour) -> None:
    doors: dict[str, list[Door]] = {}
    with FixtureReader(hour.cut) as cut:
        engine = floor_of(cut.header, cut.header.start_ms)
        for line in cut:
            engine.handle(line.at_ms, line.input)
    original = {
        blur(entry.input.dropoff.lat, entry.input.dropoff.lng): (entry.input.dropoff.lat, entry.input.dropoff.lng)
        for entry in hour.journal.entries()
        if isinstance(entry.input, OrderPlaced)
    }
    for order in engine.state.orders.values():
        if order.driver_id is not None and order.status == "delivered":
            at = original[order.dropoff.lat, order.dropoff.lng]
            doors.setdefault(order.driver_id, []).append(Door(*at, order.picked_up_ms or 0, order.ended_ms or 0))
    assert sum(map(len, doors.values())) > 10
    seen = 0
    with FixtureReader(hour.cut) as cut:
        for line in cut:
            if isinstance(line.input, Ping):
                seen += _is_shown_at_its_hex(line.input, doors.get(line.input.driver_id, []))
    assert seen > 50


def _is_shown_at_its_hex(ping: Ping, doors: list[Door]) -> bool:
    """Whether a fix was moved; one in the hex of a door that the driver goes to or comes from must have been."""
    at_hex = (ping.lat, ping.lng) == blur(ping.lat, ping.lng)
    for door in doors:
        if door.from_ms <= ping.fix_ms <= door.to_ms + 20_000:
            assert at_hex or hex_of(door.lat, door.lng) != hex_of(ping.lat, ping.lng)
    return at_hex


def test_the_cut_verifies(hour: Hour) -> None:
    assert replay(hour.cut).hash == read_companion(hour.cut).hash


def test_a_damaged_row_is_said_with_the_instant_from_which_the_rest_can_be_cut(tmp_path: Path) -> None:
    folder, entries = tmp_path / "floor", a_history()[1]
    engine = Engine(a_floor())
    middle = len(entries) // 2
    for entry in entries[:middle]:
        engine.handle(entry.at_ms, entry.input)
    snapshot = Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state))
    write_journal(folder, entries[:middle], snapshot)
    write_journal(folder, entries[middle:])
    damage(folder)
    reader, out = JournalReader(folder), tmp_path / "day.ndjson.zst"
    try:
        with pytest.raises(
            JournalDamagedError, match=r"seq \d+.* what comes after can be cut: --from (\d+)$"
        ) as raised:
            record(reader, Cut(), out)
        assert list(tmp_path.iterdir()) == [folder]
        from_ms = int(str(raised.value).rsplit(" ", 1)[1])
        assert record(reader, Cut(from_ms=from_ms), out).hash == replay(out).hash
    finally:
        reader.close()


def damage(folder: Path) -> None:
    """Change a byte of an order in the first half."""
    connection = apsw.Connection(str(folder / "journal.db"))
    seq, body = next(
        iter(connection.execute("SELECT seq, body FROM entry WHERE note = 0 ORDER BY seq LIMIT 1 OFFSET 5"))
    )
    connection.execute("UPDATE entry SET body = ? WHERE seq = ? AND note = 0", (bytes(body)[:-1] + b"?", seq))
    connection.close()
