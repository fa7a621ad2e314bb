"""Why an order is where the plan has it: its cost in terms, and what the next best driver would cost.

It must not decide. The terms are those of `costs`, so people and plan speak of the same minutes.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from statistics import median

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.events import Advice, Stop
from streamer.core.state import Driver, Order
from streamer.dispatch.candidates import as_unassigned, cost_of, exclusion
from streamer.dispatch.costs import terms_of
from streamer.dispatch.floor import Seat
from streamer.dispatch.problem import Plan, Problem, Trip

ALTERNATIVES = 2
"""Other drivers costed for the regret: those who could be at the store first."""
USUAL_MIN = 20.0
"""What an order costs before any has been costed, minutes."""


class Explained(Struct, frozen=True):
    """The cost of an order on its trip, minutes. `terms` sum to `cost_min`."""

    cost_min: float
    terms: dict[str, float]


class Explainer:
    """Costs the orders of one plan as `candidates` costs them for people."""

    def __init__(
        self, engine: Engine, problem: Problem, plan: Plan, seats: Mapping[str, Seat], at_ms: int
    ) -> None:
        self._engine, self._problem, self._plan, self._seats, self._at_ms = engine, problem, plan, seats, at_ms
        self._costs: list[float] = []
        self._counter = {order.id: order.pickups[0] for order in problem.orders}
        self._places = np.array([driver.place for driver in problem.drivers], dtype=np.int64)
        self._free_ms = np.array([driver.free_ms for driver in problem.drivers], dtype=np.int64)

    def of(self, order: Order, seat: Seat, trip: Trip) -> Explained:
        """The cost of this order on this trip, against the trip without it."""
        known = {**self._engine.state.orders, order.id: as_unassigned(order)}
        for other in trip.order_ids:
            if other in known and known[other].driver_id != seat.driver.id:
                known[other] = as_unassigned(known[other])
        start_ms = max(seat.free_ms, min(trip.depart_ms, trip.leave_ms))
        planner = self._engine.planner
        after = planner.visits(seat.lat, seat.lng, start_ms, self._stops(trip.order_ids, known), known)
        rest = tuple(other for other in trip.order_ids if other != order.id)
        before = planner.visits(seat.lat, seat.lng, start_ms, self._stops(rest, known), known) if rest else []
        terms = terms_of(seat.driver, order, before, after, known, self._at_ms).as_mapping()
        cost_min = round(sum(terms.values()), 2)
        self._costs.append(cost_min)
        return Explained(cost_min, terms)

    def add(self, advice: Advice, order: Order, seat: Seat, trip: Trip) -> Advice:
        """The advice with its cost, terms and regret."""
        explained = self.of(order, seat, trip)
        return replace(
            advice, cost_min=explained.cost_min, terms=explained.terms,
            regret_min=self.regret_min(order, seat, explained.cost_min),
        )  # fmt: skip

    def regret_min(self, order: Order, seat: Seat, cost_min: float) -> float | None:
        """What the best of the other drivers would cost more than this one; None when there is no other."""
        if order.id not in self._counter:
            return None
        others = islice(self._soonest(order, seat.driver.id), ALTERNATIVES)
        costs = [cost_of(self._engine, order, driver).cost for driver in others]
        return round(min(costs) - cost_min, 2) if costs else None

    def _soonest(self, order: Order, but: str) -> Iterator[Driver]:
        """The drivers who could take the order, by when they could be at its counter."""
        there_ms = self._free_ms + self._problem.legs[self._places, self._counter[order.id]]
        for number in np.argsort(there_ms, kind="stable").tolist():
            seat = self._seats.get(self._problem.drivers[number].id)
            if seat is not None and seat.driver.id != but and exclusion(seat.driver, order) is None:
                yield seat.driver

    @property
    def usual_min(self) -> float:
        """The middle of the costs so far."""
        return median(self._costs) if self._costs else USUAL_MIN

    def _stops(self, order_ids: tuple[str, ...], known: Mapping[str, Order]) -> tuple[Stop, ...]:
        pairs = [self._engine.planner.stops_for(known[order_id]) for order_id in order_ids if order_id in known]
        return (*(pickup for pickup, _ in pairs), *(door for _, door in pairs))
