"""Planning problems: small ones by hand, and any at all for hypothesis."""

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

from streamer.dispatch.problem import NOWHERE, PlanDriver, PlanOrder, PlanSettings, Problem, Service

MINUTE = 60_000
SERVICE = Service(4 * MINUTE, 4 * MINUTE)
SHIFT = 600 * MINUTE


def on_a_line(
    places_min: Sequence[float],
    orders: Sequence[PlanOrder],
    drivers: Sequence[PlanDriver],
    expected: Sequence[PlanOrder] = (),
    **settings: float,
) -> Problem:
    """Places by their minute on a street; a leg is the minutes between, rounded up."""
    at = np.array(places_min, dtype=np.float64)
    legs = np.ceil(np.abs(at[:, None] - at[None])).astype(np.int64) * MINUTE
    chosen = PlanSettings(**{"effort": 50, **settings})  # type: ignore[arg-type]
    return Problem(0, tuple(orders), tuple(drivers), legs, SERVICE, chosen, tuple(expected))


def an_order(name: str, pickups: tuple[int, ...] | int, dropoff: int, ready_min: int = 20, **more: object) -> PlanOrder:
    """Ready in 20 minutes, due in 90; measured against being ready, for want of a table of legs."""
    stores = (pickups,) if isinstance(pickups, int) else pickups
    defaults: Mapping[str, object] = {"due_ms": 90 * MINUTE, "earliest_ms": ready_min * MINUTE}
    return PlanOrder(name, stores, dropoff, ready_min * MINUTE, **{**defaults, **more})  # type: ignore[arg-type]


def a_driver(name: str, place: int, free_min: int = 0, **more: int) -> PlanDriver:
    """Five orders a trip, a long shift."""
    defaults = {"off_ms": SHIFT, "capacity": 5}
    return PlanDriver(name, place, free_min * MINUTE, **{**defaults, **more})


@st.composite
def any_problems(draw: st.DrawFn) -> Problem:
    """A floor of up to ten orders and five drivers, with everything that may be true of them."""
    stores, doors, starts = draw(st.integers(1, 4)), draw(st.integers(1, 10)), draw(st.integers(0, 5))
    places = stores + doors + starts
    street = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=places, max_size=places))
    xy = np.array(street, dtype=np.float64)
    legs = np.ceil(np.linalg.norm(xy[:, None] - xy[None], axis=2) * 0.7).astype(np.int64) * MINUTE
    if draw(st.booleans()):  # One-way streets and tables that are no metric.
        legs += np.array(draw(st.lists(st.integers(0, 3), min_size=places, max_size=places)))[None] * MINUTE
    at_ms = draw(st.sampled_from([0, 1_760_000_000_000]))
    drivers: list[PlanDriver] = []
    for number in range(starts):
        heading = draw(st.sampled_from([NOWHERE, NOWHERE, *range(stores)]))
        off_ms = at_ms + draw(st.integers(-10, 90)) * MINUTE
        drivers.append(
            PlanDriver(
                f"d{number}", stores + doors + number, at_ms + draw(st.integers(-3, 20)) * MINUTE, off_ms,
                draw(st.integers(0, 4)), heading, draw(st.sampled_from([2**53, off_ms + 15 * MINUTE])),
                draw(st.sampled_from([0, 0, 90_000])),
            )
        )  # fmt: skip
    names = [driver.id for driver in drivers]
    orders: list[PlanOrder] = []
    for number in range(doors):
        pickups = tuple(draw(st.lists(st.integers(0, stores - 1), min_size=1, max_size=3, unique=True)))
        ready_ms = at_ms + draw(st.integers(-10, 45)) * MINUTE
        to = st.sampled_from([None, None, *names])
        orders.append(
            PlanOrder(
                f"o{number}", pickups, stores + number, ready_ms, ready_ms + draw(st.integers(0, 60)) * MINUTE,
                ready_ms + 4 * MINUTE + int(legs[pickups[-1], stores + number]), draw(st.sampled_from([1.0, 1.0, 2.5])),
                draw(to), draw(st.sampled_from([None, None, None, *names])),
                frozenset(draw(st.lists(st.sampled_from(names), max_size=2))) if names else frozenset(),
            )
        )  # fmt: skip
    ahead = draw(st.integers(0, doors))
    settings = PlanSettings(
        multi_pickup_ms=draw(st.sampled_from([0, 3 * MINUTE])), effort=draw(st.integers(0, 40)),
        trips_ahead=draw(st.integers(1, 3)), drivers_tried=draw(st.integers(1, 10)),
        trip_ms=draw(st.sampled_from([0, 3 * MINUTE])), mates_tried=draw(st.sampled_from([0, 10])),
    )  # fmt: skip
    expected = tuple(
        PlanOrder(f"expected {n}", o.pickups, o.dropoff, o.ready_ms + 5 * MINUTE, o.due_ms, o.earliest_ms, 0.25)
        for n, o in enumerate(orders[:ahead])
    )
    return Problem(at_ms, tuple(orders), tuple(drivers), legs, SERVICE, settings, expected)
