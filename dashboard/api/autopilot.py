"""Routes of the autopilot: how it is set at each mall, how it is doing, and setting it.

It must not know how a plan is made.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from dashboard.api import models
from dashboard.api.access import IdempotencyKey, ask, needs, respond

router = APIRouter(tags=["autopilot"])
MallId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


@router.get(
    "/autopilot",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.Autopilots}},
    summary="Read how the autopilot is set, and how it is doing",
)
async def read_autopilot() -> Response:
    """Of every mall in scope: its rules, and whether its last look came to a plan."""
    return respond(await ask("autopilot"))


@router.put(
    "/autopilot/{mall_id}",
    dependencies=[needs("ops-lead")],
    responses={
        200: {"model": models.AutopilotDone},
        404: {"model": models.Problem, "description": "No such mall"},
        409: {"model": models.Problem, "description": "On a recording it only suggests (`only_suggests`)"},
    },
    summary="Set how the autopilot works at a mall (ops leads; audited)",
)
async def set_autopilot(mall_id: MallId, body: models.AutopilotBody, key: IdempotencyKey = None) -> Response:
    """From now on, whole: a rule that is left out takes its default. What it was before stands in the audit."""
    rules = body.model_dump(exclude={"reason"})
    return respond(await ask("set_autopilot", {"mall_id": mall_id, "rules": rules, "reason": body.reason, "key": key}))
