"""What the autopilot makes of an order, in the inspector: its word and why, its suggestion, who shares the trip.

It must not know how advice is made, and it decides nothing: a person accepts by the way every assignment goes.
"""

from collections.abc import Mapping, Sequence

from dash import html
from dash.development.base_component import Component

from dashboard import formats
from dashboard.panels.cost import bar, legend, positive, terms_in_use
from dashboard.panels.pieces import act_button, attributes, chip, select_link
from streamer.core.events import Advice
from streamer.core.orders import QUEUED
from streamer.core.views import OrderView

PRICE_WORDS = (
    "Minutes it costs, and what the next best driver would cost more for this order alone; the plan weighs all orders"
)
TONES = {"failed": "late", "suggested": "asks", "planned": "on-time"}


def advice_block(
    order: OrderView,
    mates: Sequence[OrderView],
    names: Mapping[str, str],
    timezone: str,
    offset_ms: int,
    now_ms: int,
    why_not: str = "",
) -> Component | None:
    """The block, or None for an order that the autopilot says nothing about.

    Args:
        mates: the other orders of the suggested trip, as far as they could be had.
        names: names by driver id.
        now_ms: the floor's time.
        why_not: why this person cannot accept; empty for a dispatcher.
    """
    advice = order.advice
    if advice is None or order.status not in QUEUED:
        return None
    word = formats.words(advice.word, formats.ADVICE_WORDS)
    late = late_mates(order, mates)
    price = html.Span(_price(advice), className="count", title=PRICE_WORDS)
    title: list[str | Component] = ["Autopilot", chip(word, TONES.get(advice.word, "quiet")), price]
    return html.Section(
        [
            html.H3(title),
            html.P(sentence(order, names, timezone, offset_ms, now_ms, late)),
            *_cost(advice),
            *_trip(order, mates, timezone, offset_ms),
            *_accept(order, advice, mates, names, why_not),
        ],
        className="advice",
        tabIndex=0,
        **attributes({"data-advice": advice.word, "aria-label": f"Autopilot: {word}"}),
    )


def sentence(
    order: OrderView, names: Mapping[str, str], timezone: str, offset_ms: int, now_ms: int, late: Sequence[str]
) -> str:
    """What it makes of the order and why, for example `Give it to Ana R. Nearest with room. At the door 14:32.`"""
    advice = order.advice
    if advice is None:
        return ""
    driver = names.get(advice.driver_id or "", advice.driver_id or "")
    leads = {
        "waits": "Waits on purpose" if driver else "Waits",
        "planned": f"It will go to {driver}" if driver else "It has a place in the plan",
        "suggested": f"Give it to {driver}" if driver else "A person is to decide",
        "failed": "Nobody can take it now",
        "left_to_people": "Left to you",
    }
    reason = advice.reason[:1].upper() + advice.reason[1:]
    parts = [leads[advice.word], reason, _hold(advice, now_ms, late), _times(advice, timezone, offset_ms)]
    return " ".join(formats.sentence(part) for part in parts if part)


def _hold(advice: Advice, now_ms: int, late: Sequence[str]) -> str:
    """`Hold 4 min: +1 order on this trip, nobody late`; empty when it need not wait, or not for anybody."""
    more = len(advice.trip) - 1
    span_ms = (advice.depart_ms or 0) - now_ms
    if more < 1 or span_ms < formats.MINUTE_MS:
        return ""
    trouble = f"{', '.join(late)} late" if late else "nobody late"
    return f"Hold {formats.age(span_ms)}: +{formats.count(more, 'order')} on this trip, {trouble}"


def _times(advice: Advice, timezone: str, offset_ms: int) -> str:
    moments = (
        ("sets off by", advice.depart_ms),
        ("leaves the mall", advice.leave_ms),
        ("at the door", advice.eta_dropoff_ms),
    )
    known = [f"{word} {formats.clock(at_ms, timezone, offset_ms)}" for word, at_ms in moments if at_ms is not None]
    return f"By its plan: {', '.join(known)}" if known else ""


