"""The numbers the engine runs by, with their reasons; read once, carried in fixtures, never looked up elsewhere.

It must not know where they came from (file, environment or header).
"""

from typing import Annotated

from msgspec import Meta, Struct

Ms = Annotated[int, Meta(ge=0, le=10_000_000_000)]
"""A duration, at most some 115 days."""
TickMs = Annotated[int, Meta(ge=100, le=600_000)]
Metres = Annotated[float, Meta(ge=1, le=100_000)]
Mps = Annotated[float, Meta(ge=0.1, le=1_000)]
Times = Annotated[int, Meta(ge=1, le=1_000)]


class PingRules(Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a well-formed ping acceptable and believable.

    Source: traccar's FilterHandler for the list of filters. 60 m/s is beyond any road; a day is the longest a phone may
    have been offline; 30 s of a phone's clock running ahead is common without a network.
    """

    future_ms: Ms = 30_000
    too_old_ms: Ms = 24 * 3_600_000
    max_speed_mps: Mps = 60.0
    jump_allowance_m: Metres = 150.0
    """Distance GPS noise may add to an honest move between two fixes."""
    jumps_before_trust: Times = 3
    """After this many jumps in a row that agree with each other, the last good fix was the wrong one."""
    max_accuracy_m: Metres = 500.0
    """A fix vaguer than this does not move the marker."""


class FenceRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Debounce of enter, leave and dwell. GPS indoors wanders by tens of metres, so one fix proves nothing."""

    confirm_fixes: Times = 2
    max_accuracy_m: Metres = 60.0
    """A vaguer fix does not take part in enter and leave."""
    dwell_ms: Ms = 120_000
    approach_m: Metres = 800.0
    point_radius_m: Metres = 45.0
    """Radius of an entrance or curbside fence given as a point."""


class TravelRules(Struct, frozen=True, forbid_unknown_fields=True):
    """First travel-time model: straight-line metres x circuity over the speed of the distance class.

    Source: circuity 1.2-1.4 in US grids (Boeing 2019, doi:10.1007/s41109-019-0189-1); speeds are posted
    speeds of locals, collectors, arterials and freeways less signals.
    """

    circuity: Annotated[float, Meta(ge=1, le=5)] = 1.3
    local_mps: Mps = 6.5
    collector_mps: Mps = 9.0
    arterial_mps: Mps = 11.5
    freeway_mps: Mps = 17.0
    walk_mps: Mps = 1.3
    park_ms: Ms = 75_000
    pickup_ms: Ms = 60_000
    dropoff_ms: Ms = 150_000


class RiskRules(Struct, frozen=True, forbid_unknown_fields=True):
    """When an order is at risk: slack below `at_risk_ms` (or below what an unassigned order still needs)."""

    at_risk_ms: Ms = 10 * 60_000
    unassigned_search_ms: Ms = 5 * 60_000
    """Time allowed for finding a driver in the ETA of an order nobody has."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All of the engine's settings."""

    pings: PingRules = PingRules()
    fences: FenceRules = FenceRules()
    travel: TravelRules = TravelRules()
    risk: RiskRules = RiskRules()
    tick_ms: TickMs = 5_000
    silent_ms: Ms = 120_000
    """On duty without a believed ping for this long: the driver is silent."""
    keys_kept_ms: Ms = 48 * 3_600_000
    history_kept_ms: Ms = 36 * 3_600_000
    """Ended orders leave memory (not the journal) after this."""
