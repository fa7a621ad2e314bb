"""What of a recording holds in a fork: the same hands, the same next stop, and everybody's own numbers."""

from collections.abc import Callable

import pytest
from msgspec import Struct

from streamer.core.events import Advice, HandOver, OrderCommand, PlanMade, Undo
from streamer.core.snapshot import dump_state, load_state
from streamer.core.state import Order
from streamer.sim import keeping
from streamer.sim.keeping import Numbers
from tests.builders import Bench, a_report


class Worlds(Struct):
    """A recorded floor and a fork of it: two drivers, `o-1` with d-1, `o-2` with d-1, `o-3` with nobody."""

    recorded: Bench
    forked: Bench
    numbers: Numbers

    def order(self, order_id: str) -> Order:
        return self.forked.engine.state.orders[order_id]


def worlds() -> Worlds:
    bench, fork = Bench(), Bench()
    for number in (1, 2):
        bench.driver(f"d-{number}")
    given = [bench.place(), bench.place()]
    bench.place()
    for order in given:
        bench.command("assign", order, "d-1", actor="autopilot")
    fork.at_ms = bench.at_ms
    fork.engine = bench.engine.twin(load_state(dump_state(bench.engine.state)))
    state = bench.engine.state
    return Worlds(bench, fork, Numbers(state.orders, {one: one for one in state.commands}))


Meddle = Callable[[Worlds], object]


def nothing(_: Worlds) -> None:
    """Both worlds are one."""


def reassigned(both: Worlds) -> None:
    both.forked.command("reassign", both.order("o-1"), "d-2")


def held(both: Worlds) -> None:
    both.forked.command("hold", both.order("o-1"))


def accepted(both: Worlds) -> None:
    both.forked.report("accepted", both.order("o-1"))


def collected(both: Worlds) -> None:
    accepted(both)
    both.forked.report("picked_up", both.order("o-1"))


@pytest.mark.parametrize(
    ("meddle", "action", "holds"),
    [
        (nothing, "reassign", True), (accepted, "reassign", True), (reassigned, "reassign", False),
        (held, "pin", False), (collected, "unassign", False),
        (reassigned, "ready", True), (held, "ready", True), (collected, "ready", False),
        (reassigned, "cancel", True), (collected, "cancel", False),
    ],
)  # fmt: skip
def test_a_decision_holds_in_the_same_hands_and_the_outside_as_long_as_it_can(
    meddle: Meddle, action: str, holds: bool
) -> None:
    both = worlds()
    meddle(both)
    item = OrderCommand(action, "o-1", 2, "autopilot", "d-2")  # type: ignore[arg-type]  # by parametrize
    kept = keeping.order_command(item, both.recorded.engine, both.forked.engine, both.numbers)
    assert (kept is not None) == holds
    if kept is not None:
        assert kept.expected_version == both.order("o-1").version


def test_a_driver_is_on_course_until_its_next_stop_is_another() -> None:
    both = worlds()
    theirs, ours = (bench.engine.state.drivers for bench in (both.recorded, both.forked))
    assert keeping.is_on_course(theirs["d-1"], ours["d-1"], both.numbers)
    assert keeping.is_on_course(theirs["d-2"], ours["d-2"], both.numbers)
    last = ours["d-1"].route[1].order_id
    both.forked.command("unassign", both.order(last))
    assert keeping.is_on_course(theirs["d-1"], ours["d-1"], both.numbers), "its next stop is the same"
    both.forked.command("reassign", both.order(ours["d-1"].route[0].order_id), "d-2")
    assert not keeping.is_on_course(theirs["d-1"], ours["d-1"], both.numbers)
    assert not keeping.is_on_course(theirs["d-2"], ours["d-2"], both.numbers)


def test_a_report_is_kept_for_the_orders_a_driver_has_here_under_its_number_here() -> None:
    both = worlds()
    both.forked.command("reassign", both.order("o-1"), "d-2")
    said = a_report("accepted", "d-1", ("o-1", "o-2"), 2)
    kept = keeping.report(said, both.forked.engine, both.numbers)
    assert kept is not None
    assert (kept.order_ids, kept.assignment) == (("o-2",), both.forked.engine.state.drivers["d-1"].assignment)
    assert keeping.report(a_report("accepted", "d-1", ("o-1",), 1), both.forked.engine, both.numbers) is None
    duty = a_report("off_duty", "d-1")
    assert keeping.report(duty, both.forked.engine, both.numbers) is duty


def test_a_hand_over_holds_for_a_driver_with_the_same_orders() -> None:
    both, item = worlds(), HandOver("d-1", "d-2", "maya")
    assert keeping.hand_over(item, both.recorded.engine, both.forked.engine, both.numbers) is item
    reassigned(both)
    assert keeping.hand_over(item, both.recorded.engine, both.forked.engine, both.numbers) is None


def test_advice_is_kept_on_orders_that_are_as_they_were() -> None:
    both = worlds()
    reassigned(both)
    both.numbers.place("o-9", "o-10")
    item = PlanMade("plaza", (Advice("o-1", "waits"), Advice("o-3", "planned", trip=("o-3", "o-9"))))
    kept = keeping.advice(item, both.recorded.engine, both.forked.engine, both.numbers)
    assert kept == PlanMade("plaza", (Advice("o-3", "planned", trip=("o-3", "o-10")),))


def test_an_undo_is_of_the_same_command_or_of_none() -> None:
    numbers = Numbers((), {"c-1": "c-1"})
    numbers.commands["c-7"] = "c-9"
    numbers.recorded_commands.update({"c-7": "c-8", "c-8": "c-10"})
    assert numbers.undo_here(Undo("c-7")) == Undo("c-9")
    assert numbers.undo_here(Undo("c-8")) is None, "what it undoes did not hold here"
    assert numbers.undo_there(Undo("c-8")) == Undo("c-10")
    assert numbers.undo_there(HandOver("d-1")) == HandOver("d-1")


def test_an_order_of_the_fork_alone_has_no_origin() -> None:
    numbers = Numbers(("o-1",), {})
    numbers.place("o-2", "o-3")
    assert [numbers.origin(one) for one in ("o-1", "o-2", "o-3")] == ["o-1", None, "o-2"]
    assert numbers.order("o-2") == "o-3"
