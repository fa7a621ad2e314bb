"""Sends a person's decision to the streamer and says what came of it.

It must not judge decisions: the streamer does, and its refusal is shown.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, TypedDict

import msgspec
from dash import Dash, Input, Output
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import ids
from dashboard.callbacks.ask import History, ask, ask_floor, call
from dashboard.panels.dialogs import conflict_body, done_note, failed_note, trip_note
from streamer.core.views import OrderView

CALLS: Final = {"undo": "undo", "hand_over": "hand_over", "duty": "duty"}
"""Decisions that are not commands about one order."""
PARAMS: Final = {
    "undo": ("command_id", "reason", "key"),
    "hand_over": ("driver_id", "to_driver_id", "reason", "key"),
    "duty": ("driver_id", "duty", "reason", "key"),
    "command": ("action", "order_id", "expected_version", "driver_id", "reason", "key"),
}
CONFLICTS: Final = {"version_conflict", "bad_transition"}


class Given(Struct, frozen=True):
    """What is read of an order that was given out."""

    command_id: str


class BulkItem(Struct, frozen=True):
    """What came of one command of a bulk."""

    status: int
    body: Given | None = None
    problem: dict[str, object] = {}


class BulkReply(Struct, frozen=True):
    """What came of all of them, in their order."""

    items: tuple[BulkItem, ...]


class Outcome(TypedDict):
    """What `ids.OUTCOME` holds. Of a whole trip, `command_id` has all commands, by commas, and `problem` what was
    refused, by order.
    """

    intent: dict[str, str]
    status: int
    command_id: str
    problem: dict[str, object]


def register(app: Dash) -> None:
    """Binds decisions and what answers them."""

    @app.callback(Output(ids.OUTCOME, "data"), Input(ids.INTENT, "data"), prevent_initial_call=True)
    async def send(intent: dict[str, str]) -> Outcome:
        return await decide(intent)

    @app.callback(
        Output(ids.NOTES, "sendNotifications"),
        Output(ids.CONFLICT, "opened"),
        Output(ids.CONFLICT_BODY, "children"),
        Input(ids.OUTCOME, "data"),
        prevent_initial_call=True,
    )
    async def answer(outcome: Outcome) -> tuple[list[dict[str, object]], bool, Component | None]:
        return await tell(outcome)


async def decide(intent: dict[str, str]) -> Outcome:
    """Carries a decision out. The intent's key makes a repeat harmless."""
    if intent["action"] == "accept_trip":
        return await _accept_trip(intent)
    name = CALLS.get(intent["action"], "command")
    reply = await call(name, **{field: intent[field] for field in PARAMS[name] if field in intent})
    command_id = str(reply.body.get("command_id", ""))
    return Outcome(intent=intent, status=reply.status, command_id=command_id, problem=dict(reply.problem))


async def _accept_trip(intent: dict[str, str]) -> Outcome:
    """Assigns every order of a trip at the version that was shown. Each is taken by itself: one that has changed since
    stays in the queue, and is named.
    """
    shown = [one.rpartition("@") for one in intent["orders"].split(",")]
    commands = [
        {
            "action": "assign", "order_id": order_id, "expected_version": int(version),
            "driver_id": intent["driver_id"], "reason": intent.get("reason", ""), "key": f"{intent['key']}-{number}",
        }
        for number, (order_id, _, version) in enumerate(shown)
    ]  # fmt: skip
    reply = await call("bulk", commands=commands)
    if not reply.ok:
        return Outcome(intent=intent, status=reply.status, command_id="", problem=dict(reply.problem))
    items = msgspec.convert(reply.body, BulkReply).items
    given = [item.body.command_id for item in items if item.body is not None]
    refused = {
        order_id: dict(item.problem) for (order_id, _, _), item in zip(shown, items, strict=True) if item.body is None
    }
    return Outcome(intent=intent, status=200, command_id=",".join(given), problem={"refused": refused})


async def tell(outcome: Outcome) -> tuple[list[dict[str, object]], bool, Component | None]:
    """Notifications, and whether the conflict dialog opens and with what."""
    intent, problem = outcome["intent"], outcome["problem"]
    if outcome["status"] < 400 and intent["action"] == "accept_trip":
        return [trip_note(intent, outcome["command_id"], problem)], False, None
    if outcome["status"] < 400:
        return [done_note(intent, outcome["command_id"])], False, None
    if outcome["status"] == 409 and problem.get("code") in CONFLICTS and "order_id" in intent:
        return [], True, await _conflict(intent, problem)
    return [failed_note(intent, problem)], False, None


async def _conflict(intent: Mapping[str, str], problem: Mapping[str, object]) -> Component:
    order = await _current(intent["order_id"], problem)
    history, (places, names) = await asyncio.gather(
        ask("history", History, order_id=intent["order_id"]), ask_floor(order.mall_id if order else "")
    )
    events = history.items if history else ()
    return conflict_body(intent, problem, order, events, places, names, int(intent.get("offset_ms", 0)))


async def _current(order_id: str, problem: Mapping[str, object]) -> OrderView | None:
    """The order as the refusal brought it along, else asked for."""
    brought = problem.get("order")
    return msgspec.convert(brought, OrderView) if brought else await ask("order", OrderView, order_id=order_id)
