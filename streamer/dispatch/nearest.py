"""The plan most floors make without thinking: each order at once to the nearest driver with nothing to do, one a trip.

It must not know what the places are. It is what a better plan is compared with.
"""

from streamer.dispatch.problem import NOWHERE, Plan, PlanDriver, PlanOrder, Problem, Trip


def nearest_idle(problem: Problem) -> Plan:
    """The order due first chooses first. Who is under way keeps what it has; nobody collects after the shift."""
    told = {order.told: order for order in problem.orders if order.told is not None}
    trips: dict[str, tuple[Trip, ...]] = {}
    idle: list[PlanDriver] = []
    for driver in problem.drivers:
        if driver.heading != NOWHERE:
            trips[driver.id] = (_alone(problem, driver, told[driver.id]),)
        elif driver.free_ms <= problem.at_ms:
            idle.append(driver)
    unserved: list[str] = []
    for order in sorted(problem.orders, key=lambda order: (order.due_ms, order.id)):
        if order.told is not None:
            continue
        able = [driver for driver in idle if _may(driver, order) and _in_time(problem, driver, order)]
        if not able:
            unserved.append(order.id)
            continue
        nearest = min(able, key=lambda driver: (problem.legs[driver.place, order.pickups[0]], driver.id))
        idle.remove(nearest)
        trips[nearest.id] = (_alone(problem, nearest, order),)
    return Plan(trips, tuple(unserved), 0.0)


def _may(driver: PlanDriver, order: PlanOrder) -> bool:
    return driver.capacity > 0 and driver.id not in order.barred and order.only in (None, driver.id)


def _in_time(problem: Problem, driver: PlanDriver, order: PlanOrder) -> bool:
    return _alone(problem, driver, order).leave_ms - problem.service.pickup_ms // 2 <= driver.off_ms


def _alone(problem: Problem, driver: PlanDriver, order: PlanOrder) -> Trip:
    """Off at once, from store to store, then to the door."""
    place, time_ms = driver.place, driver.free_ms
    for store in order.pickups:
        time_ms += int(problem.legs[place, store]) + problem.service.pickup_ms
        place = store
    leave_ms = max(time_ms, order.ready_ms + problem.service.pickup_ms // 2)
    dropoff_ms = leave_ms + int(problem.legs[place, order.dropoff]) + problem.service.dropoff_ms // 2
    return Trip((order.id,), driver.free_ms, leave_ms, (dropoff_ms,))
