"""An order in the inspector: its promise, what it is, and what can be done with it.

It must not know where the order came from, or who may act beyond the reason it is given.
"""

from collections.abc import Sequence
from typing import Final

from dash import html
from dash.development.base_component import Component

from dashboard import formats
from dashboard.figures.places import Places
from dashboard.panels.advice import advice_block
from dashboard.panels.pieces import act_button, attributes, chip, facts, note, select_link
from streamer.core.events import Dropoff
from streamer.core.orders import ENDED, GIVEN, QUEUED
from streamer.core.views import OrderView

RISK_TONES: Final = {"on_time": "on-time", "at_risk": "at-risk", "late": "late"}


def order_panel(
    order: OrderView,
    places: Places,
    driver_names: dict[str, str],
    offset_ms: int,
    why_not: str = "",
    *,
    now_ms: int,
    mates: Sequence[OrderView] = (),
) -> Component:
    """The upper part of the inspector for an order: what to know and what to do; `order_details` is the rest.

    Args:
        driver_names: names by driver id, at least of the order's own driver.
        offset_ms: what turns the floor's time into the recorded one.
        now_ms: the floor's time.
        mates: the other orders of the trip that the autopilot suggests.
        why_not: why this person cannot act at all; empty for a dispatcher.
    """
    timezone = places.timezone(order.mall_id)
    advice = advice_block(order, mates, driver_names, timezone, offset_ms, now_ms, why_not)
    return html.Article(
        [
            _title(order, now_ms),
            _promise(order, timezone, offset_ms),
            *([advice] if advice else []),
            html.Div(action_buttons(order, why_not), className="actions"),
            *([note(why_not)] if why_not else []),
        ],
        className="card",
        **attributes({"data-order": order.id, "data-version": str(order.version)}),
    )


def _title(order: OrderView, now_ms: int) -> Component:
    risk = chip(formats.RISK_WORDS[order.risk], RISK_TONES[order.risk]) if order.status not in ENDED else None
    marks = [chip(word, "quiet") for word, on in (("On hold", order.held), ("Pinned", order.pinned)) if on]
    until_ms = order.offered_until_ms
    offered = f"Offered · {formats.left(until_ms, now_ms)}" if until_ms is not None else ""
    status = chip(offered or formats.words(order.status, formats.STATUS_WORDS))
    return html.Header([html.H2(order.id), status, *([risk] if risk else []), *marks])


def _promise(order: OrderView, timezone: str, offset_ms: int) -> Component:
    ended = order.status in ENDED
    arrival_ms = order.ended_ms if ended else order.eta_dropoff_ms
    words = formats.promise(order.due_ms, arrival_ms) if not ended or order.status == "delivered" else "ended"
    tone = RISK_TONES[order.risk] if not ended else "quiet"
    return html.Div(
        [
            _figure("Promised", formats.clock(order.due_ms, timezone, offset_ms), html.Span(words, className=tone)),
            _eta(order, arrival_ms, ended, timezone, offset_ms),
        ],
        className="figures",
    )


def _eta(order: OrderView, arrival_ms: int | None, ended: bool, timezone: str, offset_ms: int) -> Component:
    """The ETA with the times that four of five deliveries come between; the time itself of what has ended."""
    between = "" if ended else formats.between(order.eta_low_ms, order.eta_high_ms, timezone, offset_ms)
    hint = html.Span(between, className="dim", title="Four of five deliveries come between these times")
    return _figure("Ended" if ended else "ETA", formats.clock(arrival_ms, timezone, offset_ms), hint)


def _figure(name: str, value: str, hint: Component) -> Component:
    return html.Div([html.Small(name), html.Strong(value), hint])


def order_details(order: OrderView, places: Places, driver_names: dict[str, str], offset_ms: int) -> Component:
    """Who has the order, where it comes from and where it goes."""
    timezone = places.timezone(order.mall_id)
    driver = order.driver_id
    until_ms = order.offered_until_ms
    lapses = f" · has not answered, lapses {formats.clock(until_ms, timezone, offset_ms)}" if until_ms else ""
    stores = ", ".join(places.store_name(store) for store in order.stores)
    ready = formats.clock(order.ready_ms, timezone, offset_ms)
    home = order.dropoff
    return facts(
        [
            ("Driver", [_driver(driver, driver_names), lapses] if driver else "nobody yet"),
            ("Collect at", [stores, " · ", select_link("mall", order.mall_id, places.mall_name(order.mall_id))]),
            ("Store", "ready" if order.is_ready else f"promises {ready}" if order.ready_ms else "has not said when"),
            ("Items", f"{order.items} · placed {formats.clock(order.placed_ms, timezone, offset_ms)}"),
            ("Customer", " · ".join(part for part in (home.name, formats.masked_phone(home.phone)) if part)),
            ("Deliver to", " · ".join(part for part in (home.address or _coordinates(home), home.notes) if part)),
        ]
    )


def _driver(driver_id: str, names: dict[str, str]) -> Component:
    return select_link("driver", driver_id, names.get(driver_id, driver_id))


def _coordinates(home: Dropoff) -> str:
    return f"{home.lat:.5f}, {home.lng:.5f}"


def action_buttons(order: OrderView, why_not: str = "") -> list[Component]:
    """What can be done with the order as it is now; choosing a driver is done on the candidates."""
    if order.status in ENDED:
        return []
    given, queued = order.status in GIVEN, order.status in QUEUED
    stopped = order.held or order.pinned
    buttons = [
        ("unassign", "Unassign", "u", "", given),
        ("release", "Release", "h", "", stopped and (given or queued)),
        ("hold", "Hold", "h", "", not order.held and (given or queued)),
        ("pin", "Pin", "p", "", given and not order.pinned),
        ("ready", "Store ready", "", "", not order.is_ready and (given or queued)),
        ("cancel", "Cancel", "", "danger", given or queued),
    ]
    return [
        act_button(act, label, key=key, why_not=why_not, look=look) for act, label, key, look, fits in buttons if fits
    ] or [note("Collected: it can only be handed over with all its driver carries. Open the driver for that.")]
