"""The Floor: queue, live map and inspector side by side, or behind three tabs on a narrow screen.

It must not know what the panes hold.
"""

from typing import Final

from dash import html
from dash.development.base_component import Component

from dashboard.panels.inspector import inspector_panel
from dashboard.panels.live_map import map_panel
from dashboard.panels.pieces import attributes
from dashboard.panels.queue import queue_panel
from dashboard.panels.transport import compare_pane, transport_bar

NARROW_TABS: Final = (("queue", "Queue"), ("map", "Map"), ("inspect", "Order"))


def floor_page() -> Component:
    """The three panes with two handles to drag, the tabs that replace them below 900 px, and a replay's transport."""
    return html.Div(
        [
            html.Nav(
                [
                    html.Button(label, className="pick", **attributes({"data-pane": pane}))
                    for pane, label in NARROW_TABS
                ],
                className="narrow-tabs",
                **attributes({"aria-label": "Panes"}),
            ),
            html.Div(
                [queue_panel(), _handle("left"), map_panel(), _handle("right"), inspector_panel()],
                id="floor",
                **attributes({"data-pane": "map"}),
            ),
            compare_pane(),
            transport_bar(),
        ],
        className="page",
    )


def _handle(side: str) -> Component:
    about = {"data-handle": side, "aria-label": f"Width of the {side} pane", "aria-orientation": "vertical"}
    return html.Div(className="handle", role="separator", tabIndex=0, **attributes(about))
