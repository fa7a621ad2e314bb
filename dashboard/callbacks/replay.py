"""Moves a room through its recording, and asks it what is marked there.

It must not know how a recording is sought through. Every call goes to the room that the page is of.
"""

from typing import TypedDict

from dash import ClientsideFunction, Dash, Input, Output

from dashboard import ids
from dashboard.callbacks.ask import call
from dashboard.link import Reply
from dashboard.panels.dialogs import refusal
from dashboard.rooms import current_room

MOVES = ("do", "at_ms", "speed", "step_ms")
TARGETS = ("from_ms", "kind", "order_id", "back")
NONE_WORDS = {
    ("alarm", False): "There is no later alarm in this recording.",
    ("alarm", True): "There is no earlier alarm in this recording.",
    ("command", False): "Nobody decides anything later in this recording.",
    ("command", True): "Nobody decides anything earlier in this recording.",
    ("order", False): "Nothing more happens to this order in this recording.",
    ("order", True): "Nothing happened to this order before.",
}


class Wish(TypedDict, total=False):
    """What the browser script wrote into `ids.REPLAY_DO` or `ids.REPLAY_NEXT`."""

    do: str
    at_ms: int
    speed: float
    step_ms: int
    from_ms: int
    kind: str
    order_id: str
    back: bool
    n: int


class Standing(TypedDict):
    """What `ids.REPLAY_STATUS` holds: the room's own words, which room it is, and what to tell the person.

    `n` is that of the wish: an answer that equals the one before would not reach the browser script.
    """

    n: int
    status: dict[str, object] | None
    room: dict[str, str]
    problem: str
    said: str


def register(app: Dash) -> None:
    """Binds the transport bar."""

    @app.callback(Output(ids.REPLAY_STATUS, "data"), Input(ids.REPLAY_DO, "data"), prevent_initial_call=True)
    async def move(wish: Wish) -> Standing:
        moves = {name: wish[name] for name in MOVES if name in wish}  # type: ignore[literal-required]
        return standing(await call("transport", **moves), wish["n"])

    @app.callback(
        Output(ids.REPLAY_STATUS, "data", allow_duplicate=True),
        Input(ids.REPLAY_NEXT, "data"),
        prevent_initial_call=True,
    )
    async def jump(wish: Wish) -> Standing:
        return await jumped(wish)

    @app.callback(Output(ids.REPLAY_MARKS, "data"), Input(ids.REPLAY_LOOK, "data"), prevent_initial_call=True)
    async def look(_look: dict[str, int]) -> dict[str, object] | None:
        reply = await call("marks")
        return reply.body if reply.ok else None

    for function, store in (("replayStatus", ids.REPLAY_STATUS), ("replayMarks", ids.REPLAY_MARKS)):
        app.clientside_callback(  # type: ignore[no-untyped-call]
            ClientsideFunction("mallard", function), Input(store, "data"), prevent_initial_call=True
        )


def standing(reply: Reply, n: int = 0, said: str = "") -> Standing:
    """A room's answer as the browser script reads it."""
    room = current_room()
    listed = {"source": room.listed.source, "name": room.listed.name} if room else {}
    if reply.ok:
        return Standing(n=n, status=reply.body, room=listed, problem="", said=said)
    return Standing(n=n, status=None, room=listed, problem=refusal(reply.problem), said="")


async def jumped(wish: Wish) -> Standing:
    """Stands at the mark sought, paused, so that it can be looked at; stays where it is when there is none."""
    found = await call("next_mark", **{name: wish[name] for name in TARGETS if name in wish})  # type: ignore[literal-required]
    if not found.ok:
        return standing(found, wish["n"])
    at_ms = found.body.get("at_ms")
    if at_ms is None:
        unread = "" if found.body.get("complete", True) else " The recording is still being read."
        said = NONE_WORDS[wish["kind"], wish.get("back", False)] + unread
        return standing(await call("transport"), wish["n"], said)
    await call("transport", do="pause")
    return standing(await call("transport", do="seek", at_ms=at_ms), wish["n"], str(found.body.get("text", "")))
