"""Routes of the policy lab: a run started, looked at, cancelled.

It must not know how a day is lived.
"""

from fastapi import APIRouter
from starlette.responses import Response

from dashboard.api import lab_models as models
from dashboard.api.access import ask, needs, respond
from dashboard.api.models import Problem

router = APIRouter(tags=["lab"])


@router.post(
    "/lab",
    status_code=201,
    dependencies=[needs("ops-lead")],
    responses={
        201: {"model": models.LabRun},
        404: {"model": Problem, "description": "No such recording"},
        409: {
            "model": Problem,
            "description": "A run is under way (`lab_busy`), or the recording cannot be lived (`bad_recording`)",
        },
    },
    summary="Compare two policies on a recording",
)
async def start(body: models.LabBody) -> Response:
    """Lives the recording's day under both policies, once for each seed, at low priority; one run at a time."""
    return respond(await ask("lab_start", body.model_dump()))


@router.get(
    "/lab", dependencies=[needs("viewer")], responses={200: {"model": models.LabRuns}}, summary="List the lab's runs"
)
async def runs() -> Response:
    """The last eight since the floor was started, newest first, each with what it has found so far."""
    return respond(await ask("lab"))


@router.delete(
    "/lab",
    dependencies=[needs("ops-lead")],
    responses={200: {"model": models.LabRun}, 404: {"model": Problem, "description": "No run is under way"}},
    summary="Cancel the run that is under way",
)
async def cancel() -> Response:
    """What it has found by then stays, and says that it is partial."""
    return respond(await ask("lab_cancel"))
