"""Routes of orders: place, import, read, and who could carry them.

It must not know how an order is kept or judged: each route is one call of the link.
"""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from dashboard.api import models
from dashboard.api.access import IdempotencyKey, Refusal, ask, needs, respond
from dashboard.api.imports import READERS, import_rows

router = APIRouter(tags=["orders"])
OrderId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=256, description="`next` of the page before")]

CSV_EXAMPLE = (
    "external_id,mall_id,stores,items,name,phone,address,lat,lng,notes,placed_ms,ready_ms,due_ms\n"
    "113-44556,fashion-show,fs-macys;fs-apple,2,R. Lee,+17025550123,3355 Spring Mountain Rd,36.126,-115.192,"
    "leave at door,1794560000000,1794560900000,1794567200000\n"
)
IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": CSV_EXAMPLE,
            },
            "application/x-ndjson": {"schema": {"type": "string", "description": "one order body a line"}},
        },
    }
}


@router.post(
    "/orders",
    status_code=201,
    dependencies=[needs("dispatcher")],
    responses={
        201: {"model": models.OrderDone},
        200: {"model": models.OrderDone, "description": "It was there already"},
    },
    summary="Place an order",
)
async def place(body: models.OrderBody, key: IdempotencyKey = None) -> Response:
    """Places an order. The same `external_id` in the same mall, or the same key, is the same order."""
    reply = await ask("place", {"order": body.model_dump(), "key": key})
    where = {"Location": f"/api/v1/orders/{reply.body['id']}"} if reply.ok else None
    return respond(reply, where)


@router.post(
    "/orders/import",
    dependencies=[needs("dispatcher")],
    responses={200: {"model": models.ImportResult}, 415: {"model": models.Problem}},
    openapi_extra=IMPORT_BODY,
    summary="Place many orders from CSV or NDJSON",
)
async def import_orders(request: Request, key: IdempotencyKey = None) -> Response:
    """Places an order a row, and gives a result a row; a bad row never loses the good ones.

    CSV has a header line; `stores` are separated by `;`, the drop-off's columns are `name phone address lat lng notes`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in READERS:
        raise Refusal(415, "unsupported_media_type", f"send one of {', '.join(READERS)}")
    return respond(await import_rows(READERS[kind](await request.body()), key))


@router.get("/orders", dependencies=[needs("viewer")], responses={200: {"model": models.Orders}}, summary="List orders")
async def list_orders(
    status: Annotated[list[str] | None, Query(description="one or more, repeated or separated by commas")] = None,
    mall_id: models.Id | None = None,
    driver_id: models.Id | None = None,
    risk: models.Risk | None = None,
    q: Annotated[str | None, Query(max_length=120, description="looks in ids, names and addresses")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Orders in a fixed sequence, a page at a time."""
    wanted = {
        "status": split_words(status, models.Status, "status"),
        "mall_id": mall_id,
        "driver_id": driver_id,
        "risk": risk,
        "q": q,
        "cursor": cursor,
        "limit": limit,
    }
    return respond(await ask("orders", wanted))


@router.get(
    "/orders/{order_id}",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.Order}, 304: {"description": "As you know it"}, 404: {"model": models.Problem}},
    summary="Read an order",
)
async def read_order(
    order_id: OrderId, if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None
) -> Response:
    """An order; its `ETag` is its version."""
    reply = await ask("order", {"order_id": order_id})
    if not reply.ok:
        return respond(reply)
    tag = f'"{reply.body["version"]}"'
    known = [known.strip().removeprefix("W/") for known in (if_none_match or "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers={"ETag": tag})
    return respond(reply, {"ETag": tag})


@router.get(
    "/orders/{order_id}/history",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.History}, 404: {"model": models.Problem}},
    summary="Read an order's story",
)
async def history(order_id: OrderId) -> Response:
    """Who did what to it, when and why, oldest first."""
    return respond(await ask("history", {"order_id": order_id}))


@router.get(
    "/orders/{order_id}/candidates",
    dependencies=[needs("dispatcher")],
    responses={
        200: {"model": models.Candidates},
        404: {"model": models.Problem},
        409: {"model": models.Problem, "description": "It has left the store: only a hand-over moves it now"},
    },
    summary="Rank drivers for an order",
)
async def candidates(order_id: OrderId, limit: Annotated[int, Query(ge=1, le=50)] = 5) -> Response:
    """Drivers who could take it, best first, with the terms of their cost; and why each of the others could not."""
    return respond(await ask("candidates", {"order_id": order_id, "limit": limit}))


def split_words(given: list[str] | None, allowed: object, field: str) -> list[str] | None:
    """The words of a repeated or comma-separated query parameter.

    Raises:
        Refusal: 422 when one is not in the `Literal` type `allowed`.
    """
    words = [word for text in given or [] for word in text.split(",") if word]
    possible = getattr(allowed, "__args__", ())
    if wrong := [word for word in words if word not in possible]:
        raise Refusal(422, "bad_field", f"{field}: {wrong[0][:40]!r} is none of {', '.join(possible)}")
    return words or None
