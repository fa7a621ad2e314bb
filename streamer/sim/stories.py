"""The three fixtures' parameters: where, when, how many, and what goes wrong.

It must not know how a story is simulated or stored.
"""

from msgspec import Struct

from streamer.sim.incidents import Act, DriverTrouble, Incidents, StoreLate
from streamer.sim.world import Story

MINUTE_MS = 60_000


class Script(Struct, frozen=True):
    """Everything `simulate` needs for one fixture. `play_ms`: when play begins (UTC epoch); `hours`: from there."""

    name: str
    mall_ids: tuple[str, ...]
    seed: int
    play_ms: int
    hours: float
    drivers: int
    orders: int
    story: Story


def _minutes(*numbers: float) -> tuple[int, ...]:
    return tuple(round(number * MINUTE_MS) for number in numbers)


def _trouble(kind: str, driver: int, first_min: float, last_min: float, loaded: bool = False) -> DriverTrouble:
    first_ms, last_ms = _minutes(first_min, last_min)
    return DriverTrouble(kind, driver, first_ms, last_ms, loaded)  # type: ignore[arg-type]  # literals below


SATURDAY_RUSH = Script(
    name="saturday-rush",
    mall_ids=("fashion-show",),
    seed=20261114,
    play_ms=1_794_693_600_000,  # Saturday 2026-11-14 14:00 in Las Vegas (UTC-8) = 22:00 UTC
    hours=2.0,
    drivers=88,
    orders=680,
    story=Story(
        sentence="A Saturday afternoon rush at Fashion Show, Las Vegas: orders come faster than drivers are free, "
        "trips fill up, a store falls behind, a few orders run late.",
        warmup_ms=25 * MINUTE_MS,
        incidents=Incidents(
            stores=(StoreLate("fs-neiman-marcus", *_minutes(35, 60, 15)),),
            drivers=(
                _trouble("silent", 17, 26, 37),
                _trouble("declining", 40, 0, 90),
                _trouble("jumps", 55, 40, 52),
                _trouble("duplicates", 61, 0, 120),
                _trouble("late_batch", 70, 64, 71),
            ),
        ),
        acts=(
            Act(3 * MINUTE_MS, "maya", "hold", "newest", "shopper asked us to wait for her call"),
            Act(9 * MINUTE_MS, "maya", "release", "held", "she called: all fine"),
            Act(14 * MINUTE_MS, "maya", "pin", "tightest", "promised by phone, keep this driver"),
            Act(33 * MINUTE_MS, "jordan", "reassign", "tightest", "another driver is already at the mall"),
            Act(47 * MINUTE_MS, "maya", "unassign", "waiting", "store not ready, driver is needed elsewhere"),
            Act(58 * MINUTE_MS, "jordan", "cancel", "newest", "shopper cancelled by chat"),
            Act(76 * MINUTE_MS, "jordan", "reassign", "tightest", "a nearer driver just came free"),
            Act(95 * MINUTE_MS, "maya", "hold", "newest", "address being checked"),
        ),
    ),
)

TWO_MALLS = Script(
    name="two-malls",
    mall_ids=("tysons-corner-center", "baybrook"),
    seed=20261017,
    play_ms=1_792_263_600_000,  # Saturday 2026-10-17 15:00 at Tysons (UTC-4), 14:00 at Baybrook (UTC-5) = 19:00 UTC
    hours=1.0,
    drivers=54,
    orders=170,
    story=Story(
        sentence="One desk, two malls in two time zones: at Tysons Corner Center it is three in the afternoon, "
        "at Baybrook two.",
        warmup_ms=25 * MINUTE_MS,
        acts=(
            Act(6 * MINUTE_MS, "sam", "hold", "newest", "gate code missing"),
            Act(12 * MINUTE_MS, "sam", "release", "held", "gate code received"),
            Act(25 * MINUTE_MS, "priya", "pin", "tightest", "gift for a party, keep this driver"),
        ),
    ),
)

BAD_DAY = Script(
    name="bad-day",
    mall_ids=("chandler-fashion-center",),
    seed=20261121,
    play_ms=1_795_298_400_000,  # Saturday 2026-11-21 15:00 at Chandler (UTC-7, no daylight saving) = 22:00 UTC
    hours=1.0,
    drivers=42,
    orders=190,
    story=Story(
        sentence="Everything at once at Chandler Fashion Center: a store an hour late, silent drivers, GPS jumps and "
        "flapping at the mall's fence, a driver who declines all, duplicate pings and late batches.",
        warmup_ms=25 * MINUTE_MS,
        incidents=Incidents(
            stores=(StoreLate("cf-apple", *_minutes(-25, 60, 60)),),
            drivers=(
                _trouble("silent", 3, 6, 24, loaded=True),
                _trouble("silent", 8, 15, 80, loaded=True),
                _trouble("silent", 12, 28, 36, loaded=True),
                _trouble("jumps", 5, 4, 50),
                _trouble("jumps", 21, 20, 40),
                _trouble("flapping", 10, -25, 45),
                _trouble("flapping", 27, -25, 58),
                _trouble("declining", 14, -25, 60),
                _trouble("duplicates", 16, 2, 60),
                _trouble("duplicates", 19, 10, 60),
                _trouble("late_batch", 23, 5, 15),
                _trouble("late_batch", 23, 25, 40),
                _trouble("late_batch", 30, 12, 27),
            ),
        ),
        acts=(
            Act(13 * MINUTE_MS, "maya", "hand_over", "silent", "no signal, phone off?"),
            Act(18 * MINUTE_MS, "maya", "unassign", "waiting", "Apple says an hour, driver is needed elsewhere"),
            Act(19 * MINUTE_MS, "maya", "hold", "newest", "waiting for word from the store"),
            Act(26 * MINUTE_MS, "jordan", "unassign", "waiting", "Apple still not ready"),
            Act(34 * MINUTE_MS, "jordan", "reassign", "tightest", "nearer driver"),
            Act(41 * MINUTE_MS, "jordan", "release", "held", "store has called back"),
        ),
    ),
)

STORIES = {script.name: script for script in (SATURDAY_RUSH, TWO_MALLS, BAD_DAY)}
