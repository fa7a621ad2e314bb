"""Fills the inspector when something is selected, or when what is selected changed.

It must not know why it is asked: the browser script bumps the selection, never once a frame.
"""

import asyncio
from typing import Literal, TypedDict

from dash import Dash, Input, Output, State
from dash.development.base_component import Component

from dashboard import ids
from dashboard.auth import current_principal
from dashboard.callbacks.ask import History, OrderList, ask, ask_floor, ask_places, why_not
from dashboard.figures.places import Places
from dashboard.panels.candidates import Ranking, candidates_panel
from dashboard.panels.driver import driver_panel
from dashboard.panels.inspector import gone, nothing_selected
from dashboard.panels.mall import Outlook, mall_panel
from dashboard.panels.order import order_details, order_panel
from dashboard.panels.pieces import note, section
from dashboard.panels.timeline import timeline
from streamer.core.kpis import Kpis
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.views import DriverView, OrderView

UNREACHABLE = "It is not on the floor any more, it is outside your malls, or the floor cannot be reached just now."
Shown = tuple[Component, Component | None, Component | None, Component | None]
"""Main panel, details, candidates, timeline."""


class Selection(TypedDict):
    """What the browser script wrote into `ids.SELECTION`."""

    kind: Literal["order", "driver", "mall"]
    id: str
    at_ms: int
    offset_ms: int


def register(app: Dash) -> None:
    """Binds the inspector."""

    @app.callback(
        Output(ids.INSPECT_MAIN, "children"),
        Output(ids.INSPECT_DETAILS, "children"),
        Output(ids.INSPECT_CANDIDATES, "children"),
        Output(ids.INSPECT_TIMELINE, "children"),
        Input(ids.SELECTION, "data"),
        State(ids.CHOICE, "data"),
        prevent_initial_call=True,
    )
    async def show(selection: Selection | None, choice: dict[str, str] | None) -> Shown:
        return await inspect(selection, (choice or {}).get("driver_id"))


async def inspect(selection: Selection | None, chosen: str | None) -> Shown:
    """The four parts of the inspector for what is selected."""
    if not selection:
        return nothing_selected(), None, None, None
    identity, offset_ms = selection["id"], selection["offset_ms"]
    if selection["kind"] == "order":
        return await _order(identity, selection["at_ms"], offset_ms, chosen)
    if selection["kind"] == "driver":
        return await _driver(identity, offset_ms), None, None, None
    return await _mall(identity, selection["at_ms"], offset_ms), None, None, None


async def _order(order_id: str, at_ms: int, offset_ms: int, chosen: str | None) -> Shown:
    order = await ask("order", OrderView, order_id=order_id)
    if order is None:
        return gone("order", order_id, UNREACHABLE), None, None, None
    (places, names), history, candidates, mates = await asyncio.gather(
        ask_floor(order.mall_id), ask("history", History, order_id=order_id), _candidates(order), _mates(order)
    )
    timezone = places.timezone(order.mall_id)
    ranked = _ranked(candidates, names, timezone, offset_ms, chosen) if _can_move(order) else None
    events = timeline(history.items if history else (), {**places.stores(), **names}, timezone, offset_ms)
    panel = order_panel(order, places, names, offset_ms, why_not(current_principal()), now_ms=at_ms, mates=mates)
    return panel, order_details(order, places, names, offset_ms), ranked, events


def _can_move(order: OrderView) -> bool:
    return order.status in QUEUED or order.status in GIVEN


async def _mates(order: OrderView) -> list[OrderView]:
    """The other orders of the trip that the autopilot has in mind; those that are gone are left out."""
    others = [one for one in (order.advice.trip if order.advice else ()) if one != order.id]
    found = await asyncio.gather(*(ask("order", OrderView, order_id=one) for one in others))
    return [one for one in found if one is not None]


async def _candidates(order: OrderView) -> Ranking | None:
    if not _can_move(order) or not current_principal().may("dispatcher"):
        return None
    return await ask("candidates", Ranking, order_id=order.id, limit=5)


def _ranked(
    ranking: Ranking | None, names: dict[str, str], timezone: str, offset_ms: int, chosen: str | None
) -> Component:
    if ranking is not None:
        return candidates_panel(ranking, names, timezone, offset_ms, chosen)
    said = why_not(current_principal()) or "The floor did not rank the drivers. It is asked again in a few seconds."
    return section("Candidates", note(said))


async def _driver(driver_id: str, offset_ms: int) -> Component:
    driver, places = await asyncio.gather(ask("driver", DriverView, driver_id=driver_id), ask_places())
    if driver is None:
        return gone("driver", driver_id, UNREACHABLE)
    return driver_panel(driver, places or Places({}), offset_ms, why_not(current_principal()))


async def _mall(mall_id: str, at_ms: int, offset_ms: int) -> Component:
    places, expected, kpis, orders = await asyncio.gather(
        ask_places(),
        ask("expected", Outlook, mall_id=mall_id),
        ask("kpis", Kpis, mall_id=mall_id),
        ask("orders", OrderList, mall_id=mall_id, status=[*QUEUED, *GIVEN], limit=500),
    )
    if places is None or kpis is None or mall_id not in places.malls:
        return gone("mall", mall_id, UNREACHABLE)
    return mall_panel(places.malls[mall_id], kpis, orders.items if orders else (), at_ms, offset_ms, expected)
