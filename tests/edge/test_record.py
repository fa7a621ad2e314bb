"""Recordings cut out of a journal: they replay to the hash beside them, and say no more than they were asked to."""

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import (
    Advice,
    DriverRegistered,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Ping,
    PlanMade,
    SetAutopilot,
    Undo,
)
from streamer.core.kpis import kpis
from streamer.core.malls import parse_malls
from streamer.core.settings import AutopilotRules
from streamer.core.snapshot import dump_state
from streamer.edge.journal.contract import SCHEMA, JournalHeader, MemoryJournal, Snapshot
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, read_companion
from streamer.edge.recordings.pseudonyms import blur
from streamer.edge.recordings.record import Cut, record
from streamer.edge.recordings.replay import floor_of, replay
from tests.builders import T0, a_report, an_order
from tests.edge.floor_kit import a_day, a_header, live_through
from tests.edge.test_feed import two_malls


def a_journal(day: list[tuple[int, Input]] | None = None, malls: dict[str, Any] | None = None) -> MemoryJournal:
    header = a_header(malls=malls) if malls else a_header()
    journal = MemoryJournal(header)
    for entry in live_through(Engine(parse_malls(header.malls)), iter(day or list(a_day()))):
        journal.append(entry)
    return journal


def of_fixture(name: str) -> MemoryJournal:
    """A journal as a live floor would have written it, had it lived this recording."""
    with FixtureReader(find_fixture(name)) as fixture:
        header = fixture.header
        journal = MemoryJournal(JournalHeader(SCHEMA, header.malls, header.settings, "a test", header.start_ms))
        engine = floor_of(header, header.start_ms)
        for line in fixture:
            for entry in live_through(engine, iter([(line.at_ms, line.input)])):
                journal.append(entry)
                if entry.seq % 10_000 == 0:
                    journal.append(Snapshot(entry.seq, entry.at_ms, dump_state(engine.state)))
    return journal


def inputs_of(path: Path) -> list[Input]:
    with FixtureReader(path) as fixture:
        return [line.input for line in fixture]


def text_of(path: Path) -> str:
    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().decode()


# ---------------------------------------------------------------- windows


def test_a_whole_journal_is_a_fixture_with_the_same_inputs_and_hash(tmp_path: Path) -> None:
    journal, out = a_journal(), tmp_path / "all.ndjson.zst"
    companion = record(journal, Cut(), out)
    assert inputs_of(out) == [entry.input for entry in journal.entries()]
    engine = Engine(parse_malls(journal.header.malls))
    live_through(engine, iter(list(a_day())))
    assert companion.hash == engine.hash() == read_companion(out).hash == replay(out).hash
    assert companion.counts.orders == 20


def test_a_recording_from_an_instant_carries_the_state_it_begins_with(tmp_path: Path) -> None:
    journal, out = a_journal(), tmp_path / "tail.ndjson.zst"
    companion = record(journal, Cut(from_ms=T0 + 40_000), out)
    whole = record(journal, Cut(), tmp_path / "all.ndjson.zst")
    assert companion.hash == whole.hash
    assert companion.kpis == whole.kpis
    assert companion.counts.inputs < whole.counts.inputs
    with FixtureReader(out) as fixture:
        assert fixture.header.start is not None
        assert fixture.header.start_ms == T0 + 40_000


