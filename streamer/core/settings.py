"""The numbers the engine runs by, with their reasons; read once, carried in fixtures, never looked up elsewhere.

It must not know where they came from (file, environment or header).
"""

from typing import Annotated, Literal

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


AutopilotMode = Literal["off", "suggest", "auto", "auto_with_exceptions"]


class AutopilotRules(Struct, frozen=True, forbid_unknown_fields=True):
    """How the autopilot works at a mall; changed live by a person, by an input like any other."""

    mode: AutopilotMode = "off"
    """`suggest`: people accept. `auto`: it decides. `auto_with_exceptions`: it decides, but what would be late, or far
    dearer than usual, is left to people."""
    look_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 10_000
    """From one look to the next; what need not leave before that is not given out yet."""
    hold_for_batch: bool = True
    """Whether an order may wait for another to share its trip, when nobody is late for it."""
    trip_orders: Annotated[int, Meta(ge=1, le=64)] = 5
    offer_ms: Ms = 0
    """An order the autopilot gives out is an offer that lapses after this; 0: it is given for good."""
    stand_down_ms: Ms = 60_000
    """What a person touched, the autopilot leaves alone this long."""


class LearningRules(Struct, frozen=True, forbid_unknown_fields=True):
    """What the floor learns from itself (docs/learning.md), and how much of it is kept.

    With both switches off ETAs rest on stores' promises and the travel model alone, and have no interval.
    """

    learn: bool = True
    """Whether what happens is learned from."""
    use: bool = True
    """Whether ETAs rest on what was learned; off while `learn` is on: only scores are kept."""
    store_kept: Times = 40
    """Orders a store's habits are remembered by: a week or two of a busy one, so that a new manager shows."""
    drives_kept: Times = 200
    """Drives a mall's pace, and that of an hour or a pair of hexes, is remembered by."""
    pairs_kept: Annotated[int, Meta(ge=0, le=100_000)] = 2_000
    """Pairs of hexes kept for each mall, some 150 bytes each; the one driven longest ago goes first."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All of the engine's settings."""

    pings: PingRules = PingRules()
    fences: FenceRules = FenceRules()
    travel: TravelRules = TravelRules()
    risk: RiskRules = RiskRules()
    autopilot: AutopilotRules = AutopilotRules()
    """Of a mall where nobody has set anything else."""
    learning: LearningRules = LearningRules()
    tick_ms: TickMs = 5_000
    silent_ms: Ms = 120_000
    """On duty without a believed ping for this long: the driver is silent."""
    keys_kept_ms: Ms = 48 * 3_600_000
    history_kept_ms: Ms = 36 * 3_600_000
    """Ended orders leave memory (not the journal) after this."""
