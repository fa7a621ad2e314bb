"""The bar under a replayed floor: play, steps, speed, the recording as a line with marks, fork and link.

It must not know where the replay stands: the browser script moves it (`assets/`).
"""

from typing import Final

from dash import html
from dash.development.base_component import Component

from dashboard import ids
from dashboard.panels.pieces import Child, act_button, attributes

SPEEDS: Final = (1, 2, 4, 8, 15, 30, 60)
TRACK_KEYS: Final = (
    ("on-time", "on time"),
    ("late", "late"),
    ("open", "open"),
    ("alarm", "alarm"),
    ("command", "a person's decision"),
)
"""What the line of the recording shows, each curve on a scale of its own; the figures are under the pointer."""


def transport_bar() -> Component:
    """The bar; shown in a room only."""
    return html.Section(
        [
            html.Div(
                [_moves(), _speeds(), _legend(), html.Div(className="spring"), _acts()],
                className="row",
            ),
            html.Div("", id="replay-said", role="status"),
            html.Div(
                [
                    html.Time("", id="replay-at"),
                    html.Div(id="replay-track"),
                    html.Span("", id="replay-end", className="dim"),
                ],
                className="line",
            ),
        ],
        id="transport",
        **attributes({"aria-label": "Replay"}),
    )


def _moves() -> Component:
    buttons: tuple[tuple[str, Child, str], ...] = (
        ("alarm-before", ["◂", html.Span(" Alarm")], "Previous alarm  ["),
        ("back-minute", "−1 min", "A minute back  <"),
        ("back-step", "−10 s", "Ten seconds back  ,"),
        ("play", "▶", "Play or pause  w"),
        ("step", "+10 s", "Ten seconds on  ."),
        ("minute", "+1 min", "A minute on  >"),
        ("alarm-after", [html.Span("Alarm "), "▸"], "Next alarm  ]"),
    )
    return html.Div(
        [
            html.Button(
                label,
                className="btn primary" if act == "play" else "btn",
                title=words,
                **attributes({"data-act": f"replay-{act}", "aria-label": words.split("  ")[0]}),
            )
            for act, label, words in buttons
        ],
        className="moves",
    )


def _speeds() -> Component:
    choices = [
        html.Button(
            f"×{speed}",
            className="pick",
            **attributes({"data-act": "replay-speed", "data-speed": str(speed), "aria-pressed": "false"}),
        )
        for speed in SPEEDS
    ]
    return html.Div(choices, className="speeds", role="group", **attributes({"aria-label": "Speed  − +"}))


def _legend() -> Component:
    keys = [html.Span([html.I(className=f"{mark}-key"), words]) for mark, words in TRACK_KEYS]
    return html.Div(keys, className="legend-of-track")


def _acts() -> Component:
    return html.Div(
        [
            act_button("replay-compare", "Compare", look="toggle only-fork"),
            act_button("replay-ghosts", "Ghosts", key="b", look="toggle only-fork"),
            act_button("replay-fork", "Fork here", key="v"),
            act_button("replay-copy", "Copy link", key="c"),
        ],
        className="acts",
    )


def order_moves() -> Component:
    """In the inspector of a replayed order: on to what happens to it next."""
    return html.Div(
        [
            act_button("replay-order-before", "Previous event", key="e"),
            act_button("replay-order-after", "Next event of this order", key="n"),
        ],
        className="actions only-replayed-order",
    )


def compare_pane() -> Component:
    """Where both worlds stand side by side, closed."""
    return html.Section(
        html.Div(id=ids.COMPARE), id="compare-pane", hidden=True, **attributes({"aria-label": "Both worlds"})
    )


def closed_note() -> Component:
    """What covers a room that is no more."""
    return html.Div(
        html.Div(
            [
                html.H2("This replay was closed"),
                html.P(
                    "Nobody had looked at it for a while, somebody closed it, or its process ended. "
                    "The recording is untouched.",
                    className="note",
                ),
                html.Div(
                    [act_button("replay-again", "Open it again", look="primary"),
                     html.A("All recordings", href="/replay", className="btn")],
                    className="actions",
                ),
            ],
            className="card",
        ),
        id="room-closed",
        role="alertdialog",
        hidden=True,
        **attributes({"aria-label": "This replay was closed"}),
    )  # fmt: skip
