"""A day of the meal-delivery benchmark, played look by look through a dispatcher under the benchmark's own rules.

It must not know how a plan is made, nor which one is good. The rules: an order is known from its placement only; a
driver waits where it last stopped and leaves only when told; on its way it is never diverted, but what it will collect
may change until it collects it, and is never nothing; nobody collects after the end of the shift.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from streamer.core.errors import CallerError
from streamer.dispatch.problem import NOWHERE, Plan, PlanDriver, PlanOrder, PlanSettings, Problem, Service
from streamer.sim.mdrp.instance import Ground, Instance

Policy = Callable[[Problem], Plan]


class Move(Struct, frozen=True):
    """A driver's way from place to place, as `Ground` numbers them."""

    depart_ms: int
    origin: int
    destination: int


class Carried(Struct, frozen=True):
    """A trip as it came to be: indices of driver and orders, these in the sequence of their drop-offs.

    `fixed_ms` is the look at which its orders were last changed, `pickup_ms` its last pick-up.
    """

    driver: int
    orders: tuple[int, ...]
    fixed_ms: int
    pickup_ms: int


class Played(Struct, frozen=True):
    """What came of a day, by index of order or driver. `earliest_ms` is the earliest conceivable drop-off."""

    earliest_ms: tuple[int, ...]
    left_out: frozenset[int]
    pickup_ms: dict[int, int]
    dropoff_ms: dict[int, int]
    driver: dict[int, int]
    trips: list[Carried]
    moves: tuple[list[Move], ...]


class Work:
    """What a driver is about. With `orders` it is on its way to, or waits at, `place`, their first restaurant."""

    __slots__ = ("arrive_ms", "fixed_ms", "free_ms", "orders", "pickup_ms", "place")

    def __init__(self, place: int, free_ms: int) -> None:
        self.place = place
        self.free_ms = free_ms
        self.orders: tuple[int, ...] = ()
        self.arrive_ms = 0
        self.pickup_ms = 0
        """The first pick-up of the trip, as things stand."""
        self.fixed_ms = 0