def late_mates(order: OrderView, mates: Sequence[OrderView]) -> list[str]:
    """The orders of the trip that would be at the door after their promise, this one among them."""
    return [one.id for one in (order, *mates) if (planned_eta_ms(one) or 0) > one.due_ms]


def planned_eta_ms(order: OrderView) -> int | None:
    """When the plan has the order at the door; of an order without one, its ETA."""
    planned = order.advice.eta_dropoff_ms if order.advice and order.status in QUEUED else None
    return planned if planned is not None else order.eta_dropoff_ms


def _cost(advice: Advice) -> list[Component]:
    if advice.cost_min is None:
        return []
    shown = terms_in_use([advice.terms])
    return [html.Div([bar(advice.terms, shown, positive(advice.terms) or 1.0), legend(shown, advice.terms)])]


def _price(advice: Advice) -> str:
    """`16.0 min · next best +3.2`."""
    if advice.cost_min is None:
        return ""
    # Below nought, another driver would be cheaper for this order alone: the plan weighs all orders together.
    regret = advice.regret_min
    return f"{advice.cost_min:.1f} min" + (
        f" · next best {regret:+.1f}".replace("-", "−") if regret is not None else ""
    )


def _trip(order: OrderView, mates: Sequence[OrderView], timezone: str, offset_ms: int) -> list[Component]:
    advice = order.advice
    if advice is None or len(advice.trip) < 2:
        return []
    known = {one.id: one for one in (order, *mates)}
    rows = [_stop(order_id, known.get(order_id), order.id, timezone, offset_ms) for order_id in advice.trip]
    return [html.Ol(rows, className="route", **attributes({"aria-label": "The trip, by drop-off"}))]


def _stop(order_id: str, stop: OrderView | None, own: str, timezone: str, offset_ms: int) -> Component:
    name = html.Strong(order_id) if order_id == own else select_link("order", order_id, order_id)
    if stop is None:
        return html.Li([name, html.Span(" not on the floor any more", className="dim")])
    eta_ms = planned_eta_ms(stop)
    tone = "late" if (eta_ms or 0) > stop.due_ms else "dim"
    promise = html.Span(f" {formats.promise(stop.due_ms, eta_ms)}", className=tone)
    return html.Li([name, promise, html.Time(formats.clock(eta_ms, timezone, offset_ms))])


def trip_of(order: OrderView, mates: Sequence[OrderView]) -> list[OrderView]:
    """The orders of the suggested trip that nobody has yet and that are meant for the same driver, by drop-off."""
    advice, known = order.advice, {one.id: one for one in (order, *mates)}
    if advice is None or advice.driver_id is None:
        return []
    found = [known[one] for one in advice.trip if one in known]
    return [
        one
        for one in found
        if one.status in QUEUED and one.advice is not None and one.advice.driver_id == advice.driver_id
    ]


def _accept_trip(order: OrderView, mates: Sequence[OrderView], name: str, why_not: str) -> list[Component]:
    """The button that gives the whole trip out, each order at the version that is shown."""
    trip = trip_of(order, mates)
    if order.advice is None or len(trip) < 2:
        return []
    orders = ",".join(f"{one.id}@{one.version}" for one in trip)
    label = f"Accept the trip: {formats.count(len(trip), 'order')} to {name}"
    return [act_button("accept-trip", label, why_not=why_not, orders=orders, driver=order.advice.driver_id or "")]


def _accept(
    order: OrderView, advice: Advice, mates: Sequence[OrderView], names: Mapping[str, str], why_not: str
) -> list[Component]:
    """The buttons that accept. Of one order the effect is shown first, and what is shown is what is committed."""
    if advice.driver_id is None:
        return []
    name = names.get(advice.driver_id, advice.driver_id)
    label = f"Do not wait: give it to {name}" if advice.word == "waits" else f"Accept: give it to {name}"
    facts = {"order": order.id, "driver": advice.driver_id}
    look = "primary" if advice.word == "suggested" else ""
    accept = act_button("accept", label, key="y", why_not=why_not, look=look, **facts)
    return [html.Div([accept, *_accept_trip(order, mates, name, why_not)], className="actions")]
