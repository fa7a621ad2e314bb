"""Small pieces that several panels share: buttons that act, links that select, chips, rows of facts.

It must not know what is selected. The browser script listens for the `data-` attributes set here (`assets/`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

Child = str | Component | Sequence[str | Component]


def attributes(named: Mapping[str, str]) -> dict[str, Any]:
    """`data-` and `aria-` attributes, to be unpacked into a component.

    The only `Any` of the panels: Dash's component signatures have no place for attributes with a hyphen.
    """
    return dict(named)


def act_button(act: str, label: str, *, key: str = "", why_not: str = "", look: str = "", **facts: str) -> Component:
    """A button that starts an action.

    Args:
        act: what the browser script is to do.
        key: the key that does the same, shown on the button.
        why_not: the reason it is disabled; empty means it is not.
        look: an extra class, e.g. `primary` or `danger`.
        facts: further `data-` attributes.
    """
    about = {f"data-{name.replace('_', '-')}": value for name, value in facts.items()}
    return html.Button(
        [html.Span(label), *([html.Kbd(key)] if key else [])],
        className=f"btn {look}".strip(),
        disabled=bool(why_not),
        title=why_not or None,
        **attributes({"data-act": act, **about}),
    )


def select_link(kind: str, identity: str, label: str) -> Component:
    """A word that opens an order, driver or mall in the inspector."""
    return html.Button(
        label, className="link", title=f"Open {kind} {identity}", **attributes({f"data-open-{kind}": identity})
    )


def chip(label: str, tone: str = "") -> Component:
    """A small label; `tone` is a class that colours it (`late`, `at-risk`, `on-time`, `quiet`)."""
    return html.Span(label, className=f"chip {tone}".strip())


def facts(rows: Sequence[tuple[str, Child | None]]) -> Component:
    """A list of names and values; rows whose value is None or empty are left out."""
    cells = [(html.Dt(name), html.Dd(value)) for name, value in rows if value]
    return html.Dl([cell for pair in cells for cell in pair], className="facts")


def note(text: str, tone: str = "") -> Component:
    """A sentence in place of content: why something is empty, or cannot be done."""
    return html.P(text, className=f"note {tone}".strip())


def section(title: str, children: Child, count: str = "") -> Component:
    """A titled part of a panel."""
    heading = html.H3([title, html.Span(count, className="count")] if count else title)
    return html.Section([heading, html.Div(children)], className="part")
