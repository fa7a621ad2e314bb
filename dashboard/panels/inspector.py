"""The right pane: a frame for whatever is selected, and the words when nothing is.

It must not know orders, drivers or malls; their panels are put into it by callbacks.
"""

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard import ids
from dashboard.panels.pieces import attributes, note
from dashboard.panels.transport import order_moves


def inspector_panel() -> Component:
    """The frame. The reason field stands outside of what is redrawn, so that typing in it is never lost."""
    reason = dmc.TextInput(
        id=ids.REASON,
        label="Reason (goes into the order's history)",
        size="xs",
        value="",
        inputProps={"maxLength": 512},
    )
    return html.Section(
        [
            html.Div(nothing_selected(), id=ids.INSPECT_MAIN),
            order_moves(),
            html.Div(reason, className="reason"),
            html.Div(id=ids.INSPECT_PREVIEW),
            html.Div(id=ids.INSPECT_DETAILS),
            html.Div(id=ids.INSPECT_CANDIDATES),
            html.Div(id=ids.INSPECT_TIMELINE),
        ],
        className="pane",
        id="pane-inspect",
        **attributes({"aria-label": "Inspector"}),
    )


def nothing_selected() -> Component:
    """What to do first."""
    return html.Div(
        [
            html.H2("Nothing selected"),
            note("Click a row, a driver or a drop-off on the map, or a mall. j and k walk the queue by risk."),
            note("An order shows its promise, who could take it and at what cost; a driver its route and last ping."),
        ],
        className="card quiet",
    )


def gone(kind: str, identity: str, words: str) -> Component:
    """In place of a panel that could not be had."""
    return html.Div([html.H2(f"{kind.capitalize()} {identity}"), note(words)], className="card")


def stores() -> list[Component]:
    """The page's memory; `ids.py` says who writes which."""
    names = (
        ids.WAKE, ids.SELECTION, ids.ROUTE, ids.CHOICE, ids.INTENT, ids.OUTCOME, ids.HANDING, ids.AUTOPILOT_LOOK_UP,
        ids.AUTOPILOT_ASK, ids.AUTOPILOT_SAVED, ids.GALLERY_LOOK_UP, ids.REPLAY_OPEN, ids.REPLAY_OPENED,
        ids.REPLAY_CLOSE, ids.REPLAY_DO, ids.REPLAY_NEXT, ids.REPLAY_STATUS, ids.REPLAY_LOOK, ids.REPLAY_MARKS,
        ids.COMPARE_LOOK, ids.GHOSTS_LOOK, ids.GHOSTS, ids.FORK_ASK, ids.LAB_ASK, ids.LAB_LOOK, ids.LAB_CANCEL,
        ids.LAB_SHOWN,
    )  # fmt: skip
    return [dcc.Store(id=name) for name in names]
