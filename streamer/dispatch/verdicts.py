"""Why each order is where a plan has it: its cost in terms, the best other driver, and what it waits for.

It must not change the plan. Terms are minutes of one customer's waiting, weighted, and sum to the order's cost:
`wait` at its store after it was ready, for the driver or the others of its trip; `detour` on the way to its door for
the doors before; `lateness` past due; `drive`, its share of the driver's work; `trip`, its share of what a trip costs;
`change`, that another driver was told; `doubt`, that the driver may be further away than it looks.
"""

from collections.abc import Set as AbstractSet

from streamer.dispatch.loads import Load
from streamer.dispatch.problem import Verdict
from streamer.dispatch.schedule import NOBODY, Schedule

MS_PER_MINUTE = 60_000
LEAST_HOLD_MS = 30_000
"""A trip that leaves this much later for its company is held."""


def verdicts(schedule: Schedule, far: AbstractSet[int]) -> tuple[Verdict, ...]:
    """One an order, in the problem's order; expected orders have none. `far` are orders ready beyond the horizon."""
    found: dict[int, Verdict] = {}
    for d in range(len(schedule.drivers)):
        for number, load in enumerate(schedule.sure(d)):
            for o in load.orders:
                found[o] = _carried(schedule, d, number, o)
    for o in range(schedule.real):
        if o not in found:
            put_off = o in far or schedule.carrier[o] != NOBODY
            found[o] = _later(schedule, o, o in far) if put_off else _unserved(schedule, o)
    return tuple(found[o] for o in range(schedule.real))


def _carried(schedule: Schedule, d: int, number: int, o: int) -> Verdict:
    route = schedule.routes[d]
    load = route.loads[number]
    terms = _terms(schedule, d, number, o)
    hold_ms = _hold_ms(schedule, d, number, o)
    second, regret_ms = _second(schedule, d, o)
    held = hold_ms >= LEAST_HOLD_MS
    others = ", ".join(schedule.orders[other].id for other in load.orders if other != o)
    if held:
        why = f"hold {_minutes(hold_ms)} min: {_company(load)} on this trip, {_late(schedule, d, number)}"
    else:
        why = f"on a trip with {others}" if others else "alone on its trip"
    return Verdict(
        schedule.orders[o].id, "held" if held else "planned", why, schedule.drivers[d].id, terms,
        round(sum(terms.values()), 2), None if second is None else schedule.drivers[second].id,
        None if regret_ms is None else round(regret_ms / MS_PER_MINUTE, 2), hold_ms if held else 0,
    )  # fmt: skip


def _terms(schedule: Schedule, d: int, number: int, o: int) -> dict[str, float]:
    route, order, settings = schedule.routes[d], schedule.orders[o], schedule.settings
    load, mark = route.loads[number], route.marks[number]
    leave_ms = schedule.leave_ms(mark, load)
    dropoff_ms = leave_ms + load.offsets_ms[load.orders.index(o)]
    work_ms = schedule.legs[mark[1]][load.first] + load.gather_ms + load.length_ms
    wait_ms = leave_ms - order.ready_ms - schedule.problem.service.pickup_ms // 2
    terms_ms = {
        "wait": order.weight * wait_ms,
        "detour": order.weight * (dropoff_ms - order.earliest_ms - wait_ms),
        "lateness": settings.late_weight * order.weight * max(0, dropoff_ms - order.due_ms),
        "drive": settings.driver_minute * work_ms / len(load.orders),
        "trip": schedule.loads.trip_ms(load.orders) / len(load.orders),
        "change": schedule.change_ms(o, d),
        "doubt": order.weight * schedule.drivers[d].doubt_ms,
    }
    return {name: round(ms / MS_PER_MINUTE, 2) for name, ms in terms_ms.items()}


def _hold_ms(schedule: Schedule, d: int, number: int, o: int) -> int:
    """How much earlier the same driver would leave with this order alone."""
    route = schedule.routes[d]
    load, mark = route.loads[number], route.marks[number]
    alone = schedule.loads.best((o,)) if len(load.orders) > 1 else None
    return 0 if alone is None else max(0, schedule.leave_ms(mark, load) - schedule.leave_ms(mark, alone))


def _company(load: Load) -> str:
    more = len(load.orders) - 1
    return f"+{more} order{'s' if more > 1 else ''}"


def _late(schedule: Schedule, d: int, number: int) -> str:
    route = schedule.routes[d]
    load = route.loads[number]
    leave_ms = schedule.leave_ms(route.marks[number], load)
    pairs = zip(load.orders, load.offsets_ms, strict=True)
    late = sum(leave_ms + offset_ms > schedule.orders[o].due_ms for o, offset_ms in pairs)
    return f"{late} late" if late else "nobody late"


def _second(schedule: Schedule, d: int, o: int) -> tuple[int | None, float | None]:
    """The cheapest of the other drivers, and what moving the order there would add to the plan."""
    others = [(option[0], other) for other in schedule.tried(o) if other != d and (option := schedule.option(o, other))]
    if not others:
        return None, None
    added_ms, second = min(others)
    return second, added_ms - schedule.spared_ms(o)


def _later(schedule: Schedule, o: int, is_far: bool) -> Verdict:
    order = schedule.orders[o]
    if is_far:
        in_min = _minutes(order.ready_ms - schedule.problem.at_ms)
        return Verdict(order.id, "later", f"ready in {in_min} min: planned when that is nearer")
    driver = schedule.drivers[schedule.carrier[o]]
    return Verdict(order.id, "later", f"can wait: {driver.id} is kept for an order expected before it")


def _unserved(schedule: Schedule, o: int) -> Verdict:
    """What nobody can be blamed for first: rules, then shifts, then room."""
    order = schedule.orders[o]
    able = [d for d in range(len(schedule.drivers)) if schedule.allows(o, d)]
    alone = schedule.loads.best((o,))
    if not schedule.drivers:
        why = "there is no driver"
    elif not able or alone is None:
        why = "pinned to a driver who is not here" if order.only else "no driver may take it"
    elif not any(schedule.fits(d, schedule.start(d), (alone,)) for d in able):
        why = "no driver can take it before the end of a shift"
    else:
        why = "every driver who could take it does better with others"
    return Verdict(order.id, "unserved", why)


def _minutes(ms: int) -> int:
    return max(1, round(ms / MS_PER_MINUTE))
