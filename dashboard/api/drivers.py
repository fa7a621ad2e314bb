"""Routes of drivers: read, track, hand over, on and off duty.

It must not know where positions come from.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from dashboard.api import models
from dashboard.api.access import IdempotencyKey, ask, needs, respond
from dashboard.api.orders import Cursor, Limit, split_words

router = APIRouter(tags=["drivers"])
DriverId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
LAST_INSTANT_MS = 253_402_300_799_999
"""The end of the year 9999, where calendars stop."""
UNKNOWN: dict[int | str, dict[str, object]] = {404: {"model": models.Problem, "description": "No such driver"}}


@router.get(
    "/drivers", dependencies=[needs("viewer")], responses={200: {"model": models.Drivers}}, summary="List drivers"
)
async def list_drivers(
    state: Annotated[list[str] | None, Query(description="one or more, repeated or separated by commas")] = None,
    mall_id: models.Id | None = None,
    q: Annotated[str | None, Query(max_length=120, description="looks in ids and names")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Drivers by id, a page at a time."""
    states = split_words(state, models.DriverState, "state")
    return respond(
        await ask("drivers", {"state": states, "mall_id": mall_id, "q": q, "cursor": cursor, "limit": limit})
    )


@router.get(
    "/drivers/{driver_id}",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.Driver}, **UNKNOWN},
    summary="Read a driver",
)
async def read_driver(driver_id: DriverId) -> Response:
    """A driver with its last believed position, hex, mall and orders."""
    return respond(await ask("driver", {"driver_id": driver_id}))


@router.get(
    "/drivers/{driver_id}/track",
    dependencies=[needs("ops-lead")],
    responses={200: {"model": models.Track}, **UNKNOWN},
    summary="Read a driver's track (ops leads; audited)",
)
async def track(
    driver_id: DriverId,
    from_ms: Annotated[int, Query(ge=0, le=LAST_INSTANT_MS)] = 0,
    to_ms: Annotated[int, Query(ge=0, le=LAST_INSTANT_MS)] = LAST_INSTANT_MS,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    reason: Annotated[str | None, Query(max_length=256, description="Why you look; kept with the reading")] = None,
) -> Response:
    """The pings from `from_ms` to `to_ms`, in order. Every reading is written to the audit log, with its reason."""
    page = {"driver_id": driver_id, "from_ms": from_ms, "to_ms": to_ms, "cursor": cursor, "limit": limit}
    return respond(await ask("track", {**page, "reason": reason}))


@router.post(
    "/drivers/{driver_id}/hand-over",
    dependencies=[needs("dispatcher")],
    responses={200: {"model": models.Undone}, **UNKNOWN},
    summary="Hand over all orders of a driver",
)
async def hand_over(
    driver_id: DriverId, body: models.HandOverBody | None = None, key: IdempotencyKey = None
) -> Response:
    """Gives all its orders to another driver, or those not yet collected back to the queue."""
    given = body or models.HandOverBody()
    return respond(await ask("hand_over", {**given.model_dump(), "driver_id": driver_id, "key": key}))


@router.post(
    "/drivers/{driver_id}/on-duty",
    dependencies=[needs("dispatcher")],
    responses={200: {"model": models.DriverDone}, **UNKNOWN},
    summary="Put a driver on duty",
)
async def on_duty(driver_id: DriverId, body: models.DutyBody | None = None, key: IdempotencyKey = None) -> Response:
    """From now on its pings are taken."""
    return await _set_duty(driver_id, "on_duty", body, key)


@router.post(
    "/drivers/{driver_id}/off-duty",
    dependencies=[needs("dispatcher")],
    responses={200: {"model": models.DriverDone}, **UNKNOWN},
    summary="Take a driver off duty",
)
async def off_duty(driver_id: DriverId, body: models.DutyBody | None = None, key: IdempotencyKey = None) -> Response:
    """From now on its pings are refused and not stored."""
    return await _set_duty(driver_id, "off_duty", body, key)


async def _set_duty(driver_id: str, duty: str, body: models.DutyBody | None, key: str | None) -> Response:
    reason = body.reason if body else None
    return respond(await ask("duty", {"driver_id": driver_id, "duty": duty, "reason": reason, "key": key}))
