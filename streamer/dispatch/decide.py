"""From a plan to what is done now: commands for what must leave before the next look, advice on all the rest.

It must not plan, nor change anything. A command is what a person could have sent; the engine judges it like any other.
"""

from collections.abc import Iterator

from msgspec import Struct

from streamer.core import drivers as driving
from streamer.core.commands import AUTOPILOT
from streamer.core.engine import Engine
from streamer.core.events import Advice, AdviceWord, OrderCommand
from streamer.core.orders import QUEUED
from streamer.core.settings import AutopilotRules
from streamer.core.state import Driver, Order
from streamer.dispatch.explain import Explained, Explainer
from streamer.dispatch.floor import Seat, Standings, standings
from streamer.dispatch.problem import Plan, Problem, Trip

SHOWN_MS = 60_000
"""Advice whose instants moved by no more is the advice people see already."""
FAR_DEARER = 2.0
"""An order that costs so many times what orders cost in this plan is left to people, where they asked for that."""
EXCEPTION_MIN = 15.0
"""No order is far dearer for less than this."""


class Decision(Struct, frozen=True):
    """What the autopilot does and says at one look, in the order in which it is to be handled."""

    commands: tuple[OrderCommand, ...] = ()
    advice: tuple[Advice, ...] = ()


def decide(
    engine: Engine, mall_id: str, problem: Problem, plan: Plan, rules: AutopilotRules, at_ms: int
) -> Decision:
    """Takes from the plan what must be done at `at_ms`. The floor may have moved on since the problem was made of it:
    what no longer fits is left for the next look, and the engine refuses what it finds stale.
    """
    look = Look(engine, mall_id, problem, plan, rules, at_ms)
    for _ in look.steps():
        pass
    return look.decision()


