"""A toy day whose every minute can be worked out by hand, and policies that do as they are told.

On a line, 100 m a minute. r1 at 0, r2 at 200 m. c1 starts at 300 m and works 10 to 60,
c2 at 5,000 m and works 0 to 120.
o1: placed 3, ready 20 at r1, to 500 m. o2: placed 12, ready 22 at r1, to 700 m. o3: placed 13, ready 15 at r2, to
400 m. o4: placed 0, ready 90 at r1, to 900 m: nobody could bring it within 90 minutes. Services take 4 minutes each.
"""

from collections.abc import Callable, Sequence

from streamer.dispatch.problem import Plan, PlanSettings, Problem, Trip
from streamer.sim.mdrp.day import Day
from streamer.sim.mdrp.instance import MINUTE_MS, Instance, parse

TOY = {
    "restaurants.txt": "restaurant\tx\ty\nr1\t0\t0\nr2\t200\t0\n",
    "couriers.txt": "courier\tx\ty\ton_time\toff_time\nc1\t300\t0\t10\t60\nc2\t5000\t0\t0\t120\n",
    "orders.txt": (
        "order\tx\ty\tplacement_time\trestaurant\tready_time\n"
        "o1\t500\t0\t3\tr1\t20\no2\t700\t0\t12\tr1\t22\no3\t400\t0\t13\tr2\t15\no4\t900\t0\t0\tr1\t90\n"
    ),
    "instance_parameters.txt": (
        "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door\t"
        "maximum click-to-door\tpay per order\tguaranteed pay per hour\n100\t4\t4\t40\t90\t10\t15\n"
    ),
}


def toy(**changed: str) -> Instance:
    """The toy with some of its files' text changed: `toy(orders="…")`."""
    return parse("toy", {**TOY, **{f"{name}.txt": text for name, text in changed.items()}})


Told = dict[str, tuple[str, ...]]
"""Driver and orders."""


def go(told: Told, problem: Problem) -> Plan:
    """Everybody named leaves now."""
    trips: dict[str, tuple[Trip, ...]] = {
        driver: (Trip(orders, problem.at_ms, problem.at_ms, ()),) for driver, orders in told.items()
    }
    return Plan(trips, (), 0.0)


def scripted(script: dict[int, Told]) -> Callable[[Problem], Plan]:
    """What is told at which minute; at others what was told last."""
    told: list[Told] = [{}]

    def policy(problem: Problem) -> Plan:
        told.append(script.get(problem.at_ms // MINUTE_MS, told[-1]))
        known = {order.id for order in problem.orders}
        return go({driver: orders for driver, orders in told[-1].items() if known.issuperset(orders)}, problem)

    return policy


def play(policy: Callable[[Problem], Plan], instance: Instance | None = None, **settings: int) -> Day:
    """A day played to its end, a look every 5 minutes unless `look_ms` says otherwise."""
    day = Day(instance or toy(), policy, PlanSettings(**settings))
    shares: Sequence[float] = list(day.play())
    assert shares == sorted(shares)
    return day
