"""Every number the simulated world is made of, with where it comes from; what `mallard calibrate` fits.

It must not know how a number is used. A range is drawn from evenly: of seconds, the second end is left out, as numpy
does. "Assumed" means that nothing public was found; docs/world.md says more, and how far each can be fitted.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MPH = 0.44704
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Mps = Annotated[float, Meta(ge=0.1, le=100)]
Whole = Annotated[int, Meta(ge=0, le=86_400)]
Seconds = tuple[Whole, Whole]
"""Whole numbers of a unit that the name says."""
Range = tuple[Positive, Positive]
HOURS = 24
LISTS = frozenset({"decline", "capacities"})
"""Tuples that are no ranges, even with two entries."""


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """A group of parameters. Its pairs are ranges, and a range that ends before it begins is refused.

    Raises:
        ValueError: a pair falls, or is an empty range of seconds.
    """

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) == 2 and name not in LISTS:
                first, end = value
                # A range of whole numbers leaves its end out, so that one that ends where it begins is empty.
                if end < first or (end == first and isinstance(end, int)):
                    raise ValueError(f"{name} is no range: {first} to {end}")


class RoadRules(Rules, frozen=True):
    """The drawn town's roads. Together they make the circuity; Source: 1.2-1.4 in US grids, Boeing 2019,
    doi:10.1007/s41109-019-0189-1."""

    local_mps: Mps = 25 * MPH
    """Posted speeds of the four classes, as usual in the suburbs of the United States (assumed)."""
    collector_mps: Mps = 35 * MPH
    arterial_mps: Mps = 45 * MPH
    freeway_mps: Mps = 65 * MPH
    lot_mps: Mps = 10 * MPH
    """Off the road, at both ends of a drive."""
    local_missing: Share = 0.18
    """Share of streets left out, so that ways are not all alike (assumed); and of collectors, below."""
    collector_missing: Share = 0.03


class CarRules(Rules, frozen=True):
    """How cars get through traffic."""

    pace: Range = (0.7, 0.92)
    """Each driver's own share of posted speeds, Saturday traffic included (assumed)."""
    traffic_by_hour: Annotated[tuple[Positive, ...], Meta(min_length=HOURS, max_length=HOURS)] = (1.0,) * HOURS
    """By what the pace is multiplied at each local hour; even until it is fitted."""
    speed_up_mps2: Positive = 2.0
    """Everyday acceleration, and braking below (assumed)."""
    brake_mps2: Positive = 2.5
    flow_kept: Share = 0.97
    """Traffic around a car changes slowly: first-order autoregression by the second, standing deviation about 0.14
    with the spread below (assumed)."""
    flow_spread: Share = 0.035
    red_chance: Share = 0.42
    """Chance of a red light, and its seconds: half of a 90 s cycle less what rolls through (assumed)."""
    red_s: Seconds = (8, 46)
    creep_mps: Mps = 1.5


class DriverRules(Rules, frozen=True):
    """What drivers do on foot, at doors, with offers and with their time."""

    walk_mps: Range = (1.1, 1.5)
    """Source: adults walk at 1.2-1.5 m/s in the open, Bohannon 1997, doi:10.1093/ageing/26.1.15; malls are crowded."""
    park_s: Seconds = (25, 80)
    """To park at the mall, to load the car, to be given the bag (assumed; `TravelRules` plans with their means)."""
    load_s: Seconds = (10, 35)
    collect_s: Seconds = (20, 70)
    door_s: Seconds = (50, 190)
    """From the car to the door and back (assumed; the instances of Reyes et al. 2018, "The Meal Delivery Routing
    Problem", allow 240)."""
    nobody_home: Share = 0.012
    accept_first_s: Whole = 4
    """An offer is answered no sooner, and by each driver no later than its own limit, drawn from the range below."""
    accept_last_s: Seconds = (10, 35)
    decline: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=16)] = (0.0, 0.03, 0.1)
    """Chance to decline an offer: each driver has one of these, all equally often (assumed)."""
    rest_s: Seconds = (60, 420)
    """A free driver rests this long, then moves to another place this far from the mall (assumed)."""
    roam_m: Range = (350.0, 2_400.0)
    break_s: Seconds = (480, 900)
    early: Share = 0.84
    """Share of drivers who are there from the start; of them, who leave before the end (assumed)."""
    leaves: Share = 0.12
    rests: Share = 0.15
    """Share of drivers who take a break (assumed)."""
    capacities: Annotated[tuple[Annotated[int, Meta(ge=1, le=64)], ...], Meta(min_length=1)] = (3, 4, 4, 5)
    """Orders a car takes, all equally often; small cars with large bags (assumed)."""

    def __post_init__(self) -> None:
        """As of every group.

        Raises:
            ValueError: a pair falls, or an offer would have to be answered before it may be.
        """
        super().__post_init__()
        if self.accept_last_s[0] <= self.accept_first_s:
            raise ValueError(f"accept_last_s begins at {self.accept_last_s[0]}, not after {self.accept_first_s}")


