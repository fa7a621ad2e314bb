"""What a reassignment would do to every order it touches, before anybody commits to it.

It must not know how effects are computed.
"""

from collections.abc import Sequence

from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats
from dashboard.panels.pieces import act_button, note, section
from streamer.core.views import OrderView


class Effect(Struct, frozen=True):
    """One order before and after. Instants are UTC epoch ms, lateness is ms beyond the promise."""

    order_id: str
    driver_before: str | None = None
    driver_after: str | None = None
    eta_before_ms: int | None = None
    eta_after_ms: int | None = None
    lateness_before_ms: int | None = None
    lateness_after_ms: int | None = None


def preview_panel(
    order: OrderView,
    driver_id: str,
    effects: Sequence[Effect],
    names: dict[str, str],
    timezone: str,
    offset_ms: int,
) -> Component:
    """The table of effects and the button that commits."""
    name = names.get(driver_id, driver_id)
    verb = "Reassign" if order.driver_id else "Assign"
    facts = {"order": order.id, "driver": driver_id, "version": str(order.version), "verb": verb.lower()}
    commit = act_button("commit", f"{verb} {order.id} to {name}", key="a", look="primary", **facts)
    back = act_button("drop-choice", "Back", key="Esc")
    rows = [_row(effect, order.id, names, timezone, offset_ms) for effect in _moved_first(effects, order.id)]
    header = html.Thead(html.Tr([html.Th(word) for word in ("Order", "At the door", "Effect")]))
    table = html.Table([header, html.Tbody(rows)], className="effects") if rows else note("No other order is touched.")
    summary = html.P(verdict(effects), className=f"verdict {'late' if newly_late(effects) else 'dim'}")
    return section(f"If {name} takes it", [html.Div([commit, back], className="actions"), summary, table])


def newly_late(effects: Sequence[Effect]) -> list[Effect]:
    """The orders that are not late now and would be."""
    return [
        effect for effect in effects if _late_min(effect.lateness_after_ms) > 0 >= _late_min(effect.lateness_before_ms)
    ]


def verdict(effects: Sequence[Effect]) -> str:
    """Who pays, in a sentence: `3 orders touched: o-121 becomes late by 4 min.`, or `…: nobody becomes late.`"""
    late = [
        f"{effect.order_id} becomes late by {_late_min(effect.lateness_after_ms)} min" for effect in newly_late(effects)
    ]
    return f"{formats.count(len(effects), 'order')} touched: {', '.join(late) or 'nobody becomes late'}."


def _late_min(lateness_ms: int | None) -> int:
    """Whole minutes late, rounded as the table shows them, so that the two cannot disagree."""
    return max(0, round((lateness_ms or 0) / formats.MINUTE_MS))


def _moved_first(effects: Sequence[Effect], order_id: str) -> list[Effect]:
    return sorted(effects, key=lambda effect: (effect.order_id != order_id, effect.order_id))


def _row(effect: Effect, moved: str, names: dict[str, str], timezone: str, offset_ms: int) -> Component:
    before, after = (
        formats.clock(instant, timezone, offset_ms) for instant in (effect.eta_before_ms, effect.eta_after_ms)
    )
    late = effect.lateness_after_ms or 0
    worse = late > (effect.lateness_before_ms or 0)
    return html.Tr(
        [
            html.Th([effect.order_id, html.Div(_driver(effect, names), className="dim")], scope="row"),
            html.Td(f"{before} → {after}" if before != after else after),
            html.Td(
                [
                    html.Div(formats.shift(effect.eta_before_ms, effect.eta_after_ms)),
                    html.Div(
                        formats.lateness(effect.lateness_before_ms, effect.lateness_after_ms),
                        className="late" if worse else "at-risk" if late else "dim",
                    ),
                ]
            ),
        ],
        className="moved" if effect.order_id == moved else None,
    )


def _driver(effect: Effect, names: dict[str, str]) -> str:
    before, after = (
        names.get(driver, driver) if driver else "nobody" for driver in (effect.driver_before, effect.driver_after)
    )
    return after if before == after else f"{before} → {after}"