def test_a_window_is_closed_on_both_sides(tmp_path: Path) -> None:
    out = tmp_path / "window.ndjson.zst"
    record(a_journal(), Cut(T0 + 40_000, T0 + 60_000), out)
    with FixtureReader(out) as fixture:
        instants = [line.at_ms for line in fixture]
    assert (instants[0], instants[-1]) == (T0 + 40_000, T0 + 60_000)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut(from_ms=T0 + 10**9), "nothing was recorded in this window"),
        (Cut(to_ms=T0 - 1), "nothing was recorded in this window"),
        (Cut(mall_id="nowhere"), "there is no mall nowhere in this journal; it has plaza"),
    ],
)
def test_an_empty_cut_is_refused_and_leaves_no_file(tmp_path: Path, cut: Cut, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        record(a_journal(), cut, tmp_path / "none.ndjson.zst")
    assert list(tmp_path.iterdir()) == []


def test_the_snapshots_of_a_journal_only_make_it_quicker(tmp_path: Path) -> None:
    journal = of_fixture("bad-day")
    from_ms = next(entry.at_ms for entry in journal.entries(21_000))
    quick = record(journal, Cut(from_ms=from_ms), tmp_path / "quick.ndjson.zst")
    journal._snapshot = None
    slow = record(journal, Cut(from_ms=from_ms), tmp_path / "slow.ndjson.zst")
    assert quick == slow
    assert quick.hash == read_companion(find_fixture("bad-day")).hash


# ---------------------------------------------------------------- one mall


def a_day_at_two_malls() -> list[tuple[int, Input]]:
    """Orders at both malls in turn; `out-1` works at the outlet and takes every outlet order."""
    day: list[tuple[int, Input]] = [(T0, DriverRegistered("out-1", capacity=64, mall_ids=("outlet",)))]
    day.append((T0, a_report("on_duty", "out-1", id="on-out")))
    for number, (at_ms, item) in enumerate(a_day()):
        day.append((at_ms, item))
        if isinstance(item, OrderPlaced):
            # Takes the next order number, so the plaza's orders are numbered 1, 3, 5, ...
            day.append((at_ms, an_order(mall_id="outlet", stores=("gap",), external_id=f"out-{number}")))
    return [(at_ms, renumbered(item)) for at_ms, item in day]


def renumbered(item: Input) -> Input:
    match item:
        case OrderCommand(order_id=order_id, driver_id=driver_id):
            return OrderCommand("assign", f"o-{2 * int(order_id[2:]) - 1}", 1, "maya", driver_id)
        case _:
            return item


def test_one_mall_is_cut_out_with_its_orders_under_new_numbers(tmp_path: Path) -> None:
    journal = a_journal(a_day_at_two_malls(), two_malls())
    out = tmp_path / "plaza.ndjson.zst"
    companion = record(journal, Cut(mall_id="plaza"), out)
    inputs = inputs_of(out)
    assert {item.mall_id for item in inputs if isinstance(item, OrderPlaced)} == {"plaza"}
    assert "out-1" not in {item.driver_id for item in inputs if isinstance(item, DriverRegistered)}
    commands = [item.order_id for item in inputs if isinstance(item, OrderCommand)]
    assert commands
    assert commands == [f"o-{number}" for number in range(1, len(commands) + 1)]
    assert companion.hash == replay(out).hash
    with FixtureReader(out) as fixture:
        assert set(parse_malls(fixture.header.malls).malls) == {"plaza"}


@pytest.mark.parametrize("from_ms", [None, T0 + 200_000])
def test_plans_and_rules_come_along_with_their_mall(tmp_path: Path, from_ms: int | None) -> None:
    day = a_day_at_two_malls()
    for mall_id, order_id in (("plaza", "o-41"), ("outlet", "o-42")):
        day.append((T0 + 150_000, SetAutopilot(mall_id, AutopilotRules("suggest"), "olga")))
        if mall_id == "plaza":
            day.append((T0 + 150_000, an_order(external_id="last", placed_ms=T0 + 150_000)))
            day.append((T0 + 150_000, an_order(external_id="last", mall_id="outlet", stores=("gap",))))
        plan = PlanMade(mall_id, (Advice(order_id, "planned", driver_id="d-1", trip=("o-41", "o-42")),))
        day += [(T0 + 150_001, plan), (T0 + 200_001, plan)]
    journal = a_journal(sorted(day, key=lambda entry: entry[0]), two_malls())
    out = tmp_path / "plaza.ndjson.zst"
    companion = record(journal, Cut(from_ms=from_ms, mall_id="plaza"), out)
    assert companion.hash == replay(out).hash
    plans = [item for item in inputs_of(out) if isinstance(item, PlanMade)]
    own = "o-21" if from_ms is None else "o-41"
    told = PlanMade("plaza", (Advice(own, "planned", driver_id="d-1", trip=(own,)),))
    assert plans == [told] * (2 if from_ms is None else 1)
    with FixtureReader(out) as fixture:
        engine = floor_of(fixture.header, fixture.header.start_ms)
        for line in fixture:
            engine.handle(line.at_ms, line.input)
    assert engine.state.autopilot == {"plaza": AutopilotRules("suggest")}


@pytest.mark.parametrize(("mall_id", "from_share"), [("tysons-corner-center", None), ("baybrook", 0.4)])
def test_a_mall_of_a_real_recording_keeps_its_figures(tmp_path: Path, mall_id: str, from_share: float | None) -> None:
    journal = of_fixture("two-malls")
    entries = list(journal.entries())
    from_ms = entries[int(len(entries) * from_share)].at_ms if from_share else None
    engine = Engine(parse_malls(journal.header.malls), journal.header.settings)
    for entry in entries:
        engine.handle(entry.at_ms, entry.input)
    out = tmp_path / "mall.ndjson.zst"
    companion = record(journal, Cut(from_ms=from_ms, mall_id=mall_id), out)
    figures = kpis(engine.state, (mall_id,))
    assert (companion.kpis.delivered, companion.kpis.open) == (figures.delivered, figures.open)
    assert companion.kpis.click_to_door_ms == figures.click_to_door_ms
    assert companion.hash == replay(out).hash


# ---------------------------------------------------------------- without people


def a_personal_day() -> list[tuple[int, Input]]:
    day = list(a_day())
    day += [
        (T0 + 200_000, HandOver("d-1", "d-2", "maya lopez", "Ana's car broke down")),
        (T0 + 200_001, Undo("c-141", "maya lopez")),
        (T0 + 10_000, an_order(external_id="x-waits", placed_ms=T0 + 10_000)),
        (T0 + 20_000, SetAutopilot("plaza", AutopilotRules("suggest"), "maya lopez", "Ana asked for it")),
        (T0 + 30_000, PlanMade("plaza", (Advice("o-3", "planned", "nearest is Ana", "d-1"),))),
        (T0 + 200_002, PlanMade("plaza", (Advice("o-3", "planned", "nearest is Ana", "d-2"),))),
    ]
    return day


@pytest.mark.parametrize("from_ms", [None, T0 + 60_000])
def test_no_person_is_left_in_a_pseudonymised_recording(tmp_path: Path, from_ms: int | None) -> None:
    out = tmp_path / "nobody.ndjson.zst"
    journal = a_journal(a_personal_day())
    companion = record(journal, Cut(from_ms=from_ms, pseudonymise=True), out)
    text = text_of(out)
    for name in ("Driver 1", "Ann", "maya", "Ana", "x-3", '"d-1"', "nearest"):
        assert name not in text, name
    assert "driver-1" in text
    assert companion.hash == replay(out).hash
    plain = record(journal, Cut(from_ms=from_ms), tmp_path / "plain.ndjson.zst")
    assert companion.counts == plain.counts
    assert companion.kpis.delivered == plain.kpis.delivered


def test_pseudonyms_are_the_same_everywhere_and_drop_offs_move_to_their_hex(tmp_path: Path) -> None:
    out = tmp_path / "nobody.ndjson.zst"
    journal = a_journal()
    record(journal, Cut(pseudonymise=True), out)
    before, after = [entry.input for entry in journal.entries()], inputs_of(out)
    assert len(before) == len(after)
    pairs = {
        (old.driver_id, new.driver_id)
        for old, new in zip(before, after, strict=True)
        if isinstance(old, Ping) and isinstance(new, Ping)
    }
    assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs}) == 4
    order = next(item for item in after if isinstance(item, OrderPlaced))
    original = next(item for item in before if isinstance(item, OrderPlaced))
    assert (order.dropoff.lat, order.dropoff.lng) == blur(original.dropoff.lat, original.dropoff.lng)
    assert order.dropoff != original.dropoff
    assert (order.dropoff.phone, order.dropoff.address, order.dropoff.notes) == ("", "", "")


