"""Shows which recordings and rooms there are, and has the live floor open or close one.

It must not judge who may: the live floor does, and its refusal is shown.
"""

import asyncio
from typing import TypedDict

from dash import ClientsideFunction, Dash, Input, Output
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import ids
from dashboard.auth import current_principal
from dashboard.callbacks.ask import ask, ask_places, call
from dashboard.figures.places import Places
from dashboard.panels.dialogs import refusal
from dashboard.panels.gallery import OpenRoom, Recording, gallery
from dashboard.panels.pieces import note


class RecordingList(Struct, frozen=True):
    """The streamer's answer to `recordings`."""

    items: tuple[Recording, ...] = ()


class RoomList(Struct, frozen=True):
    """Its answer to `rooms`."""

    items: tuple[OpenRoom, ...] = ()


class Wanted(TypedDict):
    """What the browser script wrote into `ids.REPLAY_OPEN`."""

    source: str
    at_ms: int | None


class Opened(TypedDict):
    """What `ids.REPLAY_OPENED` holds; one of `room` and `problem` is empty."""

    room: str
    source: str
    at_ms: int | None
    problem: str


def register(app: Dash) -> None:
    """Binds the gallery."""

    @app.callback(Output(ids.GALLERY, "children"), Input(ids.GALLERY_LOOK_UP, "data"), prevent_initial_call=True)
    async def show(_look_up: dict[str, int]) -> list[Component]:
        return await cards()

    @app.callback(Output(ids.REPLAY_OPENED, "data"), Input(ids.REPLAY_OPEN, "data"), prevent_initial_call=True)
    async def open_room(wanted: Wanted) -> Opened:
        return await opened(wanted)

    @app.callback(
        Output(ids.GALLERY, "children", allow_duplicate=True),
        Output(ids.GALLERY_PROBLEM, "children"),
        Input(ids.REPLAY_CLOSE, "data"),
        prevent_initial_call=True,
    )
    async def close_room(unwanted: dict[str, str]) -> tuple[list[Component], str]:
        reply = await call("close_room", room=unwanted["room"])
        return await cards(), "" if reply.ok else refusal(reply.problem)

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("mallard", "replayOpened"), Input(ids.REPLAY_OPENED, "data"), prevent_initial_call=True
    )


async def cards() -> list[Component]:
    """The gallery as this person may see it, or why it is empty."""
    recordings, rooms, places = await asyncio.gather(
        ask("recordings", RecordingList), ask("rooms", RoomList), ask_places()
    )
    if recordings is None:
        return [note("The floor does not say which recordings there are. It is asked again in a few seconds.")]
    names = {mall.id: mall.name for mall in (places or Places({})).malls.values()}
    return gallery(recordings.items, rooms.items if rooms else (), current_principal(), names)


async def opened(wanted: Wanted) -> Opened:
    """Where the recording plays now, or why it does not."""
    reply = await call("open_room", source=wanted["source"], at_ms=wanted["at_ms"])
    room = str(reply.body.get("room", ""))
    return Opened(room=room, problem="" if reply.ok else refusal(reply.problem), **wanted)
