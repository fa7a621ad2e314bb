"""Both worlds of a fork side by side: figures with their difference, the lateness of each order, where they part.

It must not know how either world came about.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats
from dashboard.panels.pieces import chip, note, select_link
from streamer.core.kpis import Kpis

MOST_ORDERS: Final = 60
SAME_MS: Final = 30_000
"""Below half a minute two latenesses are told as one."""
TICK_MS: Final = 1_000
"""A fork lives by the second: before its first, even the decision it began with has not come to anything."""


class Lateness(Struct, frozen=True):
    """How late an order is in both worlds, in milliseconds; below 0: early; None: neither delivered nor expected."""

    order_id: str
    recorded_late_ms: int | None = None
    forked_late_ms: int | None = None
    recorded_driver_id: str | None = None
    forked_driver_id: str | None = None

    @property
    def was_with_another(self) -> bool:
        """Whether the recorded world has it with another driver."""
        return self.recorded_driver_id is not None and self.recorded_driver_id != self.forked_driver_id


class Difference(Struct, frozen=True):
    """The first decision in which the worlds differ."""

    at_ms: int
    what: str


class Comparison(Struct, frozen=True):
    """The streamer's answer to `comparison`."""

    complete: bool
    at_ms: int
    recorded: Kpis
    forked: Kpis
    orders: tuple[Lateness, ...] = ()
    first_difference: Difference | None = None
    forked_at_ms: int | None = None


class Row(Struct, frozen=True):
    """A figure to compare: which way is better, and how it is written and its difference."""

    field: str
    label: str
    better: Literal["more", "less", ""]
    write: Callable[[float], str]
    differ: Callable[[float], str]


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _twofold(value: float) -> str:
    return f"{value:.2f}"


def _minutes(value: float) -> str:
    return f"{value / formats.MINUTE_MS:.1f} min"


def _more(value: float) -> str:
    return _signed(f"{value:+.0f}")


def _points(value: float) -> str:
    return _signed(f"{value * 100:+.1f} pt")


def _twofold_more(value: float) -> str:
    return _signed(f"{value:+.2f}")


def _minutes_more(value: float) -> str:
    return _signed(f"{value / formats.MINUTE_MS:+.1f} min")


def _signed(text: str) -> str:
    return text.replace("-", "−")


ROWS: Final = (
    Row("delivered", "Delivered", "more", _whole, _more),
    Row("on_time", "On time", "more", _share, _points),
    Row("late", "Late now", "less", _whole, _more),
    Row("at_risk", "At risk", "less", _whole, _more),
    Row("open", "Open", "less", _whole, _more),
    Row("unassigned", "Unassigned", "less", _whole, _more),
    Row("free", "Drivers free", "", _whole, _more),
    Row("orders_per_trip", "Orders / trip", "more", _twofold, _twofold_more),
    Row("click_to_door_ms", "Click to door", "less", _minutes, _minutes_more),
    Row("wait_at_store_ms", "Wait at store", "less", _minutes, _minutes_more),
)


def compare_panel(comparison: Comparison, timezone: str, offset_ms: int) -> Component:
    """The panel. Times are those of `timezone`; `offset_ms` turns the floor's time into the recorded one."""
    worlds = [_figures(comparison.recorded, comparison.forked), _orders(comparison.orders)]
    return html.Div([_lead(comparison, timezone, offset_ms), html.Div(worlds, className="worlds")])


def _lead(comparison: Comparison, timezone: str, offset_ms: int) -> Component:
    at = formats.clock(comparison.at_ms, timezone, offset_ms, seconds=True)
    so_far = "Both worlds have reached their end" if comparison.complete else f"Both worlds at {at}, still running"
    parted = html.Strong(_parted(comparison, timezone, offset_ms))
    return html.Header([html.H2("Recorded and forked"), chip(so_far, "quiet"), parted])


def _parted(comparison: Comparison, timezone: str, offset_ms: int) -> str:
    first = comparison.first_difference
    if first is not None:
        return f"First difference {formats.clock(first.at_ms, timezone, offset_ms, seconds=True)}: {first.what}"
    if comparison.forked_at_ms is not None and comparison.at_ms - comparison.forked_at_ms < TICK_MS:
        return "The worlds have just parted; nothing differs yet."
    return "No decision differs so far."


