"""What the policy lab found: in words, as a table of figures, by seed, and as CSV.

It must not know how figures are tested: p and intervals come with the verdict.
"""

import csv
import io
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import quote

from dash import dcc, html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats
from dashboard.figures.differences import differences
from dashboard.panels.pieces import attributes, note

POLICY_WORDS: Final = {"plan": "Plan", "no-hold": "No-hold", "nearest": "Nearest"}
PLOT: Final = {"height": "190px"}
CLEAR_P: Final = 0.05
"""An interval of 95 % that leaves out 0 and a p below this are the same thing."""
PLOTTED: Final = ("orders_per_trip", "delivered", "late", "on_time", "click_to_door_ms", "wait_at_store_ms")


class Pair(Struct, frozen=True):
    """A figure of one seed's day under both policies."""

    seed: int
    first: float
    second: float


class Compared(Struct, frozen=True):
    """One figure, as the streamer's lab has it."""

    figure: str
    n: int
    first: float
    second: float
    first_half: float
    second_half: float
    difference: float
    low: float
    high: float
    p: float | None = None
    p_ranks: float | None = None
    pairs: tuple[Pair, ...] = ()


class Verdict(Struct, frozen=True):
    """What the seeds that are over come to."""

    fixture: str
    policies: tuple[str, str]
    seeds: int
    figures: tuple[Compared, ...] = ()
    complete: bool = True


class Row(Struct, frozen=True):
    """How a figure is read: its unit and divisor, decimals, which way is better, and the sentence for more of it.

    `says` and `says_less` take the policy's name and the amount.
    """

    label: str
    unit: str
    per: float
    decimals: int
    better: Literal["more", "less", ""]
    says: str
    says_less: str


_MIN: Final = float(formats.MINUTE_MS)
ROWS: Final = {
    "orders_per_trip": Row("Orders / trip", "", 1, 2, "more", "{} carries {} orders a trip more",
                           "{} carries {} orders a trip fewer"),
    "delivered": Row("Delivered", "", 1, 1, "more", "{} delivers {} orders more", "{} delivers {} orders fewer"),
    "on_time": Row("On time", "%", 0.01, 1, "more", "{} is on time with {} points more of the delivered",
                   "{} is on time with {} points fewer of the delivered"),
    "late": Row("Late at the end", "", 1, 1, "less", "{} has {} orders more late at the end",
                "{} has {} orders fewer late at the end"),
    "open": Row("Open at the end", "", 1, 1, "", "{} leaves {} orders more open", "{} leaves {} orders fewer open"),
    "click_to_door_ms": Row("Click to door", "min", _MIN, 1, "less", "{} takes {} min longer from click to door",
                            "{} is {} min quicker from click to door"),
    "wait_at_store_ms": Row("Wait at store", "min", _MIN, 1, "less", "{} has drivers wait {} min longer at the store",
                            "{} has drivers wait {} min less at the store"),
    "reassigned": Row("Reassigned", "", 1, 1, "", "{} reassigns {} orders more", "{} reassigns {} orders fewer"),
    "declined": Row("Declined", "", 1, 1, "less", "{} has {} offers more declined", "{} has {} offers fewer declined"),
}  # fmt: skip


def verdict_panel(verdict: Verdict, dates: str) -> Component:
    """All of it. `dates` names the file that is downloaded."""
    second = policy(verdict.policies[1])
    known = [one for one in verdict.figures if one.figure in ROWS]
    plotted = [one for name in PLOTTED for one in known if one.figure == name and _differs(one)]
    order = list(ROWS)
    lead = sorted(known, key=lambda one: (not clear(one), order.index(one.figure)))
    return html.Div(
        [
            html.Ul([_said(one, second) for one in lead if _tells(one)], className="said")
            if any(_differs(one) for one in known)
            else note("No figure differs in any seed."),
            _table(verdict, known),
            note(
                f"{formats.count(verdict.seeds, 'seed')}; means with 95 % intervals. Differences are seed by seed: "
                "each seed's drivers are alike under both policies. p (t) is of a paired t test, p (ranks) of "
                f"Wilcoxon's signed ranks. Of {len(known)} figures tested, one in twenty seems clear by luck alone."
            ),
            html.H3(f"{second} less {policy(verdict.policies[0])}, seed by seed"),
            html.Div([_plot(one) for one in plotted], className="lab-plots"),
            html.A(
                "Download CSV",
                href=f"data:text/csv;charset=utf-8,{quote(as_csv(verdict))}",
                download=f"lab-{verdict.fixture}-{'-'.join(verdict.policies)}-{dates}.csv",
                className="btn",
                **attributes({"data-lab": "csv"}),
            ),
        ],
        className="verdict",
    )


