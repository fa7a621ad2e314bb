"""Routes that change orders: the eight commands, bulk, undo, and the preview before them.

It must not know which change is allowed when: the streamer's engine says so.
"""

from fastapi import APIRouter
from starlette.responses import Response

from dashboard.api import models
from dashboard.api.access import IdempotencyKey, IfMatch, Refusal, ask, expected_version, needs, respond
from dashboard.api.orders import OrderId

router = APIRouter(tags=["commands"])

CHANGES: dict[int | str, dict[str, object]] = {
    200: {"model": models.OrderDone},
    404: {"model": models.Problem, "description": "No such order or driver"},
    409: {"model": models.Conflict, "description": "Somebody was first; `order` is what it is now"},
    428: {"model": models.Problem, "description": "`expected_version` is missing"},
}
NEEDS_DRIVER = frozenset({"assign", "reassign"})


SUMMARIES: dict[models.Action, str] = {
    "assign": "Give an order to a driver",
    "reassign": "Move an order to another driver",
    "unassign": "Take an order from its driver, back to the queue",
    "hold": "Keep an order from the autopilot",
    "release": "Let the autopilot have a held or pinned order again",
    "pin": "Keep an order with its driver",
    "ready": "Say that, or when, the store has it ready",
    "cancel": "Cancel an order before pick-up",
}


def _add_command(action: models.Action, summary: str) -> None:
    """A route for each action, so that an unknown one is a 404 and each stands in the OpenAPI."""

    @router.post(
        f"/orders/{{order_id}}/{action}",
        dependencies=[needs("dispatcher")],
        responses=CHANGES,
        summary=summary,
        name=action,
    )
    async def command(
        order_id: OrderId,
        body: models.Decision | None = None,
        key: IdempotencyKey = None,
        if_match: IfMatch = None,
    ) -> Response:
        """Answers with the order as it now is, plus `command_id`."""
        decision = body or models.Decision()
        version = expected_version(decision.expected_version, if_match)
        if action in NEEDS_DRIVER and decision.driver_id is None:
            raise Refusal(422, "bad_field", f"driver_id: {action} needs a driver")
        sent = {**decision.model_dump(), "expected_version": version}
        return respond(await ask("command", {**sent, "action": action, "order_id": order_id, "key": key}))


for _action, _summary in SUMMARIES.items():
    _add_command(_action, _summary)


@router.post(
    "/commands/bulk",
    dependencies=[needs("dispatcher")],
    responses={200: {"model": models.BulkResult}, 428: {"model": models.Problem}},
    summary="Change several orders",
)
async def bulk(body: models.Bulk, key: IdempotencyKey = None) -> Response:
    """Does them in order, with a result for each; one that is refused stops no other.

    An Idempotency-Key stands for each command by its place, unless the command brings a key of its own.

    With `atomic` it stops all: then every result is a refusal, 424 `not_applied` for those that had nothing wrong.
    """
    for place, one in enumerate(body.commands):
        if one.expected_version is None:
            raise Refusal(428, "precondition_required", f"commands.{place}: expected_version is missing")
        if one.action in NEEDS_DRIVER and one.driver_id is None:
            raise Refusal(422, "bad_field", f"commands.{place}.driver_id: {one.action} needs a driver")
    commands = [one.model_dump(exclude_none=True) for one in body.commands]
    for place, command in enumerate(commands):
        if key is not None:
            command.setdefault("key", f"{key}.{place}")
    return respond(await ask("bulk", {"commands": commands, "atomic": body.atomic}))


@router.post(
    "/undo",
    dependencies=[needs("dispatcher")],
    responses={
        200: {"model": models.Undone},
        404: {"model": models.Problem},
        409: {"model": models.Problem, "description": "Later commands depend on it (`not_undoable`)"},
    },
    summary="Take back a command",
)
async def undo(body: models.UndoBody, key: IdempotencyKey = None) -> Response:
    """Does the compensating command."""
    return respond(await ask("undo", {**body.model_dump(), "key": key}))


@router.post(
    "/preview",
    dependencies=[needs("dispatcher")],
    responses={200: {"model": models.Effects}, 404: {"model": models.Problem}},
    summary="Look before reassigning",
)
async def preview(body: models.PreviewBody) -> Response:
    """The ETA and lateness of **every** order of every driver touched, before and after. Changes nothing."""
    return respond(await ask("preview", body.model_dump()))
