"""The numbers the engine runs by, with their reasons; read once, carried in fixtures, never looked up elsewhere.

It must not know where they came from (file, environment or header).
"""

from msgspec import Struct


class PingRules(Struct, frozen=True):
    """What makes a well-formed ping acceptable and believable.

    Source: limits of RELIABILITY (skew +30 s / -24 h, 60 m/s); traccar's FilterHandler for the list of filters.
    """

    future_ms: int = 30_000
    too_old_ms: int = 24 * 3_600_000
    max_speed_mps: float = 60.0
    jump_allowance_m: float = 150.0
    """Distance GPS noise may add to an honest move between two fixes."""
    jumps_before_trust: int = 3
    """After this many jumps in a row that agree with each other, the last good fix was the wrong one."""
    max_accuracy_m: float = 500.0
    """A fix vaguer than this does not move the marker."""


class FenceRules(Struct, frozen=True):
    """Debounce of enter, leave and dwell. GPS indoors wanders by tens of metres, so one fix proves nothing."""

    confirm_fixes: int = 2
    max_accuracy_m: float = 60.0
    """A vaguer fix does not take part in enter and leave."""
    dwell_ms: int = 120_000
    approach_m: float = 800.0
    point_radius_m: float = 45.0
    """Radius of an entrance or curbside fence given as a point."""


class TravelRules(Struct, frozen=True):
    """First travel-time model: straight-line metres x circuity over the speed of the distance class.

    Source: circuity 1.2-1.4 in US grids (Boeing 2019, doi:10.1007/s41109-019-0189-1); speeds are posted
    speeds of locals, collectors, arterials and freeways less signals.
    """

    circuity: float = 1.3
    local_mps: float = 6.5
    collector_mps: float = 9.0
    arterial_mps: float = 11.5
    freeway_mps: float = 17.0
    walk_mps: float = 1.3
    park_ms: int = 75_000
    pickup_ms: int = 60_000
    dropoff_ms: int = 150_000


class RiskRules(Struct, frozen=True):
    """When an order is at risk: slack below `at_risk_ms` (or below what an unassigned order still needs)."""

    at_risk_ms: int = 10 * 60_000
    unassigned_search_ms: int = 5 * 60_000
    """Time allowed for finding a driver in the ETA of an order nobody has."""


class Settings(Struct, frozen=True):
    """All of the engine's settings."""

    pings: PingRules = PingRules()
    fences: FenceRules = FenceRules()
    travel: TravelRules = TravelRules()
    risk: RiskRules = RiskRules()
    tick_ms: int = 5_000
    silent_ms: int = 120_000
    """On duty without a believed ping for this long: the driver is silent."""
    keys_kept_ms: int = 48 * 3_600_000
    history_kept_ms: int = 36 * 3_600_000
    """Ended orders leave memory (not the journal) after this."""
