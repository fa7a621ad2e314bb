"""Who decides in a fork: the recording's dispatcher where its decisions still fit, or a policy that plans anew.

It must not know the truth about stores or drivers: it sees the fork's floor, and the recorded one beside it.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from streamer.core.changes import Changes
from streamer.core.commands import AUTOPILOT
from streamer.core.engine import Engine
from streamer.core.errors import CallerError
from streamer.core.events import Input, OrderCommand
from streamer.core.orders import ENDED, GIVEN, QUEUED
from streamer.core.settings import AutopilotRules
from streamer.core.state import Order, State
from streamer.dispatch.candidates import rank
from streamer.dispatch.decide import give_up_waiting
from streamer.sim.keeping import Numbers, is_alike
from streamer.sim.policy import EFFORT, RULES, nearest, planned_by

PEOPLE_MS = 300_000
"""What a person decided about in the fork is theirs for so long."""


class Deciding:
    """Decides every `look_ms`, at the instants at which the recording's dispatcher did.

    Attributes:
        plans: whether it plans anew, everywhere.
    """

    def __init__(self, changes: Changes, engine: Engine, state: State, effort: int = EFFORT) -> None:
        self._effort = effort
        self.plans = changes.plans_anew
        self._nearest = changes.policy == "nearest"
        self._rules = {mall_id: _rules(changes, engine, mall_id) for mall_id in engine.floor.malls}
        self._of_people: set[str] = set()
        self._look_ms = min(rules.look_ms for rules in self._rules.values())
        self._next_ms = _last_look(state) + self._look_ms
        while self._next_ms <= state.at_ms:
            self._next_ms += self._look_ms

    def leave_to_people(self, mall_id: str) -> None:
        """Somebody has set the autopilot of a mall in the fork: it, or nobody, decides there now."""
        self._of_people.add(mall_id)

    def is_anew(self, mall_id: str) -> bool:
        """Whether the decisions of the recording's autopilot at a mall are not kept."""
        return self.plans or mall_id in self._of_people

    def decide(self, engine: Engine, recorded: Engine, numbers: Numbers, at_ms: int) -> Sequence[Input]:
        """What is decided at `at_ms`, mostly nothing."""
        if at_ms < self._next_ms:
            return ()
        while self._next_ms <= at_ms:
            self._next_ms += self._look_ms
        if not self.plans:
            return self._left_over(engine, recorded, numbers, at_ms)
        if self._nearest:
            return nearest(engine, at_ms)
        rules = {mall_id: ways for mall_id, ways in self._rules.items() if mall_id not in self._of_people}
        return planned_by(engine, at_ms, rules, self._effort)

    def _left_over(self, engine: Engine, recorded: Engine, numbers: Numbers, at_ms: int) -> Sequence[Input]:
        """What the recording's dispatcher could not know. Orders in the queue here that had a driver there: each goes
        to the best there is now. Drivers of orders that were not with them there do not wait for a late store.
        """
        given: list[Input] = []
        for mall_id, rules in self._rules.items():
            if mall_id not in self._of_people:
                given += [
                    back for back in give_up_waiting(engine, mall_id, rules, at_ms)
                    if not _is_as_recorded(back.order_id, engine, recorded, numbers)
                ]  # fmt: skip
        taken: set[str] = set()
        for theirs in recorded.state.orders.values():
            if theirs.status in QUEUED or theirs.status == "cancelled":
                continue
            order = engine.state.orders.get(numbers.order(theirs.id))
            if order is None or order.status not in QUEUED or not self._may_move(order, at_ms):
                continue
            if order.history[-1].action == "unassign" and not order.is_ready:
                continue  # Taken back from a counter: it waits for its store's word.
            best = next((one for one in rank(engine, order.id).items if one.driver_id not in taken), None)
            if best is not None:
                taken.add(best.driver_id)
                why = "its driver of the recording is elsewhere"
                given.append(OrderCommand("assign", order.id, order.version, AUTOPILOT, best.driver_id, reason=why))
        return given

    def _may_move(self, order: Order, at_ms: int) -> bool:
        touched = order.touched_ms > 0 and at_ms - order.touched_ms < PEOPLE_MS
        return not (order.held or touched or order.mall_id in self._of_people)


def _is_as_recorded(order_id: str, engine: Engine, recorded: Engine, numbers: Numbers) -> bool:
    theirs = recorded.state.orders.get(numbers.origin(order_id) or "")
    return theirs is not None and is_alike(theirs, engine.state.orders[order_id])


def check(changes: Changes, engine: Engine) -> None:
    """Refuse what names nothing.

    Raises:
        CallerError: there is no such order, driver, mall or store, or the order is not to be reassigned any more.
    """
    state, malls = engine.state, engine.floor.malls
    for wish in changes.decisions:
        order = state.orders.get(wish.order_id)
        if order is None:
            raise CallerError(f"there is no order {wish.order_id} at that moment")
        if wish.driver_id not in state.drivers:
            raise CallerError(f"there is no driver {wish.driver_id}")
        if order.status not in (*QUEUED, *GIVEN):
            word = "over" if order.status in ENDED else "collected"
            raise CallerError(f"order {order.id} is {word} at that moment: nobody can be given it")
    named = [part.mall_id for part in changes.drivers]
    named += [part.mall_id for part in changes.stores] + [part.mall_id for part in changes.rules]
    for mall_id in named:
        if mall_id not in malls:
            raise CallerError(f"there is no mall {mall_id}; known: {', '.join(malls)}")
    for late in changes.stores:
        if all(store.id != late.store_id for store in malls[late.mall_id].stores):
            raise CallerError(f"{malls[late.mall_id].name} has no store {late.store_id}")


def _rules(changes: Changes, engine: Engine, mall_id: str) -> AutopilotRules:
    """As changed, else as a person has set them, else as the settings have it; a mall left to people in both was
    dispatched by the recording's own autopilot, or is to be by its rules.
    """
    given = next((part.rules for part in changes.rules if part.mall_id == mall_id), None)
    rules = given or engine.state.autopilot.get(mall_id, engine.settings.autopilot)
    if given is None and rules.mode in ("off", "suggest"):
        rules = RULES
    hold = changes.hold_for_batch if changes.policy != "no-hold" else False
    return rules if hold is None else replace(rules, hold_for_batch=hold)


def _last_look(state: State) -> int:
    """When the autopilot last decided, so that a fork's looks fall on the recording's."""
    looks = [record.at_ms for record in state.commands.values() if record.actor == AUTOPILOT]
    return max(looks, default=state.at_ms)
