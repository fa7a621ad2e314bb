"""What a driver carries out at once: sets of orders in their best sequence, reduced to the few numbers a route needs.

It must not know drivers. Orders are indices here, and costs milliseconds of one customer's waiting.
"""

from collections.abc import Iterable, Sequence
from itertools import permutations

from msgspec import Struct

from streamer.dispatch.problem import NOWHERE, PlanOrder, PlanSettings, Service

Orders = tuple[int, ...]
ALL_SEQUENCES = 3
"""Up to so many orders all sequences are compared; beyond, an order goes where it fits best among the others."""
UNBOUNDED_MS = 1 << 62


class Load(Struct, frozen=True, gc=False):
    """Orders collected together, in the sequence of their drop-offs; their stores in the order in which they name them.

    It leaves its last store at max(arrival at `first` + `gather_ms`, `ready_ms`), and every drop-off follows at a fixed
    distance from there: so its cost is `weight` × leaving + `constant_ms`, and lateness beyond `relaxed_ms`.
    """

    orders: Orders
    key: Orders
    """The same orders, sorted."""
    first: int
    last: int
    """The place of the last drop-off."""
    gather_ms: int
    ready_ms: int
    """The earliest leaving, however early the driver comes."""
    length_ms: int
    """From leaving to being free again."""
    offsets_ms: tuple[int, ...]
    """From leaving to each drop-off."""
    weight: float
    constant_ms: float
    relaxed_ms: int
    """Leaving no later than this, nobody is late."""

    def late_ms(self, leave_ms: int, orders: Sequence[PlanOrder]) -> float:
        """Lateness of all when it leaves then, by weight."""
        late_ms = 0.0
        for o, offset_ms in zip(self.orders, self.offsets_ms, strict=True):
            order = orders[o]
            if leave_ms + offset_ms > order.due_ms:
                late_ms += order.weight * (leave_ms + offset_ms - order.due_ms)
        return late_ms


class Loads:
    """The best load of any set of orders, remembered."""

    def __init__(
        self, orders: Sequence[PlanOrder], legs: Sequence[Sequence[int]], service: Service, settings: PlanSettings
    ) -> None:
        self._orders, self._legs, self._service, self._settings = orders, legs, service, settings
        self._known: dict[tuple[Orders, int], Load | None] = {}
        self._one_store = [order.pickups[0] if len(set(order.pickups)) == 1 else NOWHERE for order in orders]

    def best(self, orders: Orders, first: int = NOWHERE) -> Load | None:
        """The best sequence of these orders, sorted; None when they may not share a trip, or none starts at `first`."""
        known = self._known
        if (orders, first) not in known:
            known[orders, first] = self._best(orders, first)
        return known[orders, first]

    def _best(self, orders: Orders, first: int) -> Load | None:
        loads = [load for load in map(self._timed, self._sequences(orders, first)) if self._may_start(load, first)]
        return min(loads, key=lambda load: (self._worth_ms(load), load.orders), default=None)

    def _sequences(self, orders: Orders, first: int) -> Iterable[Orders]:
        if len(orders) <= ALL_SEQUENCES:
            return permutations(orders)
        found: list[Orders] = []
        for new in (orders[-1], orders[0]):
            rest = tuple(o for o in orders if o != new)
            for load in dict.fromkeys((self.best(rest, first), self.best(rest))):
                if load is not None:
                    found += [(*load.orders[:at], new, *load.orders[at:]) for at in range(len(orders))]
        return dict.fromkeys(found)

    def _may_start(self, load: Load, first: int) -> bool:
        return first in (NOWHERE, load.first) and self._may_share(load)

    def _may_share(self, load: Load) -> bool:
        """All from one store, or from stores one of the orders needs anyway, or from stores near the first."""
        store = self._one_store[load.orders[0]]
        if store != NOWHERE and all(self._one_store[o] == store for o in load.orders):
            return True
        needed = {store for o in load.orders for store in self._orders[o].pickups}
        if any(needed == set(self._orders[o].pickups) for o in load.orders):
            return True
        near_ms = self._settings.multi_pickup_ms
        return near_ms > 0 and all(self._legs[load.first][store] <= near_ms for store in needed)

    def _worth_ms(self, load: Load) -> float:
        """What tells sequences of the same orders apart, when the driver is there in time."""
        leave_ms = load.ready_ms
        late_ms = load.late_ms(leave_ms, self._orders) if leave_ms > load.relaxed_ms else 0.0
        settings = self._settings
        work_ms = load.gather_ms + load.length_ms
        waiting_ms = load.weight * leave_ms + load.constant_ms
        return waiting_ms + settings.driver_minute * work_ms + settings.late_weight * late_ms

    def _timed(self, sequence: Orders) -> Load:
        orders, legs, half_ms = self._orders, self._legs, self._service.dropoff_ms // 2
        stores, gather_ms, ready_ms = self._gathered(sequence)
        here, time_ms, weight, relaxed_ms = stores[-1], 0, 0.0, UNBOUNDED_MS
        constant_ms = self.trip_ms(sequence)
        offsets_ms: list[int] = []
        for o in sequence:
            order = orders[o]
            time_ms += legs[here][order.dropoff] + half_ms
            offsets_ms.append(time_ms)
            weight += order.weight
            constant_ms += order.weight * (time_ms - order.earliest_ms)
            relaxed_ms = min(relaxed_ms, order.due_ms - time_ms)
            time_ms += half_ms
            here = order.dropoff
        return Load(
            sequence, tuple(sorted(sequence)), stores[0], here, gather_ms, ready_ms, time_ms, tuple(offsets_ms),
            weight, constant_ms, relaxed_ms,
        )  # fmt: skip

    def trip_ms(self, orders: Iterable[int]) -> float:
        """The price of a trip; one that is only expected costs no more than its orders weigh."""
        trip_ms = self._settings.trip_ms
        return trip_ms * min(1.0, max(self._orders[o].weight for o in orders)) if trip_ms else 0.0

    def _gathered(self, sequence: Orders) -> tuple[list[int], int, int]:
        """The stores in turn, the time through all of them, and the earliest leaving of the last.

        An order of several stores is taken to be ready at each of them when it is ready at the last.
        """
        legs, pickup_ms = self._legs, self._service.pickup_ms
        stores = list(dict.fromkeys(store for o in sequence for store in self._orders[o].pickups))
        gather_ms = leave_ms = 0
        for number, store in enumerate(stores):
            walk_ms = legs[stores[number - 1]][store] if number else 0
            gather_ms += walk_ms + pickup_ms
            ready_ms = max(self._orders[o].ready_ms for o in sequence if store in self._orders[o].pickups)
            leave_ms = max(leave_ms + walk_ms + pickup_ms, ready_ms + pickup_ms // 2)
        return stores, gather_ms, leave_ms
