"""Who could carry an order: the best drivers with their cost in minutes, and why the others are out.

It must not know how costs are made; the terms are shown as they come, and they sum to the cost.
"""

from collections import defaultdict
from collections.abc import Sequence

from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats
from dashboard.panels.cost import LEAST_MIN, bar, legend, positive, spoken, terms_in_use
from dashboard.panels.pieces import attributes, note, section


class Candidate(Struct, frozen=True):
    """A driver who could carry the order. `cost`, each of `terms` and `regret_min` are minutes.

    `regret_min` is how much more it costs than the best choice for the whole floor; None when no plan was made.
    """

    driver_id: str
    cost: float
    terms: dict[str, float]
    eta_pickup_ms: int | None = None
    eta_dropoff_ms: int | None = None
    regret_min: float | None = None


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
    terms = terms_in_use(item.terms for item in top)
    longest = max(positive(item.terms) for item in top) or 1.0
    rows = [
        _row(number, item, names, timezone, offset_ms, terms, longest, item.driver_id == chosen)
        for number, item in enumerate(top, 1)
    ]
    ranked = html.Div(
        rows, className="candidates", role="radiogroup", **attributes({"aria-label": "Candidates, best first"})
    )
    return section("Candidates", [ranked, legend(terms), _excluded(ranking.excluded, names)], "cost in minutes")


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
            *_regret(item.regret_min),
            html.Span(f"{item.cost:.1f}", className="cost"),
        ],
        className="candidate-head",
    )
    return html.Button(
        [head, bar(item.terms, terms, longest)],
        className="candidate",
        role="radio",
        title=spoken(item.terms, terms),
        **attributes({"data-candidate": item.driver_id, "aria-checked": "true" if chosen else "false"}),
    )


def _regret(regret_min: float | None) -> list[Component]:
    if regret_min is None or regret_min < LEAST_MIN:
        return []
    words = f"Costs {regret_min:.1f} min more than the best choice for the whole floor"
    return [html.Span(f"regret {regret_min:.1f}", className="at-risk", title=words)]


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
