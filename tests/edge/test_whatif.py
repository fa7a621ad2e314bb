"""Forks of a real recording: what is changed happens, first there and nowhere before, and nothing else is invented."""

from functools import cache

import pytest
from msgspec.structs import replace

from streamer.core.changes import Changes, LateStore, MallRules, MoreDrivers, Reassignment
from streamer.core.comparison import Decided, decided, first_difference
from streamer.core.engine import Engine
from streamer.core.errors import CallerError
from streamer.core.events import Input, OrderCommand, Ping, Report
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.settings import AutopilotRules
from streamer.dispatch.candidates import rank
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, read_companion
from streamer.edge.recordings.replay import floor_of
from streamer.edge.recordings.whatif import Moment, live, moment_of
from streamer.sim.fork import Fork, run
from tests.builders import MINUTE

NAME, MALL = "bad-day", "chandler-fashion-center"
PATH = find_fixture(NAME)


@cache
def moment(minute: int = 45) -> Moment:
    with FixtureReader(PATH) as fixture:
        start_ms = fixture.header.start_ms
    return moment_of(PATH, start_ms + minute * MINUTE)


def fork_of(changes: Changes, minute: int = 45, seed: int = 1, **options: bool) -> tuple[Fork, Engine]:
    return moment(minute).fork(changes, seed, **options)


def lived(fork: Fork, engine: Engine) -> list[tuple[int, Input]]:
    """Everything that took effect in a fork."""
    entered: list[tuple[int, Input]] = []
    for at_ms, item in fork.due(engine, 2**53):
        seq = engine.state.seq
        outputs = engine.handle(at_ms, item)
        if engine.state.seq > seq:
            fork.learn(at_ms, item, outputs)
            entered.append((at_ms, item))
    return entered


def a_reassignment(minute: int = 45) -> Reassignment:
    engine = moment(minute).floor
    for order in engine.state.orders.values():
        if order.status in GIVEN:
            for candidate in rank(engine, order.id).items:
                if candidate.driver_id != order.driver_id:
                    return Reassignment(order.id, candidate.driver_id)
    raise AssertionError("nothing to reassign")


# ---------------------------------------------------------------- a decision


def test_a_fork_with_one_reassignment_differs_first_at_that_command_and_nowhere_before() -> None:
    wish = a_reassignment()
    at_ms = moment().at_ms
    recorded: list[Decided] = []
    with FixtureReader(PATH) as fixture:
        engine = floor_of(fixture.header, fixture.header.start_ms)
        for line in fixture:
            seq = engine.state.seq
            engine.handle(line.at_ms, line.input)
            decision = decided(line.at_ms, line.input) if engine.state.seq > seq else None
            recorded += [decision] if decision is not None else []
    before = [decision for decision in recorded if decision.at_ms <= at_ms]
    fork, forked = fork_of(Changes((wish,)))
    after = [decision for entry in lived(fork, forked) if (decision := decided(*entry)) is not None]
    assert after[0] == Decided(at_ms, "what-if", "reassign", wish.order_id, wish.driver_id)
    difference = first_difference(recorded, before + after)
    assert difference is not None
    assert (difference.at_ms, difference.what) == (at_ms, f"what-if: reassign {wish.order_id} to {wish.driver_id}")
    assert fork.difference == difference
    assert len(before) > 100


def test_after_a_reassignment_all_drivers_but_a_few_say_what_was_recorded() -> None:
    fork, engine = fork_of(Changes((a_reassignment(),)))
    said = by_driver(lived(fork, engine))
    with FixtureReader(PATH) as fixture:
        recorded = by_driver([(line.at_ms, line.input) for line in fixture if line.at_ms > moment().at_ms])
    others = {driver_id for driver_id, entries in recorded.items() if said.get(driver_id) != entries}
    assert 1 <= len(others) <= 6
    assert len(recorded) > 30


def by_driver(entries: list[tuple[int, Input]]) -> dict[str, list[tuple[int, Ping | Report]]]:
    """What each driver said, repeats left out, which had no effect. Numbers of assignments may differ in a fork."""
    said: dict[str, list[tuple[int, Ping | Report]]] = {}
    for at_ms, item in entries:
        if isinstance(item, Ping | Report):
            told = replace(item, assignment=None) if isinstance(item, Report) else item
            known = said.setdefault(item.driver_id, [])
            if (at_ms, told) not in known[-3:]:
                known.append((at_ms, told))
    return said


# ---------------------------------------------------------------- a policy


def test_planned_anew_by_the_same_rules_the_fork_is_still_the_recording() -> None:
    fork, engine = fork_of(Changes(policy="plan"), 55)
    found = run(fork, engine)
    assert found.first_difference is None
    assert engine.hash() == read_companion(PATH).hash
    assert not fork.simulated


