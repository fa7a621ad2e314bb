"""The dialogs that lie over the floor: conflict, confirmation, hand over, autopilot, fork, and the sheet of keys.

It must not know what they are about; their words come from callbacks and the browser script.
"""

from typing import Final

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboard import ids
from dashboard.panels.autopilot import settings_dialog
from dashboard.panels.fork import fork_dialog
from dashboard.panels.pieces import act_button

KEYS: Final = (
    ("/", "search the queue"),
    ("j  k", "next, previous order by risk"),
    ("Enter", "open the row; on the autopilot's block, accept"),
    ("1 – 5", "consider that candidate: its effect is shown first"),
    ("a", "assign to the candidate considered, or consider the best"),
    ("r", "reassign, the same way"),
    ("y", "accept what the autopilot suggests: its effect is shown first"),
    ("u", "unassign"),
    ("h", "hold, or release"),
    ("p", "pin to its driver"),
    ("t", "suggested trips on the map, on or off"),
    ("m", "mode and rules of the autopilot"),
    ("z", "undo your last decision"),
    ("Esc", "back: candidate, then selection"),
    ("g  f / r", "go to the floor, to replay"),
    ("?", "this sheet"),
)
REPLAY_KEYS: Final = (
    ("w", "play or pause"),
    (",  .", "ten seconds back, on"),
    ("<  >", "a minute back, on"),
    ("[  ]", "previous, next alarm"),
    ("e  n", "previous, next event of the order shown"),
    ("−  +", "slower, faster"),
    ("c", "copy a link to this moment"),
    ("v", "fork here"),
    ("b", "both worlds on the map: in a fork, the recorded drivers as ghosts"),
)


def sheets() -> list[Component]:
    """All of them, closed."""
    return [
        dmc.Modal(html.Div(id=ids.CONFLICT_BODY), id=ids.CONFLICT, title="Somebody was faster", centered=True),
        dmc.Modal(
            [
                html.P("", id=ids.CONFIRM_BODY, className="note"),
                html.Div(
                    [act_button("confirmed", "Yes, do it", look="danger"), act_button("drop-intent", "No")],
                    className="actions",
                ),
            ],
            id=ids.CONFIRM,
            title="Are you sure?",
            centered=True,
            keepMounted=True,
        ),
        dmc.Modal(
            [
                html.Div(id=ids.HAND_OVER_BODY),
                dmc.Select(id=ids.HAND_OVER_TARGET, label="Who takes over", data=[], searchable=True, size="sm"),
                html.Div(html.Button("Hand over", id=ids.HAND_OVER_GO, className="btn primary"), className="actions"),
            ],
            id=ids.HAND_OVER,
            title="Hand over all orders",
            centered=True,
            keepMounted=True,
        ),
        settings_dialog(),
        fork_dialog(),
        dmc.Modal(_keys(), id=ids.KEYS_SHEET, title="Keys", centered=True, keepMounted=True),
    ]


def _keys() -> Component:
    return html.Div(
        [_table(KEYS), html.Div([html.H3("In a replay"), _table(REPLAY_KEYS)], className="only-room")], className="keys"
    )


def _table(keys: tuple[tuple[str, str], ...]) -> Component:
    return html.Table(html.Tbody([html.Tr([html.Td(html.Kbd(key)), html.Td(does)]) for key, does in keys]))
