"""Who carries what: gives orders to drivers, takes them away, keeps routes, ETAs and risk true.

It must not know who decided, or whether it was allowed: `commands` and `reports` check first. Every number given out
is a fencing token: a driver that presents an older one than its order carries speaks of an assignment that is over.
"""

from math import sqrt

from streamer.core import drivers as driving
from streamer.core.events import DriverChanged, Id, OrderChanged, Output, RouteChanged, Stop
from streamer.core.forecast import LEAST_SD_MS, PARK_SPREAD, SERVICE_SPREAD
from streamer.core.learning import Learning
from streamer.core.orders import COMING_BACK, ON_BOARD, QUEUED, Step, advance
from streamer.core.routes import Planner, passed, place_of, timed, without
from streamer.core.settings import AutopilotRules, Settings
from streamer.core.state import Driver, Order, Risk, State, Tally

ETA_STEP_MS = 15_000
"""An ETA that moved by less is left as it was: people read minutes."""
INTERVAL_STEP_MS = 60_000
"""The ends of an interval are vaguer than its middle, and so is what people make of them."""


class Assignments:
    """The part of the state that says who carries what. All times are the engine's, in milliseconds."""

    def __init__(self, state: State, planner: Planner, settings: Settings) -> None:
        self.state = state
        self.planner = planner
        self.settings = settings
        self.learning = Learning(planner.forecast)

    def tally(self, mall_id: str) -> Tally:
        """The running figures of a mall."""
        return self.state.tallies.setdefault(mall_id, Tally())

    def autopilot(self, mall_id: str) -> AutopilotRules:
        """How the autopilot works at a mall: as a person has set it, else as the settings have it."""
        return self.state.autopilot.get(mall_id, self.settings.autopilot)

    # ------------------------------------------------------------ giving and taking

    def give(
        self,
        order: Order,
        driver: Driver,
        step: Step,
        at_ms: int,
        actor: str,
        reason: str = "",
        command_id: Id | None = None,
        position: int | None = None,
    ) -> None:
        """Gives an order to a driver, out of the hands of whoever had it, under a new assignment number."""
        on_board, coming_back = order.status in ON_BOARD, order.status in COMING_BACK
        self._waited_for_nothing(order, at_ms)
        self._take_from_route(order)
        self.state.assignments += 1
        number = self.state.assignments
        order.driver_id, order.assignment = driver.id, number
        order.held = False
        order.offered_until_ms = None
        changed = {"driver_id": driver.id, "assignment": str(number)}
        advance(order, step, at_ms, actor, reason, changed, command_id)
        order.arrived_pickup_ms = None
        if on_board:
            driver.route = (*driver.route, self.planner.stops_for(order)[1])
        elif coming_back:
            self.turn_back(order, driver)
        else:
            driver.route = self.planner.insert(driver, order, self.state.orders, at_ms, position)
        driver.order_ids = (*driver.order_ids, order.id)
        driver.assignment = number

    def take(
        self, order: Order, step: Step, at_ms: int, actor: str, reason: str = "", command_id: Id | None = None
    ) -> None:
        """Takes an order out of its driver's hands: unassigned, declined or cancelled."""
        changed = {"driver_id": ""} if order.driver_id else {}
        self._waited_for_nothing(order, at_ms)
        self._take_from_route(order)
        order.driver_id = order.assignment = order.arrived_pickup_ms = None
        order.pinned = False
        advance(order, step, at_ms, actor, reason, changed, command_id)
        if order.status in QUEUED:
            self.refresh_queued(order, at_ms)
        else:
            order.eta_pickup_ms = order.eta_dropoff_ms = order.eta_low_ms = order.eta_high_ms = None
            order.risk = "on_time"

    def _waited_for_nothing(self, order: Order, at_ms: int) -> None:
        """A driver stood at the counter for an order it then loses: that wait counts, although no pick-up ends it."""
        if order.status == "arrived_at_pickup" and order.arrived_pickup_ms is not None:
            self.tally(order.mall_id).wait_ms += at_ms - order.arrived_pickup_ms

    def lapse(self, order: Order, at_ms: int, actor: str) -> list[Output]:
        """An offer of `actor` that nobody answered: the order goes back, and its driver is not asked for it again."""
        driver = self.state.drivers[order.driver_id or ""]
        if driver.id not in order.declined_by:
            order.declined_by.append(driver.id)
        self.tally(order.mall_id).lapsed += 1
        self.take(order, "offer_lapsed", at_ms, actor, f"{driver.id} did not answer")
        return [OrderChanged(order.id, order.mall_id), *self.settle(driver, at_ms)]

    def finish(self, order: Order) -> None:
        """The order has left its driver for good; it keeps the driver's name on it."""
        self._take_from_route(order)

    def _take_from_route(self, order: Order) -> None:
        driver = self.state.drivers.get(order.driver_id or "")
        if driver is not None and order.id in driver.order_ids:
            driver.order_ids = tuple(held for held in driver.order_ids if held != order.id)
            driver.route = without(driver.route, order.id)

    def pass_stop(self, order: Order, driver: Driver, kind: str) -> None:
        """A stop has been made."""
        driver.route = passed(driver.route, order.id, kind)

    def turn_back(self, order: Order, driver: Driver) -> None:
        """A delivery failed: its stop becomes a return to the store it came from, at the end of the route."""
        pickup, _ = self.planner.stops_for(order)
        order.eta_low_ms = order.eta_high_ms = None
        driver.route = (*without(driver.route, order.id), Stop("return", order.id, pickup.lat, pickup.lng))

    def depart(self, driver: Driver, mall_id: str, at_ms: int) -> list[str]:
        """The driver leaves the mall with what it collected there: one trip. Returns what is now on the way."""
        leaving = [
            order
            for order_id in driver.order_ids
            if (order := self.state.orders[order_id]).status == "picked_up" and order.mall_id == mall_id
        ]
        for order in leaving:
            advance(order, "left_mall", at_ms, driver.id)
        if leaving:
            tally = self.tally(mall_id)
            tally.trips += 1
            tally.trip_orders += len(leaving)
        return [order.id for order in leaving]

    # ------------------------------------------------------------ ETA, slack, risk

    def settle(self, driver: Driver, at_ms: int, stops_changed: bool = True) -> list[Output]:
        """After something happened to a driver: times, a return that begins, the word for its state, the news.

        The driver is told its route only when its stops, or the number it has to present, changed.
        """
        outputs: list[Output] = []
        if driver.route and driver.route[0].kind == "return":
            order = self.state.orders[driver.route[0].order_id]
            if order.status == "failed":
                advance(order, "returning", at_ms, driver.id)
                outputs.append(OrderChanged(order.id, order.mall_id))
        outputs.extend(self.refresh(driver, at_ms, exact=True))
        driver.state = driving.state_of(driver, self.state.orders, at_ms, self.settings)
        if stops_changed:
            outputs.append(RouteChanged(driver.id, driver.assignment, driver.route))
        return [*outputs, DriverChanged(driver.id)]

    def refresh(self, driver: Driver, at_ms: int, exact: bool = False) -> list[Output]:
        """Brings the ETAs and risks of everything a driver carries up to `at_ms`; what visibly moved is an output.

        `exact` also takes up changes below `ETA_STEP_MS`: after a decision, what was previewed is what is shown.
        """
        if not driver.route:
            return []
        lat, lng = place_of(driver, driver.route[0])
        visits = self.planner.visits(lat, lng, at_ms, driver.route, self.state.orders)
        driver.route = timed(visits)
        outputs: list[Output] = []
        pickups = {visit.stop.order_id: visit.eta_ms for visit in visits if visit.stop.kind == "pickup"}
        for visit in visits:
            if visit.stop.kind == "dropoff":
                order = self.state.orders[visit.stop.order_id]
                pickup_ms = pickups.get(order.id, order.picked_up_ms)
                if self._set_etas(order, pickup_ms, visit.eta_ms, at_ms, visit.variance, exact):
                    outputs.append(OrderChanged(order.id, order.mall_id, versioned=False))
        return outputs

    def refresh_queued(self, order: Order, at_ms: int) -> bool:
        """ETA of an order nobody has: a driver found within `unassigned_search_ms`, the store ready as expected.

        Returns whether it visibly moved.
        """
        travel, forecast = self.planner.travel, self.planner.forecast
        mall, rules = self.planner.floor.malls[order.mall_id], travel.rules
        search_ms = self.settings.risk.unassigned_search_ms
        walk_ms = travel.walk_ms(mall, order.stores)
        counter_ms = at_ms + search_ms + rules.park_ms + walk_ms // 2
        # Somebody may be found at once, or only in twice the time allowed for it.
        variance = forecast.doubt(search_ms, 0.5) + forecast.doubt(rules.park_ms, PARK_SPREAD)
        wait_ms, variance = forecast.wait(order, at_ms, counter_ms, variance)
        pickup_ms = counter_ms + wait_ms + rules.pickup_ms
        drive_ms, doubt = forecast.drive_of(
            order.mall_id, pickup_ms, mall.lat, mall.lng, order.dropoff.lat, order.dropoff.lng
        )
        dropoff_ms = pickup_ms + walk_ms // 2 + drive_ms + rules.dropoff_ms // 2
        variance += doubt + forecast.doubt(rules.pickup_ms + rules.dropoff_ms // 2, SERVICE_SPREAD)
        return self._set_etas(order, pickup_ms, dropoff_ms, at_ms, variance)

    def _set_etas(
        self, order: Order, pickup_ms: int | None, dropoff_ms: int, at_ms: int, variance: float, exact: bool = False
    ) -> bool:
        sd_ms = max(LEAST_SD_MS, sqrt(variance))
        interval = self.planner.forecast.interval(order.mall_id, order.status in ON_BOARD, dropoff_ms, sd_ms, at_ms)
        self.learning.say(order, dropoff_ms, sd_ms, interval)
        low_ms, high_ms = interval or (None, None)
        risk = risk_of(order.due_ms, dropoff_ms, at_ms, self.settings.risk.at_risk_ms)
        moved = (
            exact
            or order.eta_dropoff_ms is None
            or abs(order.eta_dropoff_ms - dropoff_ms) >= ETA_STEP_MS
            or (order.eta_pickup_ms is None) != (pickup_ms is None)
            or abs((order.eta_pickup_ms or 0) - (pickup_ms or 0)) >= ETA_STEP_MS
            or abs((order.eta_low_ms or 0) - (low_ms or 0)) >= INTERVAL_STEP_MS
            or abs((order.eta_high_ms or 0) - (high_ms or 0)) >= INTERVAL_STEP_MS
            or risk != order.risk
        )
        if moved:
            order.eta_pickup_ms, order.eta_dropoff_ms, order.risk = pickup_ms, dropoff_ms, risk
            order.eta_low_ms, order.eta_high_ms = low_ms, high_ms
        return moved


def risk_of(due_ms: int, eta_ms: int, at_ms: int, at_risk_ms: int) -> Risk:
    """`late`: will be, or already is, past due. `at_risk`: slack (due less ETA) below `at_risk_ms`."""
    if eta_ms > due_ms or at_ms > due_ms:
        return "late"
    return "at_risk" if due_ms - eta_ms < at_risk_ms else "on_time"
