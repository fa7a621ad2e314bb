"""What it would cost to give an order to a driver, in minutes, as terms that sum to the cost.

It must not know how candidates are found or shown. All terms are customer- or driver-minutes; the weights that turn
one into the other are named here, with their reasons.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from streamer.core.routes import Visit
from streamer.core.state import Driver, Order

WAITING_WEIGHT = 1.0
"""The currency: a minute that a customer waits, within what was promised."""
DRIVER_WEIGHT = 2.0
"""A minute of a driver's work: fill decides whether the service survives, and customers were promised a time anyway."""
LATE_WEIGHT = 60.0
"""A minute past due hurts as much as an hour of ordinary waiting: a promise is broken. With half of it plans sold the
margin before due for a fuller trip (saturday-rush: 98.4 % in time for 99.5 %, at the same fill)."""
DETOUR_WEIGHT = 1.0
FIX_AGE_WEIGHT = 0.5
"""In the time since its last fix a driver may have gone the wrong way: on average it costs half that time."""
SHIFT_WEIGHT = 2.0
"""A minute of work after the shift's end: the driver was promised to be home."""
TOLD_MIN = 10 * LATE_WEIGHT
"""What it costs to change a driver's mind: done only where it saves ten minutes of lateness. At a tenth of it drivers
were whipped about (saturday-rush: 85 reassigned for 9) and nothing was better."""
MS_PER_MINUTE = 60_000


class Terms(Struct, frozen=True):
    """The parts of a cost, minutes. `drive`, `walk` and `wait` are those of the order itself until it is delivered."""

    drive: float
    walk: float
    wait: float
    detour: float
    work: float
    lateness: float
    shift_end: float
    fix_age: float

    def as_mapping(self) -> dict[str, float]:
        """The terms by name, rounded to hundredths of a minute; `cost` is the sum of exactly these numbers."""
        return {name: round(getattr(self, name), 2) for name in self.__struct_fields__}


def terms_of(
    driver: Driver,
    order: Order,
    before: Sequence[Visit],
    after: Sequence[Visit],
    orders: Mapping[str, Order],
    at_ms: int,
) -> Terms:
    """Compares a driver's visits without and with the order.

    `detour` is what the order adds to the ETAs of the others on board; `work` is the driver's own time it takes, so
    that joining a trip is cheaper than making one; `lateness` is the past-due minutes it makes, its own and theirs.
    """
    own = _until_delivered(after, order.id)
    eta_before = {visit.stop.order_id: visit.eta_ms for visit in before if visit.stop.kind == "dropoff"}
    detour_ms = late_ms = 0
    for visit in after:
        if visit.stop.kind == "dropoff":
            due_ms = orders[visit.stop.order_id].due_ms if visit.stop.order_id != order.id else order.due_ms
            was_ms = eta_before.get(visit.stop.order_id)
            late_ms += max(0, visit.eta_ms - due_ms) - (max(0, was_ms - due_ms) if was_ms is not None else 0)
            detour_ms += visit.eta_ms - was_ms if was_ms is not None else 0
    over_ms = max(0, after[-1].depart_ms - driver.shift_end_ms) if driver.shift_end_ms is not None else 0
    work_ms = after[-1].depart_ms - (before[-1].depart_ms if before else _begin_ms(after))
    age_ms = max(0, at_ms - driver.ping.fix_ms) if driver.ping else 0
    return Terms(
        sum(visit.drive_ms for visit in own) / MS_PER_MINUTE,
        sum(visit.walk_ms for visit in own) / MS_PER_MINUTE,
        sum(visit.wait_ms for visit in own) / MS_PER_MINUTE,
        DETOUR_WEIGHT * detour_ms / MS_PER_MINUTE,
        DRIVER_WEIGHT * work_ms / MS_PER_MINUTE,
        LATE_WEIGHT * late_ms / MS_PER_MINUTE,
        SHIFT_WEIGHT * over_ms / MS_PER_MINUTE,
        FIX_AGE_WEIGHT * age_ms / MS_PER_MINUTE,
    )


def _begin_ms(visits: Sequence[Visit]) -> int:
    """When the driver sets off for the first of its visits; parking, if any, counts as having arrived."""
    return visits[0].arrive_ms - visits[0].drive_ms


def _until_delivered(visits: Sequence[Visit], order_id: str) -> Sequence[Visit]:
    """The visits up to and with the delivery of the order: all of it is time its customer waits."""
    for number, visit in enumerate(visits):
        if visit.stop.order_id == order_id and visit.stop.kind == "dropoff":
            return visits[: number + 1]
    return visits
