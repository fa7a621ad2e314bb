"""The recording's dispatcher: gives orders out by a policy, as the autopilot, beside the people of the story.

It must not know the truth about stores or drivers: it sees the engine's state, like everybody on the floor.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from streamer.core.changes import PolicyName
from streamer.core.commands import AUTOPILOT
from streamer.core.engine import Engine
from streamer.core.events import HandOver, OrderCommand, OrderPlaced, PlanMade
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.settings import AutopilotRules
from streamer.core.state import Order
from streamer.dispatch.candidates import exclusion
from streamer.dispatch.decide import decide
from streamer.dispatch.floor import problem_of
from streamer.dispatch.search import plan
from streamer.sim.incidents import Act
from streamer.sim.people import People, command

Decision = OrderCommand | HandOver | PlanMade
Policy = Callable[[Engine, int], list[Decision]]
"""What is given out at an instant, having seen the state as it is."""

RULES = AutopilotRules(mode="auto", look_ms=30_000)
"""Of the recordings' autopilot: it looks as often as a plan of a large mall is affordable at full speed."""
EFFORT = 40
"""Rounds of improvement a look, as far as a story of two hours is to take some minutes."""
SEED = 1


def planned(engine: Engine, at_ms: int) -> list[Decision]:
    """The product's own way: every mall as a problem, planned, and of the plan what has to leave."""
    return planned_by(engine, at_ms, dict.fromkeys(engine.floor.malls, RULES))


def unheld(engine: Engine, at_ms: int) -> list[Decision]:
    """The same, but no order waits for another to share its trip."""
    return planned_by(engine, at_ms, dict.fromkeys(engine.floor.malls, replace(RULES, hold_for_batch=False)))


def planned_by(engine: Engine, at_ms: int, rules: Mapping[str, AutopilotRules], effort: int = EFFORT) -> list[Decision]:
    """Plans the malls that have rules, each by its own; one whose autopilot is off is left to people."""
    decisions: list[Decision] = []
    for mall_id, ways in rules.items():
        if ways.mode == "off":
            continue
        problem = problem_of(engine, mall_id, at_ms, ways)
        problem = replace(problem, settings=replace(problem.settings, effort=effort))
        decision = decide(engine, mall_id, problem, plan(problem, SEED), ways, at_ms)
        decisions += decision.commands if ways.mode != "suggest" else ()
        if decision.advice:
            decisions.append(PlanMade(mall_id, decision.advice))
    return decisions


def nearest(engine: Engine, at_ms: int) -> list[Decision]:
    """As a floor without a plan does it: each order at once to the nearest driver with nothing to do, one a trip.

    The order due first chooses first.
    """
    decisions: list[Decision] = []
    taken: set[str] = set()
    queued = [order for order in engine.state.orders.values() if order.status in QUEUED and not order.held]
    for order in sorted(queued, key=lambda order: (order.due_ms, order.id)):
        driver_id = _nearest_idle(engine, order, taken)
        if driver_id is not None:
            taken.add(driver_id)
            decisions.append(command(order, "assign", AUTOPILOT, driver_id, "nearest with nothing to do"))
    return decisions


def _nearest_idle(engine: Engine, order: Order, taken: set[str]) -> str | None:
    mall, drivers = engine.floor.malls[order.mall_id], engine.state.drivers
    for driver_id, _ in engine.nearest(mall.lat, mall.lng, len(engine.free)):
        if driver_id not in taken and exclusion(drivers[driver_id], order) is None:
            return driver_id
    return None


POLICIES: dict[PolicyName, Policy] = {"plan": planned, "no-hold": unheld, "nearest": nearest}


class Dispatcher:
    """Decides for one recording: a policy every `RULES.look_ms`, and the people of the story."""

    def __init__(self, play_ms: int, acts: tuple[Act, ...] = (), policy: PolicyName = "plan") -> None:
        self._people, self._policy = People(play_ms, acts), POLICIES[policy]
        self._next_ms = 0

    def decide(self, engine: Engine, at_ms: int) -> list[Decision]:
        """What people and autopilot decide at `at_ms`, having seen the state as it is.

        What people have decided in this very second is theirs: the autopilot sees it at its next look.
        """
        by_people = self._people.decide(engine, at_ms)
        if at_ms < self._next_ms:
            return [*by_people]
        self._next_ms = at_ms + RULES.look_ms
        touched = {decided.order_id for decided in by_people if isinstance(decided, OrderCommand)}
        made = self._policy(engine, at_ms)
        return [*by_people, *(d for d in made if not isinstance(d, OrderCommand) or d.order_id not in touched)]


def store_words(engine: Engine, packed: Iterable[OrderPlaced]) -> list[OrderCommand]:
    """What the stores' tablets say of orders they have packed, for those that are still to be collected."""
    words: list[OrderCommand] = []
    for placed in packed:
        order_id = engine.state.external.get(f"{placed.mall_id}/{placed.external_id}", "")
        order = engine.state.orders.get(order_id)
        if order is not None and order.status in (*QUEUED, *GIVEN) and not order.is_ready:
            words.append(command(order, "ready", placed.stores[0], None, ""))
    return words