def _figures(recorded: Kpis, forked: Kpis) -> Component:
    return _table("", [_figure(row, recorded, forked) for row in ROWS])


def _table(first: str, rows: Sequence[Component]) -> Component:
    head = html.Tr([html.Th(name) for name in (first, "Recorded", "Fork", "Difference")])
    return html.Table([html.Thead(head), html.Tbody(rows)], className="effects")


def _figure(row: Row, recorded: Kpis, forked: Kpis) -> Component:
    before, after = getattr(recorded, row.field, None), getattr(forked, row.field, None)
    words, tone = "–", "dim"
    if before is not None and after is not None:
        words, tone = row.differ(after - before), _tone(row, after - before)
        if not any(digit in words for digit in "123456789"):  # the same, to what is shown of it
            words, tone = "same", "dim"
    shown = [row.write(value) if value is not None else "–" for value in (before, after)]
    return html.Tr([html.Th(row.label), html.Td(shown[0]), html.Td(shown[1]), html.Td(words, className=tone)])


def _tone(row: Row, change: float) -> str:
    if not change or not row.better:
        return "dim"
    return "better" if (change > 0) == (row.better == "more") else "late"


def _orders(orders: Sequence[Lateness]) -> Component:
    listed = [one for one in orders if _apart(one) or one.was_with_another]
    moved = sorted(listed, key=lambda one: (not _apart(one), -abs(_shift(one)), one.order_id))
    if not moved:
        return note("Every order arrives as it did in the recording, to the half minute, and with the same driver.")
    rows = [
        html.Tr(
            [
                html.Th([select_link("order", one.order_id, one.order_id), *_hands(one)]),
                html.Td(_late(one.recorded_late_ms)),
                html.Td(_late(one.forked_late_ms)),
                html.Td(_moved(one), className=_order_tone(one)),
            ]
        )
        for one in moved[:MOST_ORDERS]
    ]
    rest = f"{len(moved) - MOST_ORDERS} more orders differ less." if len(moved) > MOST_ORDERS else ""
    lead = (
        f"{formats.count(sum(map(_apart, orders)), 'order')} of {len(orders)} arrive at another time · "
        f"{sum(one.was_with_another for one in orders)} with another driver"
    )
    return html.Div([html.H3(lead), _table("Order", rows), note(rest) if rest else None])


def _hands(one: Lateness) -> list[Component]:
    """The mark of an order that the recorded world has with another driver."""
    if not one.was_with_another or one.recorded_driver_id is None:
        return []
    recorded = select_link("driver", one.recorded_driver_id, one.recorded_driver_id)
    forked = one.forked_driver_id
    here = [", here ", select_link("driver", forked, forked)] if forked else [", here nobody"]
    return [html.Small(["recorded with ", recorded, *here], className="other-hands")]


def _apart(one: Lateness) -> bool:
    if one.recorded_late_ms is None or one.forked_late_ms is None:
        return one.recorded_late_ms is not one.forked_late_ms
    return abs(_shift(one)) >= SAME_MS


def _shift(one: Lateness) -> int:
    if one.recorded_late_ms is None or one.forked_late_ms is None:
        return 1_000 * formats.MINUTE_MS  # one that arrives in one world only comes first
    return one.forked_late_ms - one.recorded_late_ms


def _late(late_ms: int | None) -> str:
    if late_ms is None:
        return "not delivered"
    if abs(late_ms) < SAME_MS:
        return "on the minute"
    return f"late by {formats.minutes(late_ms)}" if late_ms > 0 else f"{formats.minutes(-late_ms)} early"


def _moved(one: Lateness) -> str:
    if not _apart(one):
        return "same"
    if one.recorded_late_ms is None:
        return "only in the fork"
    if one.forked_late_ms is None:
        return "only in the recording"
    minutes = formats.minutes(abs(_shift(one)))
    return f"{minutes} later" if _shift(one) > 0 else f"{minutes} sooner"


def _order_tone(one: Lateness) -> str:
    if not _apart(one):
        return "dim"
    if one.forked_late_ms is None:
        return "late"
    return "late" if one.recorded_late_ms is not None and _shift(one) > 0 else "better"
