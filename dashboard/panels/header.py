"""The header and the figures under it: which malls, live or replay, what time it is, how old the feed is, who is in.

It must not know the values: the browser script fills them from the feed (`assets/70-strip.js`).
"""

from typing import Final, NamedTuple

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from dashboard import ids
from dashboard.figures.places import Places
from dashboard.panels.pieces import attributes

PAGES: Final = (("floor", "Floor", "/"), ("replay", "Replay", "/replay"), ("insights", "Insights", "/insights"))
"""Name, label and address; the browser script knows the names."""


class Figure(NamedTuple):
    """One figure of the strip. `field` is the feed's name of it."""

    field: str
    label: str
    meaning: str


FIGURES: Final = (
    Figure("open", "Open", "Orders placed and not yet delivered, cancelled or returned."),
    Figure("unassigned", "Unassigned", "Open orders without a driver."),
    Figure("at_risk", "At risk", "Open orders whose ETA comes close to the promise."),
    Figure("late", "Late", "Open orders whose ETA, or the clock, is beyond the promise."),
    Figure("free", "Free", "Drivers on duty with no orders."),
    Figure("busy", "Busy", "Drivers with orders, on the road or at a store."),
    Figure(
        "silent", "Silent", "Drivers on duty whose phone has stopped reporting; the map shows where they last were."
    ),
    Figure(
        "orders_per_trip", "Orders / trip", "Orders a driver carries out of the mall at once, mean since the start."
    ),
    Figure("wait_at_store_ms", "Wait at store", "Mean time a driver waits at a store before the order is handed out."),
    Figure("on_time", "On time", "Share of delivered orders that arrived by the promised time."),
    Figure("click_to_door_ms", "Click to door", "Median time from order placed to order delivered."),
)


def header() -> Component:
    """The top line of every page."""
    return html.Div(
        [
            html.A([html.Img(src="/assets/mallard.svg", alt="", width=26, height=26), "Mallard"], href="/", id="brand"),
            pages(),
            mall_switcher(),
            html.Div(
                [
                    html.Span("Connecting", id="mode", className="mode"),
                    html.Span("", id="fixture", className="dim"),
                    html.Time("", id="clock", title="The floor's clock, in the mall's own time zone"),
                    html.Span("", id="zone", className="dim"),
                ],
                className="moment",
            ),
            html.Div(
                [html.I(className="dot"), html.Span("no frame yet", id="feed-age")],
                id="feed-state",
                title="Age of the last picture from the floor",
                role="status",
            ),
            html.Div(className="spring"),
            html.Button(
                "?", id="keys-button", className="btn icon", title="Keys (?)", **attributes({"data-act": "keys"})
            ),
            html.Button(
                html.I(className="theme-icon"),
                id=ids.THEME_SWITCH,
                className="btn icon",
                title="Light or dark",
                **attributes({"data-act": "theme", "aria-label": "Switch between light and dark"}),
            ),
            html.Div(id=ids.ACCOUNT),
        ],
        className="header",
    )


def pages() -> Component:
    """The way to the other pages; the browser script marks the one that is shown."""
    links = [
        html.A(label, href=href, className="pick", **attributes({"data-page": page})) for page, label, href in PAGES
    ]
    return html.Nav(links, className="pages", **attributes({"aria-label": "Pages"}))


def mall_switcher() -> Component:
    """Chooses the malls shown: none ticked means all."""
    label = html.Button(
        [html.Span("All malls", id="mall-label"), html.I(className="caret")],
        className="btn",
        **attributes({"aria-label": "Choose malls"}),
    )
    choices = dmc.CheckboxGroup(id=ids.MALL_FILTER, children=[], value=[], label="Malls shown; none ticked is all")
    popover: Component = dmc.Popover(
        [dmc.PopoverTarget(label), dmc.PopoverDropdown(choices)], position="bottom-start", keepMounted=True, shadow="md"
    )
    return popover


def mall_choices(places: Places) -> list[Component]:
    """The boxes of the switcher."""
    return [dmc.Checkbox(label=mall.name, value=mall.id, mt=8, size="sm") for mall in places.malls.values()]


def account(name: str, role: str) -> Component:
    """Who is logged in, and the way out. The role is read by the browser script, too, to explain disabled keys."""
    target = html.Button(
        [html.Span(name), html.Span(role, className="dim role")],
        className="btn",
        id="who",
        **attributes({"data-role": role}),
    )
    leave = html.Form(
        html.Button("Log out", type="submit", className="btn"), action="/logout", method="post", id="log-out"
    )
    # On a narrow screen the header has no room for the pages.
    popover: Component = dmc.Popover(
        [dmc.PopoverTarget(target), dmc.PopoverDropdown([pages(), leave])], position="bottom-end", shadow="md"
    )
    return popover


def strip() -> Component:
    """The autopilot's mode, and the figures, each with what it means on hover and focus."""
    cells = [
        dmc.Tooltip(
            html.Div(
                [html.Span("–", className="value", **attributes({"data-kpi": figure.field})), html.Span(figure.label)],
                className=f"kpi kpi-{figure.field.replace('_', '-')}",
                tabIndex=0,
                role="group",
                **attributes({"aria-label": f"{figure.label}: {figure.meaning}"}),
            ),
            label=figure.meaning,
            multiline=True,
            w=240,
            openDelay=300,
            events={"hover": True, "focus": True, "touch": True},
        )
        for figure in FIGURES
    ]
    autopilot = html.Div(id=ids.AUTOPILOT_BADGE)
    return html.Div(
        [autopilot, *cells], className="strip", role="region", **attributes({"aria-label": "Figures of the floor"})
    )


def banner() -> Component:
    """Across the whole width when the link is lost; empty and hidden otherwise."""
    return html.Div(id="banner", role="alert", hidden=True)
