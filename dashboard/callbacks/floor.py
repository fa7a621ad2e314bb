"""Draws what stands still on the floor: malls, the choice of malls, the account, the selected route, the hand-over.

It must not touch anything that moves with the feed.
"""

from collections.abc import Callable

from dash import ClientsideFunction, Dash, Input, Output, Patch, State, no_update
from dash.development.base_component import Component

from dashboard import ids
from dashboard.auth import current_principal
from dashboard.callbacks.ask import DriverList, ask, ask_places
from dashboard.figures.floor_map import ROUTE_LINE, ROUTE_STOPS, floor_map, route_traces
from dashboard.figures.places import Places
from dashboard.panels.dialogs import hand_over_body
from dashboard.panels.header import account, mall_choices
from streamer.core.views import DriverView

TO_QUEUE = "queue"
"""The choice in the hand-over that names no driver."""


def register(app: Dash) -> None:
    """Binds the still parts and the few controls that the browser script answers."""

    @app.callback(
        Output(ids.MAP, "figure"),
        Output(ids.MALL_FILTER, "children"),
        Output(ids.ACCOUNT, "children"),
        Input(ids.WAKE, "data"),
        prevent_initial_call=True,
    )
    async def wake(_bumped: int) -> tuple[Patch, list[Component], Component]:
        places, who = await ask_places() or Places({}), current_principal()
        return malls_patch(places), mall_choices(places), account(who.name, who.role)

    @app.callback(Output(ids.MAP, "figure", allow_duplicate=True), Input(ids.ROUTE, "data"), prevent_initial_call=True)
    async def route(wanted: dict[str, str]) -> Patch:
        driver_id = wanted["driver_id"]
        return route_patch(await ask("driver", DriverView, driver_id=driver_id) if driver_id else None)

    @app.callback(
        Output(ids.HAND_OVER, "opened"),
        Output(ids.HAND_OVER_BODY, "children"),
        Output(ids.HAND_OVER_TARGET, "data"),
        Output(ids.HAND_OVER_TARGET, "value"),
        Input(ids.HANDING, "data"),
        prevent_initial_call=True,
    )
    async def hand_over(handing: dict[str, str]) -> tuple[object, ...]:
        return await hand_over_dialog(handing["driver_id"])

    _bind_browser(app)


def _bind_browser(app: Dash) -> None:
    """Controls whose answer needs no server."""
    bind: Callable[..., None] = app.clientside_callback
    bind(ClientsideFunction("mallard", "malls"), Input(ids.MALL_FILTER, "value"), prevent_initial_call=True)
    bind(ClientsideFunction("mallard", "layer"), Input(ids.HEX_LAYER, "value"), prevent_initial_call=True)
    bind(ClientsideFunction("mallard", "outcome"), Input(ids.OUTCOME, "data"), prevent_initial_call=True)
    bind(
        ClientsideFunction("mallard", "handOver"),
        Output(ids.HAND_OVER, "opened", allow_duplicate=True),
        Input(ids.HAND_OVER_GO, "n_clicks"),
        State(ids.HANDING, "data"),
        State(ids.HAND_OVER_TARGET, "value"),
        prevent_initial_call=True,
    )


def malls_patch(places: Places) -> Patch:
    """The change to the map's figure that draws the malls; the layout, and with it a person's view, is not touched."""
    patch = Patch()
    patch["data"] = floor_map(places).to_plotly_json()["data"]
    return patch


def route_patch(driver: DriverView | None) -> Patch:
    """The change to the map's figure that shows this driver's route, or none."""
    stops = [{"lat": stop.lat, "lng": stop.lng} for stop in driver.route] if driver else []
    start = (driver.lat, driver.lng) if driver and driver.lat is not None and driver.lng is not None else None
    patch = Patch()
    for place, trace in zip((ROUTE_LINE, ROUTE_STOPS), route_traces(stops, start if stops else None), strict=True):
        for field in ("lat", "lon", "text"):
            if trace[field] is not None:
                patch["data"][place][field] = trace[field]
    return patch


async def hand_over_dialog(driver_id: str) -> tuple[object, ...]:
    """Opened, words, choices and the first choice of the hand-over; not opened when the driver is gone."""
    driver = await ask("driver", DriverView, driver_id=driver_id)
    if driver is None:
        return False, no_update, no_update, no_update
    others = await ask(
        "drivers", DriverList, mall_id=driver.region or driver.mall_id, state=["free", "busy", "at_store"]
    )
    choices = [{"value": TO_QUEUE, "label": "Nobody: back to the queue"}]
    choices += [
        {"value": other.id, "label": f"{other.name} · {other.state.replace('_', ' ')} · {len(other.order_ids)} orders"}
        for other in (others.items if others else ())
        if other.id != driver_id
    ]
    return True, hand_over_body(driver.name or driver.id, len(driver.order_ids)), choices, TO_QUEUE