class Look:
    """`decide` in steps of milliseconds, for whoever has other things to do in between: `steps`, then `decision`.

    The floor may move on between two steps as it may before the first.
    """

    def __init__(
        self, engine: Engine, mall_id: str, problem: Problem, plan: Plan, rules: AutopilotRules, at_ms: int
    ) -> None:
        self.engine, self.problem, self.plan, self.rules, self.at_ms = engine, problem, plan, rules, at_ms
        self.found: Standings = standings(engine, mall_id, at_ms, rules)
        self.orders = {order.id: order for order in self.found.orders}
        self.seats = {seat.driver.id: seat for seat in self.found.seats}
        self.planned = {order.id: order for order in problem.orders}
        self.explainer = Explainer(engine, problem, plan, self.seats, at_ms)
        self.commands: list[OrderCommand] = []
        self.advice: list[Advice] = []
        self.given: set[str] = set()

    def decision(self) -> Decision:
        """What the steps have come to."""
        return Decision(tuple(self.commands), tuple(self.advice))

    def steps(self) -> Iterator[None]:
        """Goes through the plan, driver by driver."""
        for driver_id, trips in sorted(self.plan.trips.items()):
            seat = self.seats.get(driver_id)
            for number, trip in enumerate(trips):
                if seat is not None and number == 0 and self.acts and self._is_due(seat, trip):
                    self._give_out(seat, trip)
                else:
                    self._put_off(driver_id, trip)
            yield
        for order_id in self.plan.unserved:
            self._say(order_id, "failed", "no driver can take it before the end of a shift")
        told = {order.id for order in self.found.out}
        for order in self.found.out:
            self._advise(order, Advice(order.id, "left_to_people", _whose(order)))
        mentioned = {o for trips in self.plan.trips.values() for t in trips for o in t.order_ids} | told
        for plan_order in self.problem.orders:
            if plan_order.id not in mentioned and plan_order.id not in self.plan.unserved:
                self._say(plan_order.id, "waits", "its store is not ready for long")

    @property
    def acts(self) -> bool:
        return self.rules.mode in ("auto", "auto_with_exceptions")

    # ------------------------------------------------------------ what is given out

    def _is_due(self, seat: Seat, trip: Trip) -> bool:
        """Whether the driver has to be told now: it sets off before the next look, or is under way to the mall."""
        if any(self._with(order_id) == seat.driver.id for order_id in trip.order_ids):
            return True
        return trip.depart_ms <= self.at_ms + self.rules.look_ms

    def _give_out(self, seat: Seat, trip: Trip) -> None:
        driver = seat.driver
        ahead = sum(stop.kind != "pickup" and stop.order_id not in self.orders for stop in driver.route)
        room = driving.room(driver)
        for rank, order_id in enumerate(trip.order_ids):
            order = self.orders.get(order_id)
            if order is None or order.driver_id == driver.id:
                continue
            explained = self.explainer.of(order, seat, trip)
            if room <= 0 or driver.id in order.declined_by or self._late_for_home(driver, trip):
                self._say(order_id, "planned", f"planned for {driver.name}, who has no room yet", driver.id, trip)
            elif self.rules.mode == "auto_with_exceptions" and (doubt := self._exception(order, explained)):
                self._say(order_id, "suggested", doubt, driver.id, trip)
            else:
                room -= 1
                self.commands.append(self._command(order, driver, ahead + rank, explained, trip))

    def _command(self, order: Order, driver: Driver, position: int, explained: Explained, trip: Trip) -> OrderCommand:
        others = len(trip.order_ids) - 1
        company = f", {others + 1} orders on the trip" if others else ", alone"
        return OrderCommand(
            "assign" if order.status in QUEUED else "reassign", order.id, order.version, AUTOPILOT, driver.id,
            position, reason=f"cost {explained.cost_min:.1f} min{company}", key=f"{self.at_ms}-{order.id}",
        )  # fmt: skip

    def _late_for_home(self, driver: Driver, trip: Trip) -> bool:
        return driver.shift_end_ms is not None and trip.dropoff_ms[-1] > driver.shift_end_ms

    def _exception(self, order: Order, explained: Explained) -> str | None:
        late_min = explained.terms["lateness"]
        if late_min > 0:
            return "would be late: a person decides"
        usual = self.explainer.usual_min
        if explained.cost_min > max(EXCEPTION_MIN, FAR_DEARER * usual):
            return f"costs {explained.cost_min:.0f} min, usual are {usual:.0f}: a person decides"
        return None

    def _with(self, order_id: str) -> str | None:
        order = self.orders.get(order_id)
        return order.driver_id if order is not None else None

    # ------------------------------------------------------------ what is said

    def _put_off(self, driver_id: str, trip: Trip) -> None:
        driver = self.engine.state.drivers[driver_id]
        word: AdviceWord = "planned" if self.acts else "suggested"
        for order_id in trip.order_ids:
            self._say(order_id, word, self._why(driver, trip, order_id), driver_id, trip)

    def _why(self, driver: Driver, trip: Trip, order_id: str) -> str:
        others = [other for other in trip.order_ids if other != order_id]
        seat = self.seats.get(driver.id)
        waits_min = round((trip.depart_ms - max(self.at_ms, seat.free_ms if seat else 0)) / 60_000)
        company = f"shares a trip with {', '.join(others)}" if others else "alone on its trip"
        if seat is not None and seat.free_ms > self.at_ms + self.rules.look_ms:
            return f"planned for {driver.name}, who is still delivering; {company}"
        if waits_min > 0:
            return f"waits for its store; {company}"
        return f"planned for {driver.name}; {company}"

    def _say(
        self, order_id: str, word: AdviceWord, reason: str, driver_id: str | None = None, trip: Trip | None = None
    ) -> None:
        order = self.orders.get(order_id)
        if order is None or order.status not in QUEUED:
            return
        if driver_id is None or trip is None:
            self._advise(order, Advice(order_id, word, reason))
            return
        known = order.advice
        eta_ms = trip.dropoff_ms[trip.order_ids.index(order_id)]
        new = Advice(order_id, word, reason, driver_id, trip.order_ids, trip.depart_ms, trip.leave_ms, eta_ms)
        if known is None or differs(known, new):
            seat = self.seats.get(driver_id)
            self.advice.append(self.explainer.add(new, order, seat, trip) if seat is not None else new)

    def _advise(self, order: Order, new: Advice) -> None:
        if order.status in QUEUED and (order.advice is None or differs(order.advice, new)):
            self.advice.append(new)


def differs(known: Advice, new: Advice) -> bool:
    """Whether people would read anything else in the new advice."""
    if (known.word, known.reason, known.driver_id, known.trip) != (new.word, new.reason, new.driver_id, new.trip):
        return True
    pairs = ((known.depart_ms, new.depart_ms), (known.leave_ms, new.leave_ms), (known.eta_dropoff_ms, new.eta_dropoff_ms))
    return any((a is None) != (b is None) or abs((a or 0) - (b or 0)) > SHOWN_MS for a, b in pairs)


def _whose(order: Order) -> str:
    last = next((line.actor for line in reversed(order.history) if line.actor != AUTOPILOT), "a person")
    if order.held:
        return f"held by {last}"
    return f"touched by {last} a moment ago"