class Day:
    """Plays an instance through a policy that is asked every `settings.look_ms`."""

    def __init__(self, instance: Instance, policy: Policy, settings: PlanSettings) -> None:
        self.instance, self.policy, self.settings = instance, policy, settings
        self.ground = Ground(instance)
        self.half_pickup_ms, self.half_dropoff_ms = instance.pickup_ms // 2, instance.dropoff_ms // 2
        self.works = [Work(place, driver.on_ms) for place, driver in enumerate(instance.drivers)]
        self.told: dict[int, int | None] = {}
        """Orders that are known and not collected, and the driver each was last told to."""
        earliest_ms = tuple(self._earliest_ms(number) for number in range(len(instance.orders)))
        out = frozenset(
            number
            for number, order in enumerate(instance.orders)
            if earliest_ms[number] - order.placed_ms > instance.maximum_ms
        )
        self.played = Played(earliest_ms, out, {}, {}, {}, [], tuple([] for _ in self.works))
        order_of = instance.orders
        self._to_come = sorted(set(range(len(order_of))) - out, key=lambda number: (order_of[number].placed_ms, number))
        self._drivers = {driver.id: number for number, driver in enumerate(instance.drivers)}
        self._orders = {order.id: number for number, order in enumerate(instance.orders)}

    def _earliest_ms(self, number: int) -> int:
        """Had a driver stood waiting with nothing else to do."""
        order, ground = self.instance.orders[number], self.ground
        leave_ms = order.ready_ms + self.half_pickup_ms
        return (
            leave_ms
            + ground.travel_ms(ground.restaurant(order.restaurant), ground.order(number))
            + (self.half_dropoff_ms)
        )

    def play(self) -> Iterator[float]:
        """Play to the end, yielding after each look what share of the day is done.

        Raises:
            CallerError: a plan breaks a rule.
        """
        instance, look_ms = self.instance, self.settings.look_ms
        starts = [driver.on_ms for driver in instance.drivers]
        starts += [instance.orders[number].placed_ms for number in self._to_come[:1]]
        last_ms = max(driver.off_ms for driver in instance.drivers)
        begin_ms = now_ms = min(starts) // look_ms * look_ms
        come = 0
        while now_ms <= last_ms and (come < len(self._to_come) or self.told):
            self._collect(now_ms)
            while come < len(self._to_come) and instance.orders[self._to_come[come]].placed_ms <= now_ms:
                self.told[self._to_come[come]] = None
                come += 1
            if self.told:
                self._follow(now_ms, self.policy(self._problem(now_ms)))
            now_ms += look_ms
            yield min(1.0, (now_ms - begin_ms) / max(1, last_ms - begin_ms))
        self._collect(None)

    # ---------------------------------------------------------------- what happens by itself

    def _collect(self, now_ms: int | None) -> None:
        """Carry out the trips whose first pick-up has happened by now; all of them when there is no now any more."""
        for driver, work in enumerate(self.works):
            if work.orders and (now_ms is None or work.pickup_ms <= now_ms):
                self._carry_out(driver, work)

    def _carry_out(self, driver: int, work: Work) -> None:
        ground, played = self.ground, self.played
        time_ms, place, pickup_ms = work.arrive_ms, work.place, work.pickup_ms
        for at_ms, store in self._visits(work):
            if store != place:
                played.moves[driver].append(Move(time_ms, place, store))
            place, pickup_ms = store, at_ms
            time_ms = at_ms + self.half_pickup_ms
            for order in work.orders:
                if self._store(order) == store:
                    played.pickup_ms[order], played.driver[order] = at_ms, driver
        for order in work.orders:
            dropoff = ground.order(order)
            played.moves[driver].append(Move(time_ms, place, dropoff))
            time_ms += ground.travel_ms(place, dropoff) + self.half_dropoff_ms
            played.dropoff_ms[order] = time_ms
            time_ms += self.half_dropoff_ms
            place = dropoff
            del self.told[order]
        played.trips.append(Carried(driver, work.orders, work.fixed_ms, pickup_ms))
        work.place, work.free_ms, work.orders = place, time_ms, ()

    def _visits(self, work: Work) -> Iterator[tuple[int, int]]:
        """When a trip collects where: its restaurants in the order in which its drop-offs name them."""
        stores = list(dict.fromkeys(self._store(order) for order in work.orders))
        at_ms, place = work.pickup_ms, stores[0]
        yield at_ms, place
        for store in stores[1:]:
            ready_ms = max(self.instance.orders[order].ready_ms for order in work.orders if self._store(order) == store)
            at_ms += self.half_pickup_ms + self.ground.travel_ms(place, store) + self.half_pickup_ms
            at_ms, place = max(at_ms, ready_ms), store
            yield at_ms, place

    def _store(self, order: int) -> int:
        return self.ground.restaurant(self.instance.orders[order].restaurant)

    # ---------------------------------------------------------------- what a plan makes happen

    def _follow(self, now_ms: int, plan: Plan) -> None:
        """Tell drivers what must be told before the next look, and forget the rest of the plan."""
        self.told = dict.fromkeys(self.told)
        for driver, work in enumerate(self.works):
            trips = plan.trips.get(self.instance.drivers[driver].id, ())
            if work.orders:
                self._tell(now_ms, driver, self._orders_of(driver, trips[0].order_ids if trips else ()))
            elif trips and trips[0].depart_ms < now_ms + self.settings.look_ms:
                orders = self._orders_of(driver, trips[0].order_ids)
                self._send(now_ms, driver, self._store(orders[0]))
                self._tell(now_ms, driver, orders)

    def _orders_of(self, driver: int, ids: tuple[str, ...]) -> tuple[int, ...]:
        orders = tuple(self._orders.get(order_id, -1) for order_id in ids)
        if not orders:
            raise CallerError(f"the plan leaves {self.instance.drivers[driver].id} under way for nothing")
        for order, order_id in zip(orders, ids, strict=True):
            if order not in self.told:
                raise CallerError(f"the plan gives out {order_id}, which is not known or is collected")
            if self.told[order] is not None or orders.count(order) > 1:
                raise CallerError(f"the plan gives out {order_id} twice")
        return orders

    def _send(self, now_ms: int, driver: int, store: int) -> None:
        work = self.works[driver]
        depart_ms = max(work.free_ms, now_ms)
        self.played.moves[driver].append(Move(depart_ms, work.place, store))
        work.arrive_ms = depart_ms + self.ground.travel_ms(work.place, store)
        work.place = store

    def _tell(self, now_ms: int, driver: int, orders: tuple[int, ...]) -> None:
        """Set what a driver under way will collect; a pick-up that is changed now is not in the past."""
        work, who = self.works[driver], self.instance.drivers[driver]
        if self._store(orders[0]) != work.place:
            raise CallerError(f"the plan diverts {who.id} from {self.ground.ids[work.place]}")
        for store in {self._store(order) for order in orders} - {work.place}:
            if self.ground.travel_ms(work.place, store) > self.settings.multi_pickup_ms:
                raise CallerError(f"the plan lets {who.id} collect at {self.ground.ids[store]} as well")
        if orders != work.orders:
            work.orders, work.fixed_ms = orders, now_ms
        here = [self.instance.orders[order].ready_ms for order in orders if self._store(order) == work.place]
        work.pickup_ms = max(work.arrive_ms + self.half_pickup_ms, now_ms, *here)
        for at_ms, _ in self._visits(work):
            if at_ms > who.off_ms:
                raise CallerError(f"the plan lets {who.id} collect after its shift")
        for order in orders:
            self.told[order] = driver

    # ---------------------------------------------------------------- what a policy is asked

    def _problem(self, now_ms: int) -> Problem:
        instance, ground, settings = self.instance, self.ground, self.settings
        numbers: dict[int, int] = {}

        def place(at: int) -> int:
            return numbers.setdefault(at, len(numbers))

        orders = tuple(self._plan_order(number, place) for number in sorted(self.told))
        drivers = tuple(
            self._plan_driver(now_ms, number, place)
            for number, driver in enumerate(instance.drivers)
            if self.works[number].orders or (driver.on_ms <= now_ms + settings.horizon_ms and driver.off_ms >= now_ms)
        )
        service = Service(instance.pickup_ms, instance.dropoff_ms)
        return Problem(now_ms, orders, drivers, ground.legs(list(numbers)), service, settings)

    def _plan_order(self, number: int, place: Callable[[int], int]) -> PlanOrder:
        order, told = self.instance.orders[number], self.told[number]
        return PlanOrder(
            order.id, (place(self._store(number)),), place(self.ground.order(number)), order.ready_ms,
            due_ms=order.placed_ms + self.instance.maximum_ms, earliest_ms=self.played.earliest_ms[number],
            told=None if told is None else self.instance.drivers[told].id,
        )  # fmt: skip

    def _plan_driver(self, now_ms: int, number: int, place: Callable[[int], int]) -> PlanDriver:
        """One that waits at its restaurant is as if it had arrived in time for a pick-up now, not later."""
        work, driver = self.works[number], self.instance.drivers[number]
        at = place(work.place)
        free_ms = max(work.arrive_ms, now_ms - self.half_pickup_ms) if work.orders else max(work.free_ms, now_ms)
        heading = at if work.orders else NOWHERE
        return PlanDriver(driver.id, at, free_ms, driver.off_ms, self.settings.trip_orders, heading)
