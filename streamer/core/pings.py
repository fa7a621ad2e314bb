"""Whether a ping is new, acceptable and believable, judged in that order.

It must not know hexes, fences or orders, and it reads no clock: `at_ms` is given, `fix_ms` only judges lateness.
"""

from collections.abc import Callable
from math import cos, radians

from streamer.core.events import Ping, Refused, Verdict
from streamer.core.geo import METRES_PER_DEG
from streamer.core.settings import PingRules
from streamer.core.state import Driver

RADIANS = radians(1)
GAPS_KEPT = 256
"""Gaps remembered of one driver: a phone that is said no to now and then leaves one each time."""
FROM_ONE = ((0, 0),)
"""The gap of every phone that counts from one; they share it."""
RECENT_KEPT = 32
SPEED_FLOOR_S = 0.5
"""Two fixes closer in time than this are judged as this far apart: phones stamp whole seconds."""


def usual(rules: PingRules) -> Callable[[Driver, Ping, int], bool]:
    """A test for the usual ping, given (driver, ping, at_ms): the next in order, in time, and near the last one.

    Such a ping is no duplicate, is not refused, and is judged `ok`; nearly all are, and the test costs a fifth of these
    three steps. Of a ping that fails it nothing is known yet.
    """
    future_ms, too_old_ms, max_accuracy_m = rules.future_ms, rules.too_old_ms, rules.max_accuracy_m
    # What is reachable in any time, less a trifle for the rounding that `is_reachable` does and this does not. Taking
    # degrees of longitude for as long as those of latitude errs on the side of saying no.
    near_deg = 0.999 * (rules.max_speed_mps * SPEED_FLOOR_S + rules.jump_allowance_m) / METRES_PER_DEG
    near = near_deg * near_deg

    def is_usual(driver: Driver, ping: Ping, at_ms: int) -> bool:
        last, fix_ms, accuracy_m = driver.ping, ping.fix_ms, ping.accuracy_m
        if (
            last is None or ping.seq != driver.last_seq + 1 or driver.duty != "on_duty" or fix_ms < last.fix_ms
            or not at_ms - too_old_ms <= fix_ms <= at_ms + future_ms
            or (accuracy_m is not None and accuracy_m > max_accuracy_m)
        ):  # fmt: skip
            return False
        north, east = ping.lat - last.lat, ping.lng - last.lng
        return north * north + east * east <= near

    return is_usual


def is_duplicate(driver: Driver, ping: Ping) -> bool:
    """Whether this very ping was taken before: by `seq`, or by (fix_ms, lat, lng) when it has none."""
    seq = ping.seq
    if seq is None:
        return (ping.fix_ms, ping.lat, ping.lng) in driver.recent
    known = driver.forgotten_seq < seq <= driver.last_seq
    return known and not any(low <= seq <= high for low, high in driver.gaps)


def refusal(driver: Driver, ping: Ping, at_ms: int, rules: PingRules) -> Refused | None:
    """Why the sender must not expect this ping to be kept, or None."""
    if driver.duty != "on_duty":
        return Refused("off_duty", f"driver {driver.id} is {driver.duty.replace('_', ' ')}; its pings are not stored")
    if ping.seq is not None and ping.seq <= driver.forgotten_seq:
        # It may be here and it may not: to acknowledge it would be a guess.
        return Refused("too_old", f"seq {ping.seq} is further back than is remembered of what has come")
    if ping.fix_ms > at_ms + rules.future_ms:
        return Refused("future", f"fix_ms {ping.fix_ms} is {(ping.fix_ms - at_ms) / 1000:.0f} s ahead of the floor")
    if ping.fix_ms < at_ms - rules.too_old_ms:
        return Refused("too_old", f"fix_ms {ping.fix_ms} is {(at_ms - ping.fix_ms) / 3_600_000:.0f} h old")
    return None


def note_identity(driver: Driver, ping: Ping) -> None:
    """Remembers the ping, so that its repeat is known. The weak spot: a gap older than `GAPS_KEPT` gaps is forgotten,
    and a ping from so far back is refused, whether or not it is a repeat.
    """
    seq = ping.seq
    if seq is None:
        driver.recent = (*driver.recent, (ping.fix_ms, ping.lat, ping.lng))[-RECENT_KEPT:]
    elif seq == driver.last_seq + 1:
        driver.last_seq = seq
    elif seq > driver.last_seq:
        gaps = (*driver.gaps, (driver.last_seq + 1, seq - 1))
        driver.gaps = FROM_ONE if gaps == FROM_ONE else gaps
        _forget_gaps(driver)
        driver.last_seq = seq
    else:
        driver.gaps = tuple(part for gap in driver.gaps for part in _without(gap, seq))
        _forget_gaps(driver)


def _forget_gaps(driver: Driver) -> None:
    if len(driver.gaps) > GAPS_KEPT:
        driver.forgotten_seq = driver.gaps[-GAPS_KEPT - 1][1]
        driver.gaps = driver.gaps[-GAPS_KEPT:]


def _without(gap: tuple[int, int], seq: int) -> list[tuple[int, int]]:
    low, high = gap
    if not low <= seq <= high:
        return [gap]
    return [part for part in ((low, seq - 1), (seq + 1, high)) if part[0] <= part[1]]


def judge(driver: Driver, ping: Ping, rules: PingRules) -> Verdict:
    """Whether the ping may move the marker.

    `late`: its fix is older than the one shown. `inaccurate`: vaguer than `max_accuracy_m`. `jump`: further than the
    fastest believable driver gets, noise allowed for; a run of jumps that agree with each other is believed at last,
    since then the last good fix was the wrong one. Source: traccar's FilterHandler.
    """
    last = driver.ping
    if ping.accuracy_m is not None and ping.accuracy_m > rules.max_accuracy_m:
        return "inaccurate"
    if last is None:
        return "ok"
    if ping.fix_ms < last.fix_ms:
        return "late"
    if is_reachable(last, ping, rules):
        driver.jumps = ()
        return "ok"
    if driver.jumps and not is_reachable(driver.jumps[-1], ping, rules):
        driver.jumps = ()
    driver.jumps = (*driver.jumps, ping)
    if len(driver.jumps) < rules.jumps_before_trust:
        return "jump"
    driver.jumps = ()
    return "ok"


def is_reachable(last: Ping, ping: Ping, rules: PingRules) -> bool:
    """Whether a driver can have come from `last` to `ping` in the time between their fixes."""
    lat = last.lat
    north = ping.lat - lat
    east = ((ping.lng - last.lng + 180.0) % 360.0 - 180.0) * cos(lat * RADIANS)
    seconds = (ping.fix_ms - last.fix_ms) / 1000
    limit_m = rules.max_speed_mps * (seconds if seconds > SPEED_FLOOR_S else SPEED_FLOOR_S) + rules.jump_allowance_m
    limit_deg = limit_m / METRES_PER_DEG
    return north * north + east * east <= limit_deg * limit_deg