def test_a_real_recording_without_people_replays_to_its_own_hash(tmp_path: Path) -> None:
    journal = of_fixture("bad-day")
    entries = list(journal.entries())
    out = tmp_path / "nobody.ndjson.zst"
    companion = record(journal, Cut(entries[9_000].at_ms, entries[20_000].at_ms, None, True), out)
    assert companion.hash == replay(out).hash
    header = json.loads(text_of(out).split("\n", 1)[0])
    for order in header["start"]["orders"].values():
        assert set(order["dropoff"]) == {"lat", "lng", "name"}
    assert companion.counts.inputs > 10_000
    assert companion.length_ms == entries[20_000].at_ms - entries[9_000].at_ms


def test_a_directory_that_is_missing_above_the_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"^there is no directory {tmp_path / 'none'}: "):
        record(a_journal(), Cut(), tmp_path / "none" / "all.ndjson.zst")


# ---------------------------------------------------------------- what was learned


def test_what_was_learned_before_a_cut_comes_along_and_no_other_malls(tmp_path: Path) -> None:
    journal = of_fixture("two-malls")
    from_ms = next(entry.at_ms for entry in journal.entries(25_000))
    out = tmp_path / "mall.ndjson.zst"
    companion = record(journal, Cut(from_ms=from_ms, mall_id="baybrook", pseudonymise=True), out)
    with FixtureReader(out) as fixture:
        start = fixture.header.start
    assert start is not None
    assert set(start.learned.malls) == {"baybrook"}
    assert start.learned.malls["baybrook"].drive_score.n > 0
    assert start.learned.legs.keys() <= start.drivers.keys()
    assert start.learned.legs, "somebody was on the way to a door"
    assert replay(out).hash == companion.hash