def policy(name: str) -> str:
    """A policy's name, as people read it."""
    return POLICY_WORDS.get(name, name)


def clear(one: Compared) -> bool:
    """Whether the difference is more than luck: p below 5 %, or the same difference in every seed."""
    return one.p < CLEAR_P if one.p is not None else one.difference != 0


def _differs(one: Compared) -> bool:
    """Whether the figure differs in any seed."""
    return bool(one.difference) or one.low < one.high


def _tells(one: Compared) -> bool:
    """Whether anything is left of the difference as it is written."""
    row = ROWS[one.figure]
    return round(abs(one.difference) / row.per, row.decimals) > 0


def sentence(one: Compared, second: str) -> str:
    """What the figure says: `Plan carries 0.6 orders a trip more; the difference is clear.`"""
    row = ROWS[one.figure]
    amount = f"{abs(one.difference) / row.per:.{row.decimals}f}"
    said = (row.says if one.difference > 0 else row.says_less).format(second, amount)
    if one.p is None:
        return f"{said}, in every one of {one.n} seeds."
    if not clear(one):
        return f"{said}; this could be chance."
    if one.p_ranks is not None and one.p_ranks >= CLEAR_P:
        return f"{said}; the difference is clear by the t test, not by ranks: more seeds would settle it."
    return f"{said}; the difference is clear."


def _said(one: Compared, second: str) -> Component:
    return html.Li(sentence(one, second), className=_tone(one) if clear(one) else "dim")


def _tone(one: Compared) -> str:
    better = ROWS[one.figure].better
    if not better or not one.difference:
        return ""
    return "better" if (one.difference > 0) == (better == "more") else "worse"


def _table(verdict: Verdict, known: list[Compared]) -> Component:
    first, second = (policy(name) for name in verdict.policies)
    names = ("", first, second, f"{second} less {first}", "p (t)", "p (ranks)")
    head = html.Tr([html.Th(name, scope="col") for name in names])
    body = html.Tbody([_row(one) for one in sorted(known, key=lambda one: list(ROWS).index(one.figure))])
    return html.Div(html.Table([html.Thead(head), body], className="effects"), className="wide", tabIndex=0)


def _row(one: Compared) -> Component:
    row = ROWS[one.figure]
    write: Callable[[float], str] = lambda value: f"{value / row.per:.{row.decimals}f}"  # noqa: E731
    unit = f" {row.unit}" if row.unit else ""
    more: Callable[[float], str] = lambda value: f"{value / row.per:+.{row.decimals}f}".replace("-", "−")  # noqa: E731
    return html.Tr(
        [
            html.Th(f"{row.label}{',' if unit else ''}{unit}", scope="row"),
            html.Td(f"{write(one.first)} ± {write(one.first_half)}"),
            html.Td(f"{write(one.second)} ± {write(one.second_half)}"),
            html.Td(
                [html.Strong(more(one.difference)), f" [{more(one.low)}, {more(one.high)}]"]
                if _differs(one)
                else "same",
                className=_tone(one) if clear(one) else "dim",
            ),
            html.Td(_p(one.p)),
            html.Td(_p(one.p_ranks)),
        ]
    )


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _plot(one: Compared) -> Component:
    row = ROWS[one.figure]
    each = [(pair.seed, (pair.second - pair.first) / row.per) for pair in one.pairs]
    figure = differences(each, one.difference / row.per, (one.low / row.per, one.high / row.per), row.better)
    graph: Component = dcc.Graph(figure=figure, config={"displayModeBar": False, "responsive": True}, style=PLOT)
    label = f"{row.label}, {row.unit}" if row.unit else row.label
    return html.Figure([html.Figcaption(label), graph])


def as_csv(verdict: Verdict) -> str:
    """Every figure of every seed, a line each; durations in minutes, shares in percent."""
    out = io.StringIO()
    writer = csv.writer(out)
    first, second = verdict.policies
    writer.writerow(["figure", "unit", "seed", first, second, "difference"])
    for one in verdict.figures:
        row = ROWS.get(one.figure)
        per, unit = (row.per, row.unit) if row else (1.0, "")
        for pair in one.pairs:
            values = (pair.first / per, pair.second / per, (pair.second - pair.first) / per)
            writer.writerow([one.figure, unit, pair.seed, *(f"{value:.6g}" for value in values)])
    return out.getvalue()
