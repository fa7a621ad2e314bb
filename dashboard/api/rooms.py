"""Routes of replay: what can be replayed, rooms opened and closed, and how one is moved through its recording.

It must not know how a recording is played, nor where a room is: what names one is led there by `dashboard.room_door`.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from dashboard.api import models
from dashboard.api.access import ask, needs, respond

router = APIRouter(tags=["replay"])
RoomId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
CLOSED: dict[int | str, dict[str, object]] = {
    410: {"model": models.Problem, "description": "The room was closed, or is for another role (`room_closed`)"}
}


@router.get(
    "/recordings",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.Recordings}},
    summary="List what can be replayed",
)
async def recordings() -> Response:
    """Fixtures, and for ops leads the floor's own day (`journal`). What cannot be played comes with its `problem`."""
    return respond(await ask("recordings"))


@router.post(
    "/rooms",
    status_code=201,
    dependencies=[needs("viewer")],
    responses={
        201: {"model": models.Room},
        404: {"model": models.Problem, "description": "No such recording"},
        409: {"model": models.Problem, "description": "The recording cannot be played (`bad_recording`)"},
        429: {"model": models.Problem, "description": "No place for another room (`too_many_rooms`)"},
    },
    summary="Open a replay room",
)
async def open_room(body: models.RoomBody) -> Response:
    """A floor of its own that plays the recording. It ends when closed, or five minutes after the last reader left."""
    return respond(await ask("open_room", body.model_dump()))


@router.get(
    "/rooms", dependencies=[needs("viewer")], responses={200: {"model": models.Rooms}}, summary="List the replay rooms"
)
async def list_rooms() -> Response:
    """Those that are open, of the caller's role."""
    return respond(await ask("rooms"))


@router.delete(
    "/rooms/{room}",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.RoomClosed}, 404: {"model": models.Problem, "description": "No such room"}},
    summary="Close a replay room",
)
async def close_room(room: RoomId) -> Response:
    """Whoever opened it may, and ops leads."""
    return respond(await ask("close_room", {"room": room}))


@router.post(
    "/rooms/{room}/transport",
    dependencies=[needs("viewer")],
    responses={
        200: {"model": models.TransportStatus},
        409: {"model": models.Problem, "description": "The recording is damaged before that instant (`damaged`)"},
        **CLOSED,
    },
    summary="Play, pause, step, seek, or change the speed of a room",
)
async def transport(room: RoomId, body: models.TransportBody | None = None) -> Response:
    """Answers with how the room then stands. Instants are those of the recording."""
    wish = (body or models.TransportBody()).model_dump()
    return respond(await ask("transport", wish))


@router.get(
    "/rooms/{room}/marks",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.Marks}, **CLOSED},
    summary="Alarms, decisions and figures over a room's recording",
)
async def marks(room: RoomId) -> Response:
    """As far as the recording has been read, which takes some seconds after a room was opened."""
    return respond(await ask("marks"))
