"""The figure of paired differences: one bar a seed, the mean as a line, its 95 % interval as a band.

It must not know what the figure is of. Its letters and lines take their colours from the page's style sheet.
"""

from collections.abc import Sequence
from typing import Final, Literal

import plotly.graph_objects as go

from dashboard import theme

BETTER: Final = theme.LIGHT["driver-free"]
WORSE: Final = theme.LIGHT["late"]
NEITHER: Final = "#7d8aa0"
BAND: Final = "rgba(125, 138, 160, 0.24)"


def differences(
    each: Sequence[tuple[int, float]], mean: float, interval: tuple[float, float], better: Literal["more", "less", ""]
) -> go.Figure:
    """`each` is (seed, difference); `better` colours the bars."""
    seeds, values = [seed for seed, _ in each], [value for _, value in each]
    figure = go.Figure(
        go.Bar(
            x=seeds,
            y=values,
            marker={"color": [_colour(value, better) for value in values], "line": {"width": 0}},
            hovertemplate="seed %{x}: %{y:+.3g}<extra></extra>",
        )
    )
    low, high = interval
    figure.add_hrect(y0=low, y1=high, fillcolor=BAND, line_width=0, layer="below")
    figure.add_hline(y=mean, line={"color": NEITHER, "width": 2, "dash": "dot"})
    figure.update_layout(
        margin={"l": 44, "r": 8, "t": 6, "b": 26},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        dragmode=False,
        bargap=0.3,
        font={"size": 11},
        xaxis={
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "tickformat": "d",
            "tick0": 1,
            "dtick": -(-len(seeds) // 10),
        },
        yaxis={"zeroline": True, "fixedrange": True, "nticks": 5},
    )
    return figure


def _colour(value: float, better: str) -> str:
    if not better or not value:
        return NEITHER
    return BETTER if (value > 0) == (better == "more") else WORSE
