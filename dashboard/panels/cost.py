"""A cost in minutes as a stacked bar of its terms, with the legend that names them.

It must not know whose cost it is, or how it was made; the terms are shown as they come, and they sum to the cost.
"""

from collections.abc import Iterable, Mapping, Sequence

from dash import html
from dash.development.base_component import Component

from dashboard import formats
from dashboard.panels.pieces import attributes

TERM_COLOURS = 9
"""How many `--term-N` colours the palette has."""
LEAST_MIN = 0.05
"""A term that is smaller everywhere is not worth a colour."""


def terms_in_use(costs: Iterable[Mapping[str, float]]) -> list[str]:
    """The terms in use, in the order the streamer names them, those that are nought everywhere left out."""
    return list(dict.fromkeys(name for terms in costs for name, value in terms.items() if abs(value) >= LEAST_MIN))


def positive(terms: Mapping[str, float]) -> float:
    """Minutes that a bar of these terms stands for: what they add, without what they save."""
    return sum(value for value in terms.values() if value > 0)


def bar(terms: Mapping[str, float], shown: Sequence[str], longest: float) -> Component:
    """The stacked bar; as long as it can be when the terms add up to `longest` minutes."""
    parts = [
        html.Span(className="term", style={"width": f"{100 * value / longest:.2f}%", "background": term_colour(name)})
        for name in shown
        if (value := terms.get(name, 0.0)) > 0
    ]
    return html.Span(parts, className="bar", **attributes({"aria-hidden": "true"}))


def spoken(terms: Mapping[str, float], shown: Sequence[str]) -> str:
    """The same in words: `driving 10.0, waiting for the store 2.0`."""
    return ", ".join(f"{formats.words(name, formats.TERM_WORDS)} {terms.get(name, 0.0):.1f}" for name in shown)


def term_colour(name: str) -> str:
    """The colour of a term: always the same one, whichever others are shown. A term without words gets the last."""
    known = list(formats.TERM_WORDS)
    return f"var(--term-{known.index(name) + 1 if name in known else TERM_COLOURS})"


def legend(terms: Sequence[str], minutes: Mapping[str, float] | None = None) -> Component:
    """What the colours mean; with the minutes of each where there is but one bar."""
    keys = [html.Span([html.I(style={"background": term_colour(name)}), _key(name, minutes)]) for name in terms]
    return html.Div(keys, className="legend")


def _key(name: str, minutes: Mapping[str, float] | None) -> str:
    word = formats.words(name, formats.TERM_WORDS)
    return word if minutes is None else f"{word} {minutes.get(name, 0.0):.1f}"
