"""Shows what giving an order to a driver would do, before it is done.

It must not know how the effects are computed.
"""

import asyncio

from dash import Dash, Input, Output
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import ids
from dashboard.callbacks.ask import ask, ask_floor
from dashboard.panels.pieces import note, section
from dashboard.panels.preview import Effect, preview_panel
from streamer.core.views import OrderView


class Effects(Struct, frozen=True):
    """The streamer's answer to a preview."""

    items: tuple[Effect, ...] = ()


def register(app: Dash) -> None:
    """Binds the preview."""

    @app.callback(Output(ids.INSPECT_PREVIEW, "children"), Input(ids.CHOICE, "data"), prevent_initial_call=True)
    async def show(choice: dict[str, str] | None) -> Component | None:
        return await preview(choice["order_id"], choice["driver_id"], int(choice["offset_ms"])) if choice else None


async def preview(order_id: str, driver_id: str, offset_ms: int) -> Component:
    """The preview panel, or the reason there is none."""
    order, effects = await asyncio.gather(
        ask("order", OrderView, order_id=order_id),
        ask("preview", Effects, order_ids=[order_id], driver_id=driver_id),
    )
    if order is None or effects is None:
        return section("Preview", note("This cannot be previewed now: the order or the driver has moved on."))
    places, names = await ask_floor(order.mall_id)
    timezone = places.timezone(order.mall_id)
    return preview_panel(order, driver_id, effects.items, names, timezone, offset_ms)
