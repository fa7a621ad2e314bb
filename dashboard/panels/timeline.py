"""What happened to an order, newest first, with who did it and why.

It must not know how the events were found.
"""

from collections.abc import Mapping, Sequence

from dash import html
from dash.development.base_component import Component

from dashboard import formats
from dashboard.panels.pieces import note, section
from streamer.core.state import HistoryItem

ACTION_WORDS = {
    "place": "placed",
    "assign": "assigned",
    "reassign": "reassigned",
    "unassign": "taken off its driver",
    "hold": "put on hold",
    "release": "released",
    "pin": "pinned",
    "ready": "store is ready",
    "cancel": "cancelled",
    "hand_over": "handed over",
    "undo": "undone",
    "accepted": "accepted",
    "declined": "declined",
    "offer_lapsed": "offer lapsed unanswered",
    "left_mall": "left the mall",
    "arrived_at_pickup": "arrived at the store",
    "arrived_at_dropoff": "arrived at the door",
    "picked_up": "collected",
}


def timeline(items: Sequence[HistoryItem], names: Mapping[str, str], timezone: str, offset_ms: int) -> Component:
    """The events as a list.

    Args:
        names: names of drivers and stores by id; any other actor is shown as it is.
        offset_ms: what turns the floor's time into the recorded one.
    """
    if not items:
        return section("What happened", note("Nothing yet beyond being placed."))
    newest = sorted(items, key=lambda item: item.at_ms, reverse=True)
    return section(
        "What happened", html.Ol([_event(item, names, timezone, offset_ms) for item in newest], className="events")
    )


def _event(item: HistoryItem, names: Mapping[str, str], timezone: str, offset_ms: int) -> Component:
    changed = formats.changes(item.changed, names)
    lines = [
        html.Div(
            [
                html.Strong(formats.words(item.action, ACTION_WORDS)),
                html.Span(f" by {names.get(item.actor, item.actor)}" if item.actor else "", className="dim"),
            ]
        ),
        html.Div(f"“{item.reason}”") if item.reason else None,
        html.Div(changed, className="dim") if changed else None,
    ]
    moment = html.Time(formats.clock(item.at_ms, timezone, offset_ms, seconds=True))
    return html.Li([moment, html.Div([line for line in lines if line is not None])])
