"""A mall in the inspector: its figures, and how long orders have been waiting at each of its stores.

It must not know where figures or orders came from.
"""

from collections import defaultdict
from collections.abc import Sequence

from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats
from dashboard.figures.places import MallShape, Places
from dashboard.panels.pieces import attributes, chip, facts, note, section
from streamer.core.kpis import Kpis
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.views import OrderView

MOST_STORES = 3
"""Of the stores that are expected to be asked most."""


class Outlook(Struct, frozen=True):
    """Orders likely to be placed within `ahead_ms`, by store; `seen` is how many this rests on."""

    ahead_ms: int
    orders: int
    seen: int
    stores: dict[str, int]


def mall_panel(
    mall: MallShape, kpis: Kpis, orders: Sequence[OrderView], now_ms: int, offset_ms: int,
    expected: Outlook | None = None,
) -> Component:  # fmt: skip
    """The inspector for a mall. `orders` are its open ones; `now_ms` is the floor's time; `expected` what may come."""
    here = Places({mall.id: mall})
    return html.Article(
        [
            html.Header([html.H2(mall.name), chip(formats.clock(now_ms, mall.timezone, offset_ms), "quiet")]),
            facts(
                [
                    ("Open orders", f"{kpis.open}, {kpis.unassigned} without a driver"),
                    ("Expected", outlook_words(expected, here)),
                    ("At risk, late", f"{kpis.at_risk}, {kpis.late}"),
                    ("Drivers", f"{kpis.free} free, {kpis.busy} busy, {kpis.silent} silent"),
                    ("Orders per trip", f"{kpis.orders_per_trip:.2f}" if kpis.orders_per_trip is not None else "–"),
                    ("Wait at store", formats.minutes(kpis.wait_at_store_ms) if kpis.wait_at_store_ms else "–"),
                    ("Serves", f"{mall.service_radius_m / 1000:.0f} km around"),
                ]
            ),
            section("Waiting at the stores", _stores(waiting_by_store(orders, now_ms), here)),
        ],
        className="card",
        **attributes({"data-mall": mall.id}),
    )


def outlook_words(expected: Outlook | None, places: Places) -> str:
    """`About 12 orders in the next 30 min, most at Macy's (4), Zara (3)`."""
    if expected is None or not expected.seen:
        return "–"
    most = [f"{places.store_name(store)} ({count})" for store, count in [*expected.stores.items()][:MOST_STORES]]
    where = f", most at {', '.join(most)}" if len(expected.stores) > 1 else ""
    ahead = formats.minutes(expected.ahead_ms)
    return f"About {formats.count(expected.orders, 'order')} in the next {ahead}{where}"


def waiting_by_store(orders: Sequence[OrderView], now_ms: int) -> list[tuple[str, int, int, int]]:
    """Stores with orders not yet collected: (store, orders, of them ready, oldest in ms), longest wait first."""
    waiting: dict[str, list[OrderView]] = defaultdict(list)
    for order in orders:
        if order.status in QUEUED or order.status in GIVEN:
            for store in order.stores:
                waiting[store].append(order)
    rows = [
        (store, len(held), sum(order.is_ready for order in held), now_ms - min(order.placed_ms for order in held))
        for store, held in waiting.items()
    ]
    return sorted(rows, key=lambda row: (-row[3], row[0]))


def _stores(rows: Sequence[tuple[str, int, int, int]], places: Places) -> Component:
    if not rows:
        return note("No store has an order waiting.")
    header = html.Thead(html.Tr([html.Th(word) for word in ("Store", "Waiting", "Ready", "Oldest")]))
    lines = [
        html.Tr(
            [
                html.Th(places.store_name(store), scope="row"),
                html.Td(str(held)),
                html.Td(str(ready)),
                html.Td(formats.minutes(oldest)),
            ]
        )
        for store, held, ready, oldest in rows
    ]
    return html.Table([header, html.Tbody(lines)], className="effects")
