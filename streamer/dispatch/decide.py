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
from streamer.dispatch.floor import SAFETY_MS, Seat, Standings, giver, standings, touched_lately
from streamer.dispatch.problem import Plan, Problem, Trip

SHOWN_MS = 60_000
"""Advice whose instants moved by no more is the advice people see already."""
JOIN_MS = 120_000
"""A driver on its way is told of what else it collects this long before it is at the mall."""
COUNTER_PATIENCE_MS, SHORT_PATIENCE_MS = 6 * 60_000, 2 * 60_000
"""A driver with other orders waits this long at a counter, less when one of them is at risk; then the late order goes
back, and the rest leaves."""
RESTART_MS = 20 * 60_000
"""An order goes back with so much slack, for another driver has to come for it; with less it is waited for, unless the
others have even less."""
NO_DIGITS = str.maketrans("", "", "0123456789")
"""Minutes in a reason run down by themselves: that is no news."""
FAR_DEARER = 2.0
"""An order that costs so many times what orders cost in this plan is left to people, where they asked for that."""
EXCEPTION_MIN = 15.0
"""No order is far dearer for less than this."""


class Decision(Struct, frozen=True):
    """What the autopilot does and says at one look, in the order in which it is to be handled."""

    commands: tuple[OrderCommand, ...] = ()
    advice: tuple[Advice, ...] = ()


def decide(engine: Engine, mall_id: str, problem: Problem, plan: Plan, rules: AutopilotRules, at_ms: int) -> Decision:
    """Takes from the plan what must be done at `at_ms`. The floor may have moved on since the problem was made of it:
    what no longer fits is left for the next look, and the engine refuses what it finds stale.
    """
    look = Look(engine, mall_id, problem, plan, rules, at_ms)
    for _ in look.steps():
        pass
    return look.decision()


def give_up_waiting(engine: Engine, mall_id: str, rules: AutopilotRules, at_ms: int) -> list[OrderCommand]:
    """Takes orders back whose drivers wait for them with others aboard: one late store must not make the whole trip
    late, nor keep its driver from the other counters.
    """
    state = engine.state
    commands: list[OrderCommand] = []
    for order in state.orders.values():
        if order.mall_id != mall_id or order.status != "arrived_at_pickup" or order.is_ready:
            continue
        driver = state.drivers[order.driver_id or ""]
        waited_ms = at_ms - (order.arrived_pickup_ms or at_ms)
        others = [state.orders[other] for other in driver.order_ids if other != order.id]
        least_ms = min(map(_slack_ms, others), default=0)
        if not others or waited_ms < (SHORT_PATIENCE_MS if least_ms < SAFETY_MS else COUNTER_PATIENCE_MS):
            continue
        if _slack_ms(order) < min(RESTART_MS, least_ms) or not _may_take_back(order, driver, rules, at_ms):
            continue
        reason = f"its store is not ready after {_minutes(waited_ms)} min, and {len(others)} more wait for it"
        commands.append(OrderCommand("unassign", order.id, order.version, AUTOPILOT, reason=reason))
    return commands


def _may_take_back(order: Order, driver: Driver, rules: AutopilotRules, at_ms: int) -> bool:
    touched = touched_lately(order.touched_ms, at_ms, rules) or touched_lately(driver.touched_ms, at_ms, rules)
    return not (order.held or order.pinned or touched) and giver(order) == AUTOPILOT


