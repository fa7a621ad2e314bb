"""Forks a room, holds both worlds against each other, and asks where the recorded one has its drivers.

It must not know how a fork is lived, nor judge what is changed in it: the streamer does, and its refusal is shown.
"""

import asyncio
from typing import TypedDict

import msgspec
from dash import ClientsideFunction, Dash, Input, Output, State, no_update
from dash.development.base_component import Component

from dashboard import formats, ids
from dashboard.auth import current_principal
from dashboard.callbacks.ask import ask, ask_places, call, why_not
from dashboard.callbacks.replay import standing
from dashboard.figures.places import Places
from dashboard.panels.autopilot import Autopilots
from dashboard.panels.compare import Comparison, compare_panel
from dashboard.panels.dialogs import refusal
from dashboard.panels.fork import ForkForm, mall_options, read_fork, store_options
from dashboard.panels.pieces import note

FORM = {
    "policy": (ids.FORK_POLICY, "value"),
    "hold": (ids.FORK_HOLD, "value"),
    "drivers_mall": (ids.FORK_DRIVERS_MALL, "value"),
    "drivers": (ids.FORK_DRIVERS, "value"),
    "store": (ids.FORK_STORE, "value"),
    "late_min": (ids.FORK_LATE, "value"),
}


class Moment(TypedDict):
    """What the browser script wrote into `ids.FORK_ASK` and `ids.COMPARE_LOOK`; `mall_id` gives the time zone."""

    at_ms: int
    offset_ms: int
    mall_id: str | None


def register(app: Dash) -> None:
    """Binds the dialog, the comparison and the ghosts on the map."""

    @app.callback(
        Output(ids.FORK_DIALOG, "opened"),
        Output(ids.FORK_LEAD, "children"),
        Output(ids.FORK_DRIVERS_MALL, "data"),
        Output(ids.FORK_DRIVERS_MALL, "value"),
        Output(ids.FORK_STORE, "data"),
        Output(ids.FORK_PROBLEM, "children", allow_duplicate=True),
        Input(ids.FORK_ASK, "data"),
        prevent_initial_call=True,
    )
    async def open_dialog(moment: Moment) -> tuple[object, ...]:
        return await opened(moment)

    @app.callback(Output(ids.COMPARE, "children"), Input(ids.COMPARE_LOOK, "data"), prevent_initial_call=True)
    async def compare(moment: Moment) -> Component:
        return await compared(moment)

    @app.callback(Output(ids.GHOSTS, "data"), Input(ids.GHOSTS_LOOK, "data"), prevent_initial_call=True)
    async def ghosts(look: dict[str, int]) -> dict[str, object]:
        reply = await call("recorded")
        return {"n": look["n"], "recorded": reply.body if reply.ok else None}

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("mallard", "ghosts"), Input(ids.GHOSTS, "data"), prevent_initial_call=True
    )

    @app.callback(
        output={
            "problem": Output(ids.FORK_PROBLEM, "children"),
            "opened": Output(ids.FORK_DIALOG, "opened", allow_duplicate=True),
            "standing": Output(ids.REPLAY_STATUS, "data", allow_duplicate=True),
        },
        inputs={"clicks": Input(ids.FORK_GO, "n_clicks")},
        state={"form": {name: State(*place) for name, place in FORM.items()}},
        prevent_initial_call=True,
    )
    async def go(clicks: int, form: dict[str, object]) -> dict[str, object]:
        return await fork(msgspec.convert(form, ForkForm))


async def opened(moment: Moment) -> tuple[object, ...]:
    """Opened, words, malls and the first of them, stores, and no problem yet."""
    places = await ask_places() or Places({})
    clock = formats.clock(
        moment["at_ms"], places.timezone(moment["mall_id"] or ""), moment["offset_ms"], seconds=True
    )  # fmt: skip
    lead = note(
        f"From {clock} on this room goes its own way: orders and stores come as recorded, drivers are simulated "
        "from where they are. The recording stays as it is."
    )
    malls = mall_options(places)
    return True, lead, malls, malls[0]["value"] if malls else None, store_options(places), ""


async def fork(form: ForkForm) -> dict[str, object]:
    """Forks with the changes of the form, or says what is wrong with them."""
    found = await ask("autopilot", Autopilots)
    rules = {item.mall_id: msgspec.to_builtins(item.rules) for item in (found.items if found else ())}
    changes = read_fork(form, rules)
    problem = changes if isinstance(changes, str) else why_not(current_principal())
    if isinstance(changes, str) or problem:
        return {"problem": problem, "opened": no_update, "standing": no_update}
    reply = await call("fork", **changes)
    if not reply.ok:
        return {"problem": refusal(reply.problem), "opened": no_update, "standing": no_update}
    return {"problem": "", "opened": False, "standing": standing(await call("transport"))}


async def compared(moment: Moment) -> Component:
    """Both worlds, or why they cannot be compared."""
    reply, places = await asyncio.gather(call("comparison"), ask_places())
    if not reply.ok:
        return note(f"There is no comparison yet. {refusal(reply.problem)}")
    timezone = (places or Places({})).timezone(moment["mall_id"] or "")
    return compare_panel(msgspec.convert(reply.body, Comparison), timezone, moment["offset_ms"])
