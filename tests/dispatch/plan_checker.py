"""Whether a plan keeps every hard rule, worked out from the problem alone: it shares no code with the search."""

from streamer.dispatch.problem import NOWHERE, Plan, PlanDriver, PlanOrder, Problem, Trip


def faults(problem: Problem, plan: Plan) -> list[str]:
    """All that is wrong with a plan, in words."""
    return [*_each_once(problem, plan), *(fault for one in problem.drivers for fault in _driver(problem, plan, one))]


def _each_once(problem: Problem, plan: Plan) -> list[str]:
    carried = [order_id for trips in plan.trips.values() for trip in trips for order_id in trip.order_ids]
    mentioned = sorted([*carried, *plan.unserved, *plan.later])
    found = [] if mentioned == sorted(order.id for order in problem.orders) else ["an order is missing, or there twice"]
    strangers = set(plan.trips) - {driver.id for driver in problem.drivers}
    return found + [f"{driver} is no driver" for driver in sorted(strangers)]


def _driver(problem: Problem, plan: Plan, driver: PlanDriver) -> list[str]:
    orders = {order.id: order for order in problem.orders}
    trips = plan.trips.get(driver.id, ())
    found: list[str] = []
    told_here = [
        o for o in orders.values() if o.told == driver.id and o.pickups[0] == driver.heading and _may(driver, o)
    ]
    under_way = driver.heading != NOWHERE and bool(told_here)
    if under_way and (not trips or orders[trips[0].order_ids[0]].pickups[0] != driver.heading):
        found.append(f"{driver.id} is diverted")
    place, time_ms = driver.place if driver.heading == NOWHERE else driver.heading, driver.free_ms
    for number, trip in enumerate(trips):
        carried = [orders[order_id] for order_id in trip.order_ids]
        stands = under_way and number == 0 and all(order.told == driver.id for order in carried)
        found += [f"{order.id} may not go to {driver.id}" for order in carried if not _may(driver, order)]
        if len(carried) > min(driver.capacity, problem.settings.trip_orders):
            found.append(f"{driver.id} carries {len(carried)}")
        if not _may_share(problem, carried):
            found.append(f"{trip.order_ids} share a trip")
        place, time_ms, said = _walk(problem, driver, trip, carried, place, time_ms, stands)
        found += said
    if len(trips) > problem.settings.trips_ahead:
        found.append(f"{driver.id} is planned {len(trips)} trips")
    return found


def _may(driver: PlanDriver, order: PlanOrder) -> bool:
    return order.only in (None, driver.id) and driver.id not in order.barred and driver.capacity > 0


def _may_share(problem: Problem, carried: list[PlanOrder]) -> bool:
    stores = {store for order in carried for store in order.pickups}
    if any(stores == set(order.pickups) for order in carried):
        return True
    return all(problem.legs[carried[0].pickups[0], store] <= problem.settings.multi_pickup_ms for store in stores)


def _walk(
    problem: Problem, driver: PlanDriver, trip: Trip, carried: list[PlanOrder], place: int, time_ms: int, stands: bool
) -> tuple[int, int, list[str]]:
    """From store to store and door to door by the clock; a trip may leave later than it could, never earlier."""
    found: list[str] = []
    legs, service = problem.legs, problem.service
    if trip.depart_ms < time_ms:
        found.append(f"{trip.order_ids} depart before {driver.id} is free")
    time_ms = max(time_ms, trip.depart_ms)
    for store in dict.fromkeys(store for order in carried for store in order.pickups):
        time_ms += int(legs[place, store]) + service.pickup_ms // 2
        time_ms = max([time_ms, *(order.ready_ms for order in carried if store in order.pickups)])
        time_ms += service.pickup_ms - service.pickup_ms // 2
        place = store
    if trip.leave_ms != time_ms:
        found.append(f"{trip.order_ids} leave at {trip.leave_ms}, not {time_ms}")
    if time_ms - service.pickup_ms // 2 > driver.off_ms and not stands:
        found.append(f"{driver.id} collects after its shift")
    for order, dropoff_ms in zip(carried, trip.dropoff_ms, strict=True):
        time_ms += int(legs[place, order.dropoff]) + service.dropoff_ms // 2
        if dropoff_ms != time_ms:
            found.append(f"{order.id} is dropped off at {dropoff_ms}, not {time_ms}")
        if time_ms > driver.home_ms and not stands:
            found.append(f"{driver.id} drops off after it is to be home")
        time_ms += service.dropoff_ms - service.dropoff_ms // 2
        place = order.dropoff
    return place, time_ms, found