class Look:
    """`decide` in steps of milliseconds, for whoever has other things to do in between: `steps`, then `decision`.

    The floor may move on between two steps as it may before the first.
    """

    def __init__(
        self, engine: Engine, mall_id: str, problem: Problem, plan: Plan, rules: AutopilotRules, at_ms: int
    ) -> None:
        self.engine, self.problem, self.plan, self.rules, self.at_ms = engine, problem, plan, rules, at_ms
        self.mall_id = mall_id
        self.found: Standings = standings(engine, mall_id, at_ms, rules)
        self.orders = {order.id: order for order in self.found.orders}
        self.seats = {seat.driver.id: seat for seat in self.found.seats}
        self.planned = {order.id: order for order in problem.orders}
        self.numbers = {driver.id: driver.place for driver in problem.drivers}
        self.explainer = Explainer(engine, problem, plan, self.seats, at_ms)
        self.commands: list[OrderCommand] = []
        self.advice: list[Advice] = []

    def decision(self) -> Decision:
        """What the steps have come to."""
        return Decision(tuple(self.commands), tuple(self.advice))

    def steps(self) -> Iterator[None]:
        """Goes through the plan, driver by driver."""
        if self.acts:
            self.commands += give_up_waiting(self.engine, self.mall_id, self.rules, self.at_ms)
        for driver_id, trips in sorted(self.plan.trips.items()):
            seat = self.seats.get(driver_id)
            for number, trip in enumerate(trips):
                if seat is not None and number == 0 and self.acts and self._is_due(seat, trip):
                    self._give_out(seat, trip)
                else:
                    self._put_off(driver_id, trip)
            yield
        for order_id in self.plan.unserved:
            self._say(order_id, "failed", self._why_not(order_id))
        for order_id in self.plan.later:
            self._say(order_id, "waits", "waits for its store: nobody needs to set off yet")
        for order in self.found.out:
            self._advise(order, Advice(order.id, "left_to_people", _whose(order)))

    @property
    def acts(self) -> bool:
        return self.rules.mode in ("auto", "auto_with_exceptions")

    # ------------------------------------------------------------ what is given out

    def _is_due(self, seat: Seat, trip: Trip) -> bool:
        """Whether the driver has to be told now: it sets off before the next look, or is under way to the mall."""
        if trip.depart_ms <= self.at_ms + self.rules.look_ms:
            return True
        if not self.rules.hold_for_batch and any(self._could_leave(seat, order_id) for order_id in trip.order_ids):
            return True
        if not any(self._with(order_id) == seat.driver.id for order_id in trip.order_ids):
            return False
        return self._arrives_ms(seat, trip.order_ids[0]) <= self.at_ms + self.rules.look_ms + JOIN_MS

    def _arrives_ms(self, seat: Seat, order_id: str) -> int:
        """When the driver is at an order's counter if it sets off as soon as it can."""
        place = self.planned[order_id].pickups[0]
        return seat.free_ms + int(self.problem.legs[self.numbers[seat.driver.id], place])

    def _could_leave(self, seat: Seat, order_id: str) -> bool:
        """Whether the driver would have to set off before the next look if it came for this order alone."""
        spare_ms = max(0, self.planned[order_id].ready_ms - self._arrives_ms(seat, order_id))
        return seat.free_ms + spare_ms <= self.at_ms + self.rules.look_ms

    def _give_out(self, seat: Seat, trip: Trip) -> None:
        driver = seat.driver
        ahead = sum(stop.kind != "pickup" and stop.order_id not in self.orders for stop in driver.route)
        room = driving.room(driver)
        for rank, order_id in enumerate(trip.order_ids):
            order = self.orders.get(order_id)
            if order is None or order.driver_id == driver.id or order_id in self.found.kept:
                continue
            if not self.rules.hold_for_batch and not self._could_leave(seat, order_id):
                self._say(order_id, "planned", self._why(driver, trip, order_id), driver.id, trip)
                continue
            explained = self.explainer.of(order, seat, trip)
            if room <= 0 or driver.id in order.declined_by or self._late_for_home(driver, trip):
                self._say(order_id, "planned", "its driver has no room yet", driver.id, trip)
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
            position, reason=f"cost {explained.cost_min:.1f} min{company}",
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
        company = f"shares a trip with {', '.join(others)}" if others else "alone on its trip"
        etas = zip(trip.order_ids, trip.dropoff_ms, strict=True)
        late = sum(other in self.orders and eta_ms > self.orders[other].due_ms for other, eta_ms in etas)
        company += f", {late} late" if late else ", nobody late"
        seat = self.seats.get(driver.id)
        free_ms = seat.free_ms if seat is not None else self.at_ms
        if free_ms > self.at_ms + self.rules.look_ms:
            return f"its driver is free in {_minutes(free_ms - self.at_ms)} min: {company}"
        held_min = _minutes(trip.depart_ms - self.at_ms)
        own = self.planned.get(order_id)
        last = max((self.planned[o].ready_ms for o in trip.order_ids if o in self.planned), default=0)
        store = " for its store" if own is not None and own.ready_ms > self.at_ms and own.ready_ms == last else ""
        return f"waits {held_min} min{store}: {company}"

    def _why_not(self, order_id: str) -> str:
        order = self.orders.get(order_id)
        if not self.seats:
            return "no driver of this mall is on duty and heard of"
        if order is not None and all(driver_id in order.declined_by for driver_id in self.seats):
            return "every driver declined it"
        return "no driver has room before the end of its shift"

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
    if (known.word, known.driver_id, known.trip) != (new.word, new.driver_id, new.trip):
        return True
    if known.reason.translate(NO_DIGITS) != new.reason.translate(NO_DIGITS):
        return True
    pairs = (
        (known.depart_ms, new.depart_ms),
        (known.leave_ms, new.leave_ms),
        (known.eta_dropoff_ms, new.eta_dropoff_ms),
    )
    return any((a is None) != (b is None) or abs((a or 0) - (b or 0)) > SHOWN_MS for a, b in pairs)


def _slack_ms(order: Order) -> int:
    return order.due_ms - (order.eta_dropoff_ms or 0)


def _minutes(ms: int) -> int:
    return max(1, round(ms / 60_000))


def _whose(order: Order) -> str:
    """Who holds or touched it: the last word that was not the autopilot's, nor a store's or driver's of the goods."""
    told = ("hold",) if order.held else ("assign", "reassign", "unassign", "hold", "release", "pin", "hand_over")
    last = next((line.actor for line in reversed(order.history) if line.action in told and line.actor != AUTOPILOT), "")
    return f"held by {last or 'a person'}" if order.held else f"touched by {last or 'a person'} a moment ago"