class StoreRules(Rules, frozen=True):
    """What stores promise, and when goods really are ready (nothing about mall stores is public: assumed)."""

    pick_min: Positive = 11.0
    """A promise: minutes to find and pack the first item, and each further one, and what a rush adds."""
    item_min: Positive = 3.0
    busy_min: Positive = 6.0
    bias: Range = (0.8, 1.35)
    """Each store's own lean: real over promised time; some are ready early, some always late."""
    spread: Positive = 0.28
    """Lognormal spread of one store's real over promised time."""
    biases: dict[str, Positive] = {}
    """The lean of stores it is known of, by id; the others are drawn from `bias`."""


class PhoneRules(Rules, frozen=True):
    """What phones make of where they are, and when they speak. Sky: open, parked, indoors, bad (a flapping phone)."""

    sigma_open_m: Positive = 3.5
    """Spread of the position error on each axis. Source: GPS.gov, phones are within 4.9 m under open sky; indoors and
    under bad sky assumed from the tens of metres that Wi-Fi positioning gives."""
    sigma_parked_m: Positive = 3.0
    sigma_indoors_m: Positive = 17.0
    sigma_bad_m: Positive = 26.0
    tau_open_s: Positive = 45.0
    """How long an error lasts: neighbouring fixes err alike, for satellites and reflections change slowly (assumed)."""
    tau_parked_s: Positive = 180.0
    tau_indoors_s: Positive = 60.0
    tau_bad_s: Positive = 12.0
    missed_open: Share = 0.01
    """Share of fixes the phone does not get at all (assumed)."""
    missed_parked: Share = 0.01
    missed_indoors: Share = 0.45
    missed_bad: Share = 0.05
    accuracy_per_sigma: Positive = 1.9
    """What phones call their accuracy, over the spread on an axis."""
    moving_ms: Annotated[int, Meta(ge=1_000, le=600_000)] = 5_000
    """From ping to ping while moving, and while still."""
    still_ms: Annotated[int, Meta(ge=1_000, le=600_000)] = 15_000
    latency_ms: tuple[Annotated[int, Meta(ge=0, le=60_000)], Annotated[int, Meta(ge=1, le=60_000)]] = (150, 950)
    """From a fix to its arrival; each phone has its own."""


class ShopperRules(Rules, frozen=True):
    """Who orders when, how much, and by when."""

    hourly: Annotated[tuple[Annotated[float, Meta(ge=0, le=1e6)], ...], Meta(min_length=HOURS, max_length=HOURS)] = (
        1, 1, 1, 1, 1, 1, 2, 4, 8, 14, 20, 26, 30, 32, 33, 34, 34, 32, 28, 22, 14, 8, 4, 2,
    )  # fmt: skip
    """Weight of each local hour: a same-day window of noon orders and afternoon shopping (assumed; the press of 2022
    says "order by noon, delivered by 9 pm")."""
    due_min: Seconds = (60, 121)
    """Promise to the shopper: minutes after placing, in steps of `due_step_min`; the end is left out."""
    due_step_min: Annotated[int, Meta(ge=1, le=1_440)] = 15
    two_stores: Share = 0.12
    items_mean: Annotated[float, Meta(ge=0, le=100)] = 1.1
    """Of items beyond the first."""

    def __post_init__(self) -> None:
        """As of every group.

        Raises:
            ValueError: a pair falls, or nobody ever orders.
        """
        super().__post_init__()
        if not sum(self.hourly):
            raise ValueError("hourly is zero at every hour")


class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
    """All of a world's. The usual ones made the recordings in fixtures/."""

    roads: RoadRules = RoadRules()
    cars: CarRules = CarRules()
    drivers: DriverRules = DriverRules()
    stores: StoreRules = StoreRules()
    phones: PhoneRules = PhoneRules()
    shoppers: ShopperRules = ShopperRules()


USUAL = Parameters()


def parameters_of(written: dict[str, object] | None) -> Parameters:
    """Those that a recording names; None are the usual ones.

    Raises:
        msgspec.ValidationError: they are none.
    """
    return USUAL if written is None else msgspec.convert(written, Parameters)
