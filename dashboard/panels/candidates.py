"""Who could carry an order: the best drivers with their cost in minutes, and why the others are out.

It must not know how costs are made; the terms are shown as they come, and they sum to the cost.
"""

from collections import defaultdict
from collections.abc import Sequence

from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats
from dashboard.panels.pieces import attributes, note, section

TERM_COLOURS = 8
"""How many `--term-N` colours the palette has."""


class Candidate(Struct, frozen=True):
    """A driver who could carry the order. `cost` and each of `terms` are minutes."""

    driver_id: str
    cost: float
    terms: dict[str, float]
    eta_pickup_ms: int | None = None
    eta_dropoff_ms: int | None = None


class Excluded(Struct, frozen=True):
    """A driver who could not, and why."""

    driver_id: str
    reason: str


class Ranking(Struct, frozen=True):
    """Both, as the streamer answers them."""

    items: tuple[Candidate, ...] = ()
    excluded: tuple[Excluded, ...] = ()


def candidates_panel(
    ranking: Ranking, names: dict[str, str], timezone: str, offset_ms: int, chosen: str | None = None
) -> Component:
    """The ranked drivers, a legend of the cost terms, and the excluded by reason."""
    top = ranking.items[:5]
    if not top:
        empty = note("No driver can take this order now. The reasons are below; it stays in the queue.")
        return section("Candidates", [empty, _excluded(ranking.excluded, names, shown=True)])
    terms = _terms(top)
    longest = max(sum(value for value in item.terms.values() if value > 0) for item in top) or 1.0
    rows = [
        _row(number, item, names, timezone, offset_ms, terms, longest, item.driver_id == chosen)
        for number, item in enumerate(top, 1)
    ]
    ranked = html.Div(
        rows, className="candidates", role="radiogroup", **attributes({"aria-label": "Candidates, best first"})
    )
    return section("Candidates", [ranked, _legend(terms), _excluded(ranking.excluded, names)], "cost in minutes")


def _terms(items: Sequence[Candidate]) -> list[str]:
    """The terms in use, in the order the streamer names them, those that are nought everywhere left out."""
    return list(dict.fromkeys(name for item in items for name, value in item.terms.items() if abs(value) >= 0.05))


def _row(
    number: int,
    item: Candidate,
    names: dict[str, str],
    timezone: str,
    offset_ms: int,
    terms: list[str],
    longest: float,
    chosen: bool,
) -> Component:
    head = html.Span(
        [
            html.Kbd(str(number)),
            html.Strong(names.get(item.driver_id, item.driver_id)),
            html.Span(f"door {formats.clock(item.eta_dropoff_ms, timezone, offset_ms)}", className="dim"),
            html.Span(f"{item.cost:.1f}", className="cost"),
        ],
        className="candidate-head",
    )
    spoken = ", ".join(f"{formats.words(term, formats.TERM_WORDS)} {item.terms.get(term, 0):.1f}" for term in terms)
    return html.Button(
        [head, _bar(item, terms, longest)],
        className="candidate",
        role="radio",
        title=spoken,
        **attributes({"data-candidate": item.driver_id, "aria-checked": "true" if chosen else "false"}),
    )


def _bar(item: Candidate, terms: list[str], longest: float) -> Component:
    parts = [
        html.Span(className="term", style={"width": f"{100 * value / longest:.2f}%", "background": term_colour(name)})
        for name in terms
        if (value := item.terms.get(name, 0.0)) > 0
    ]
    return html.Span(parts, className="bar", **attributes({"aria-hidden": "true"}))


def term_colour(name: str) -> str:
    """The colour of a term: always the same one, whichever others are shown. A term without words gets the last."""
    known = list(formats.TERM_WORDS)
    return f"var(--term-{known.index(name) + 1 if name in known else TERM_COLOURS})"


def _legend(terms: list[str]) -> Component:
    keys = [
        html.Span([html.I(style={"background": term_colour(name)}), formats.words(name, formats.TERM_WORDS)])
        for name in terms
    ]
    return html.Div(keys, className="legend")


def _excluded(excluded: Sequence[Excluded], names: dict[str, str], *, shown: bool = False) -> Component:
    if not excluded:
        return html.Div()
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in excluded:
        by_reason[item.reason].append(names.get(item.driver_id, item.driver_id))
    lines = [
        html.Li([html.Strong(f"{formats.words(reason)} · {len(drivers)}"), html.Div(", ".join(drivers))])
        for reason, drivers in sorted(by_reason.items())
    ]
    summary = html.Summary(f"{formats.count(len(excluded), 'driver')} excluded, and why")
    return html.Details([summary, html.Ul(lines)], open=shown, className="excluded")
