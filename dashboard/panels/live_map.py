"""The live map's pane: the graph, the switch of hex layers, the keys to marks and colours, and the zoom buttons.

It must not know what moves on it (`assets/`).
"""

from typing import Final

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard import ids
from dashboard.figures.floor_map import floor_map
from dashboard.panels.pieces import attributes

LAYERS: Final = (
    ("off", "Off"),
    ("supply", "Supply"),
    ("demand", "Demand"),
    ("balance", "Balance"),
    ("wait", "Wait"),
)
MARKS: Final = (
    ("free", "Free"),
    ("busy", "Busy, pointing where it goes"),
    ("at-store", "At a store"),
    ("silent", "Silent: last seen here"),
    ("on-break", "On break"),
    ("suspect", "Last ping not believed"),
    ("aged", "Wider ring: older position"),
    ("trip", "Trip in mind, not given out"),
    ("ghost", "Ghost: a driver as recorded, dotted to its place in the fork"),
    ("order", "Drop-off, on time"),
    ("order-at-risk", "Drop-off, at risk"),
    ("order-late", "Drop-off, late"),
)
OF_FORK: Final = frozenset({"ghost"})
"""Marks that only a fork has."""


def map_panel() -> Component:
    """The middle pane."""
    graph = dcc.Graph(
        id=ids.MAP,
        figure=floor_map(),
        responsive=True,
        config={"displayModeBar": False, "scrollZoom": True, "doubleClick": False},
        style={"height": "100%"},
    )
    layers = dmc.SegmentedControl(
        id=ids.HEX_LAYER,
        value="off",
        size="xs",
        data=[{"value": value, "label": label} for value, label in LAYERS],
        **attributes({"aria-label": "Hex layer"}),
    )
    return html.Section(
        [
            graph,
            html.Div(id="map-labels"),
            html.Div([html.Span("Hexes", className="dim"), layers, _trips()], className="map-tools"),
            html.Div(
                [_zoom("zoom-in", "+", "Zoom in"), _zoom("zoom-out", "−", "Zoom out"), _fit()], className="map-zoom"
            ),
            html.Div(id="hex-legend", hidden=True),
            _marks(),
            html.Div("", id="ghost-note", role="status", hidden=True),
            html.Div(id="map-tip", role="tooltip", hidden=True),
            html.Div("Connecting to the floor …", id="map-empty", className="empty"),
        ],
        className="pane",
        id="pane-map",
        **attributes({"aria-label": "Live map"}),
    )


def _zoom(act: str, label: str, words: str) -> Component:
    return html.Button(label, className="btn icon", title=words, **attributes({"data-act": act, "aria-label": words}))


def _trips() -> Component:
    words = "The trips that the autopilot has in mind and nobody drives yet (t)"
    return html.Button(
        "Trips", className="btn toggle", title=words, **attributes({"data-act": "trips", "aria-pressed": "false"})
    )


def _fit() -> Component:
    return _zoom("fit", "⌂", "Show the whole mall")


def _marks() -> Component:
    keys = [
        html.Li([html.I(className=f"mark mark-{mark}"), words], className="of-fork" if mark in OF_FORK else None)
        for mark, words in MARKS
    ]
    return html.Details([html.Summary("Marks"), html.Ul(keys)], id="marks")
