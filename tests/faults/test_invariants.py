"""Each invariant sees what it is for: a log, a state or a screen that breaks it alone is refused by its name."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, OrderCommand, Ping
from streamer.core.snapshot import dump_state, load_state
from streamer.core.state import State
from streamer.core.views import order_view
from streamer.edge.journal.contract import Entry, MemoryJournal
from tests.builders import T0, a_floor, a_ping, a_report, an_order
from tests.edge.floor_kit import a_header, live_through
from tests.faults import invariants
from tests.faults.invariants import Acked, check_all, i8_screen_shows_the_state, i9_refusals_have_a_reason


def lived() -> tuple[list[Entry], State]:
    """A driver with two pings, and an order it was given."""
    engine = Engine(a_floor())
    items = (
        DriverRegistered("d-1"), a_report("on_duty", id="on", fix_ms=T0), a_ping(seq=1), a_ping(at_ms=T0 + 1000, seq=2),
        an_order(external_id="x"), OrderCommand("assign", "o-1", 1, "maya", "d-1", key="k"),
    )  # fmt: skip
    entries = live_through(engine, ((T0 + 1000, item) for item in items))
    return entries, engine.state


def journal_of(entries: list[Entry]) -> MemoryJournal:
    journal = MemoryJournal(a_header())
    for entry in entries:
        journal.append(entry)
    return journal


def test_a_sound_floor_passes_all_of_them() -> None:
    entries, state = lived()
    acked = Acked({("d-1", 1), ("d-1", 2)}, {("d-1", "on")}, {"o-1"}, {"c-5", "c-6"})
    log = check_all(journal_of(entries), acked, state, [a_snapshot(state)], [A_NACK])
    assert log.entries == entries


@pytest.mark.parametrize(
    "acked",
    [
        Acked(pings={("d-1", 3)}),
        Acked(reports={("d-1", "off")}),
        Acked(orders={"o-2"}),
        Acked(commands={"c-4"}),
    ],
    ids=["ping", "report", "order", "command"],
)
def test_i1_sees_what_was_acknowledged_and_is_not_there(acked: Acked) -> None:
    entries, _ = lived()
    with pytest.raises(AssertionError, match="I1: acknowledged and not in the log: 1 of 1"):
        check_all(journal_of(entries), acked)


@pytest.mark.parametrize("number", [1, 2, 4, 5], ids=["report", "ping", "order", "key"])
def test_i1_sees_what_is_there_twice(number: int) -> None:
    entries, _ = lived()
    entries.append(msgspec.structs.replace(entries[number], seq=7))
    with pytest.raises(AssertionError, match="I1: in the log more than once"):
        check_all(journal_of(entries))


def test_i2_sees_a_gap_and_a_clock_that_falls() -> None:
    entries, _ = lived()
    with pytest.raises(AssertionError, match="I2: seq 4 follows 2"):
        invariants.i2_seq_has_no_gap(log_of([*entries[:2], *entries[3:]]))
    with pytest.raises(AssertionError, match="I2: the log begins at seq 2"):
        invariants.i2_seq_has_no_gap(log_of(entries[1:]))
    late = msgspec.structs.replace(entries[2], at_ms=T0 - 1)
    with pytest.raises(AssertionError, match="I2: seq 3 is earlier"):
        invariants.i2_seq_has_no_gap(log_of([*entries[:2], late, *entries[3:]]))


def log_of(entries: list[Entry]) -> invariants.Log:
    return invariants.Log(a_header(), dump_state(State()), entries)


def two_carriers(state: State) -> None:
    state.drivers["d-2"] = msgspec.structs.replace(state.drivers["d-1"], id="d-2")


def no_carrier(state: State) -> None:
    state.drivers["d-1"].order_ids = ()


@pytest.mark.parametrize("spoil", [two_carriers, no_carrier])
def test_i3_sees_an_order_with_two_drivers_or_none(spoil: Callable[[State], None]) -> None:
    _, state = lived()
    spoil(state)
    with pytest.raises(AssertionError, match="I3: order o-1"):
        invariants.i3_one_driver_an_order(state)


def test_i4_sees_a_state_that_is_not_the_logs() -> None:
    entries, state = lived()
    other = load_state(dump_state(state))
    other.drivers["d-1"].name = "somebody"
    with pytest.raises(AssertionError, match="I4: the replay differs"):
        check_all(journal_of(entries), state=other)
    with pytest.raises(AssertionError, match="I4: the log ends at seq 5"):
        check_all(journal_of(entries[:-1]), state=state)


def test_i5_sees_an_order_reopened() -> None:
    _, state = lived()
    command = OrderCommand("release", "o-1", 1)
    with pytest.raises(AssertionError, match="I5: order o-1 was delivered and is assigned"):
        invariants.i5_ended_stays_ended(state, "o-1", command, {"o-1": "delivered"})


def test_i6_sees_an_overloaded_driver() -> None:
    _, state = lived()
    state.drivers["d-1"].order_ids = tuple(f"o-{number}" for number in range(9))
    with pytest.raises(AssertionError, match="I6: d-1 carries 9 of 5"):
        invariants.i6_nobody_overloaded(state)


def test_i7_sees_a_marker_that_moved_back_or_stayed_behind() -> None:
    entries, state = lived()
    believed: dict[str, Ping] = {}
    invariants.i7_position_never_older(entries[3], believed)
    with pytest.raises(AssertionError, match="I7: seq 3 moved d-1 back"):
        invariants.i7_position_never_older(entries[2], believed)
    state.drivers["d-1"].ping = a_ping(seq=1)
    with pytest.raises(AssertionError, match="I7: d-1 is not where"):
        invariants.i7_newest_position_shown(state, believed)


# ---------------------------------------------------------------- screens and refusals

A_NACK = {"type": "nack", "seq": 4, "code": "future", "retryable": False, "message": "30 s ahead"}


def a_snapshot(state: State, **fields: Any) -> dict[str, Any]:
    """What a dashboard of the plaza was sent first."""
    driver = state.drivers["d-1"]
    assert driver.ping is not None
    columns = {
        "id": ["d-1"], "lat": [driver.ping.lat], "lng": [driver.ping.lng], "fix_ms": [driver.ping.fix_ms],
        "state": [driver.state], "orders": [1],
    }  # fmt: skip
    orders = [msgspec.json.decode(msgspec.json.encode(order_view(order))) for order in state.orders.values()]
    return {"frame": "snapshot", "mall_id": "plaza", "seq": 7, "drivers": columns, "orders": orders, **fields}


@pytest.mark.parametrize(
    "frame",
    [
        {"frame": "delta", "mall_id": "plaza", "seq": 9},
        {"frame": "delta", "mall_id": "plaza", "seq": 7},
        {"frame": "delta", "mall_id": "plaza", "seq": 8, "gone": ["d-1"]},
        {"frame": "delta", "mall_id": "plaza", "seq": 8, "orders": [{"id": "o-1", "status": "placed"}]},
    ],
    ids=["gap", "repeat", "gone", "other-order"],
)
def test_i8_sees_a_screen_that_is_not_the_state(frame: dict[str, Any]) -> None:
    _, state = lived()
    with pytest.raises(AssertionError, match="I8: "):
        i8_screen_shows_the_state([a_snapshot(state), frame], state)


@pytest.mark.parametrize("spoil", [{"code": "because"}, {"retryable": None}, {"message": ""}])
def test_i9_sees_a_refusal_without_a_reason(spoil: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="I9: "):
        i9_refusals_have_a_reason([{**A_NACK, **spoil}])