def test_another_policy_decides_instead_of_the_recordings_autopilot() -> None:
    fork, engine = fork_of(Changes(policy="nearest"))
    entered = lived(fork, engine)
    reasons = {
        item.reason for _, item in entered
        if isinstance(item, OrderCommand) and item.actor == "autopilot" and item.action == "assign"
    }  # fmt: skip
    assert reasons == {"nearest with nothing to do"}
    assert fork.simulated


def test_an_autopilot_that_is_switched_off_gives_nothing_out() -> None:
    off = Changes(rules=(MallRules(MALL, AutopilotRules("off")),))
    fork, engine = fork_of(off, 55)
    actors = {decision.actor for entry in lived(fork, engine) if (decision := decided(*entry)) is not None}
    assert "autopilot" not in actors


# ---------------------------------------------------------------- the world


def test_drivers_more_come_on_duty_and_work() -> None:
    fork, engine = fork_of(Changes(policy="nearest", drivers=(MoreDrivers(MALL, 3),)))
    run(fork, engine)
    extra = {driver_id: one for driver_id, one in engine.state.drivers.items() if driver_id.startswith("extra-")}
    assert [driver.duty for driver in extra.values()] == ["on_duty"] * 3
    told = [(line.actor, line.action) for order in engine.state.orders.values() for line in order.history]
    assert any(actor in extra and action == "accepted" for actor, action in told)


def test_a_store_that_is_late_hands_nothing_out_before() -> None:
    ready, known = moment().outlook.ready, moment().floor.state.orders
    coming = {
        order.id: order.stores[0] for order in known.values()
        if order.status in (*QUEUED, *GIVEN) and not order.is_ready and order.id in ready
    }  # fmt: skip
    store = min(coming.values(), key=lambda one: (-sum(one == other for other in coming.values()), one))
    fork, engine = fork_of(Changes(policy="nearest", stores=(LateStore(MALL, store, 5 * MINUTE),)))
    run(fork, engine)
    late = [engine.state.orders[order_id] for order_id, its_store in coming.items() if its_store == store]
    said = [order for order in late if order.is_ready]
    assert said
    assert all((order.ready_ms or 0) >= ready[order.id] + 5 * MINUTE for order in said)
    unsaid = [order for order in late if not order.is_ready]
    assert all(order.picked_up_ms is None for order in unsaid)
    assert all(ready[order.id] + 5 * MINUTE > engine.state.at_ms for order in unsaid if order.ended_ms is None)


def test_what_is_outside_is_the_same_in_both_worlds() -> None:
    """Orders, duty of drivers who are not simulated, and who is at home."""
    fork, engine = fork_of(Changes(policy="nearest"))
    run(fork, engine)
    there, here = fork.recorded.state, engine.state
    assert [order.external_id for order in here.orders.values()] == [o.external_id for o in there.orders.values()]
    assert [order.due_ms for order in here.orders.values()] == [order.due_ms for order in there.orders.values()]
    failed = {order_id for order_id, was_in in fork.outlook.somebody_in.items() if not was_in}
    delivered = {order.id for order in here.orders.values() if order.status == "delivered"}
    assert not failed & delivered


# ---------------------------------------------------------------- one seed, one world


def test_a_seed_is_one_fork() -> None:
    def at_the_end(seed: int) -> str:
        fork, engine = fork_of(Changes(policy="nearest"), 55, seed, everybody=True)
        run(fork, engine)
        return engine.hash()

    assert at_the_end(1) == at_the_end(1)
    assert at_the_end(1) != at_the_end(2)


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (Changes((Reassignment("o-9999", "d-01"),)), "there is no order o-9999"),
        (Changes((Reassignment("o-1", "nobody"),)), "there is no driver nobody"),
        (Changes(drivers=(MoreDrivers("nowhere", 1),)), "there is no mall nowhere"),
        (Changes(stores=(LateStore(MALL, "nothing", 1),)), "has no store nothing"),
        (Changes(rules=(MallRules("nowhere", AutopilotRules()),)), "there is no mall nowhere"),
    ],
)
def test_a_change_that_names_nothing_is_refused(changes: Changes, fault: str) -> None:
    with pytest.raises(CallerError, match=fault):
        fork_of(changes)


def test_an_order_that_is_over_cannot_be_given_to_anybody() -> None:
    over = next(order.id for order in moment().floor.state.orders.values() if order.status == "delivered")
    with pytest.raises(CallerError, match="is over at that moment"):
        fork_of(Changes((Reassignment(over, "d-01"),)))


def test_a_decision_that_the_floor_refuses_is_an_error() -> None:
    state = moment().floor.state
    off = next(driver.id for driver in state.drivers.values() if driver.duty == "off_duty")
    with pytest.raises(CallerError, match=f"driver {off} is off duty"):
        live(moment(), Changes((replace(a_reassignment(), driver_id=off),)))


@pytest.mark.parametrize(("at_ms", "fault"), [(2**50, "has ended by then"), (10**12, "has not begun by then")])
def test_a_moment_outside_the_recording_is_an_error(at_ms: int, fault: str) -> None:
    with pytest.raises(CallerError, match=fault):
        moment_of(PATH, at_ms)
