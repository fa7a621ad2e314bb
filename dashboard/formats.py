"""Instants, durations and codes turned into words for people.

It must not know Dash or the link: every function takes plain values and gives a short string.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MINUTE_MS: Final = 60_000

STATUS_WORDS: Final = {
    "placed": "Preparing",
    "ready": "Ready",
    "assigned": "Assigned",
    "enroute_to_pickup": "To store",
    "arrived_at_pickup": "At store",
    "picked_up": "Collected",
    "enroute_to_dropoff": "On the way",
    "arrived_at_dropoff": "At the door",
    "delivered": "Delivered",
    "cancelled": "Cancelled",
    "failed": "Failed",
    "returning": "Returning",
    "returned": "Returned",
}
RISK_WORDS: Final = {"on_time": "On time", "at_risk": "At risk", "late": "Late"}
STATE_WORDS: Final = {
    "off_duty": "Off duty",
    "free": "Free",
    "busy": "Busy",
    "at_store": "At store",
    "on_break": "On break",
    "silent": "Silent",
}
VERDICT_WORDS: Final = {
    "ok": "believed",
    "duplicate": "a repeat",
    "late": "older than one already seen",
    "jump": "not believed: too far from the one before",
    "inaccurate": "not believed: too inaccurate",
}
TERM_WORDS: Final = {
    "drive": "driving",
    "walk": "walking in the mall",
    "wait": "waiting for the store",
    "detour": "delay of orders on board",
    "lateness": "lateness",
    "work": "driver's time",
    "shift_end": "past shift end",
    "fix_age": "age of position",
}
ADVICE_WORDS: Final = {
    "waits": "Waits",
    "planned": "Planned",
    "suggested": "Suggested",
    "failed": "Failed",
    "left_to_people": "Left to people",
}
MODE_WORDS: Final = {
    "off": "Off",
    "suggest": "Suggest",
    "auto": "Auto",
    "auto_with_exceptions": "Auto + exceptions",
}
IMPLIED: Final = {"version", "updated_ms", "status", "assignment", "ready_ms", "is_ready", "held", "pinned"}
"""Fields of an event that its name already tells, or that are of no use to people."""
PROBLEM_WORDS: Final = {
    "version_conflict": "The order changed in the meantime.",
    "bad_transition": "The order has moved on; this can no longer be done.",
    "over_capacity": "The driver's car would be over its capacity.",
    "driver_off_duty": "The driver is off duty.",
    "not_undoable": "Later changes depend on it, so it cannot be undone.",
    "forbidden": "Your role does not allow this.",
    "unknown_driver": "There is no such driver.",
    "pinned": "The order is pinned; release it first.",
    "held": "The order is on hold; release it first.",
    "link_lost": "The floor cannot be reached just now.",
    "timeout": "The floor did not answer in time. Look at the order before you try again.",
}


def minutes(span_ms: int) -> str:
    """A duration in words, rounded to the minute: `0 min`, `12 min`, `1 h 05`; a negative one keeps its sign."""
    total = round(abs(span_ms) / MINUTE_MS)
    sign = "−" if span_ms < 0 and total else ""
    return f"{sign}{total} min" if total < 60 else f"{sign}{total // 60} h {total % 60:02}"


def age(span_ms: int) -> str:
    """How old something is: `4 s` below two minutes, then `3 min`, then `2 h 10`; the future counts as now."""
    seconds = max(0, span_ms) // 1000
    return f"{seconds} s" if seconds < 120 else minutes(seconds // 60 * MINUTE_MS)


def clock(at_ms: int | None, timezone: str, offset_ms: int = 0, *, seconds: bool = False) -> str:
    """An instant on the wall clock of `timezone`; `offset_ms` turns a replay's time into the recorded one.

    An unknown instant is `–`; a time zone this machine does not know is shown as UTC, and says so.
    """
    if at_ms is None:
        return "–"
    try:
        zone: ZoneInfo | None = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = None
    moment = datetime.fromtimestamp((at_ms + offset_ms) / 1000, UTC).astimezone(zone or UTC)
    return moment.strftime("%H:%M:%S" if seconds else "%H:%M") + ("" if zone else " UTC")


def between(low_ms: int | None, high_ms: int | None, timezone: str, offset_ms: int = 0) -> str:
    """Where four of five deliveries come between: `between 14:28 and 14:39`; empty while nobody can say."""
    if low_ms is None or high_ms is None:
        return ""
    return f"between {clock(low_ms, timezone, offset_ms)} and {clock(high_ms, timezone, offset_ms)}"


def left(until_ms: int, now_ms: int) -> str:
    """What is left until an instant: `3 min left`, `40 s left` below two minutes, `lapsed` when it has passed."""
    return "lapsed" if until_ms <= now_ms else f"{age(until_ms - now_ms)} left"


def promise(due_ms: int, eta_ms: int | None) -> str:
    """An ETA held against the promise: `6 min to spare`, `on the minute`, `late by 4 min`, `no ETA yet`."""
    if eta_ms is None:
        return "no ETA yet"
    slack = round((due_ms - eta_ms) / MINUTE_MS)
    if slack == 0:
        return "on the minute"
    return f"{minutes(slack * MINUTE_MS)} to spare" if slack > 0 else f"late by {minutes(-slack * MINUTE_MS)}"


def shift(before_ms: int | None, after_ms: int | None) -> str:
    """How an ETA moves: `+2 min`, `−5 min`, `no change`; `new ETA` or `no ETA` when one side is unknown."""
    if after_ms is None:
        return "no ETA"
    if before_ms is None:
        return "new ETA"
    moved = round((after_ms - before_ms) / MINUTE_MS)
    return "no change" if moved == 0 else f"{moved:+d} min".replace("-", "−")


def lateness(before_ms: int | None, after_ms: int | None) -> str:
    """What a change does to lateness: `now late by 4 min`, `late by 6 min (was 9 min)`, `no longer late`, `on time`."""
    before, after = (max(0, round((value or 0) / MINUTE_MS)) for value in (before_ms, after_ms))
    if after == 0:
        return "no longer late" if before else "on time"
    if before == 0:
        return f"now late by {after} min"
    return f"late by {after} min" + (f" (was {before} min)" if before != after else "")


def masked_phone(phone: str) -> str:
    """A phone number with all but its last two digits hidden; shorter than four digits shows nothing."""
    digits = [sign for sign in phone if sign.isdigit()]
    return f"••• ••• ••{''.join(digits[-2:])}" if len(digits) >= 4 else ""


def words(code: str, table: Mapping[str, str] | None = None) -> str:
    """A code as words: from `table` if it is there, else the code with its underscores opened."""
    return (table or {}).get(code) or code.replace("_", " ").strip()


def sentence(text: str) -> str:
    """The text with one full stop at its end, also when it ends in a name like `Ana R.`."""
    return f"{text.rstrip('.')}." if text else ""


def count(number: int, noun: str) -> str:
    """`1 order`, `2 orders`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def changes(changed: Mapping[str, str], names: Mapping[str, str]) -> str:
    """What an event changed beyond what its name says, as one line: `driver: Ana R. · position: 2`.

    Args:
        names: names by driver id; a driver that is not there is shown by its id.
    """
    shown = {field: value for field, value in changed.items() if field not in IMPLIED}
    return " · ".join(
        f"{words(field.removesuffix('_id'))}: {names.get(value, value) or 'none'}" for field, value in shown.items()
    )
