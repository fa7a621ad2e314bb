"""Puts the routers together into the API application that is mounted at `/api/v1`.

It must not know any route by name.
"""

from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from dashboard.api import autopilot, commands, drivers, floor, lab, orders, rooms
from dashboard.api.access import FAILURES
from dashboard.api.contracts import contracts_router
from dashboard.api.failures import add_failures
from dashboard.api.probes import product_version
from dashboard.api.reference import reference_page
from dashboard.auth.headers import FIXED_PAGE
from dashboard.problems import problem

PREFIX = "/api/v1"
DESCRIPTION = (
    "Orders, drivers and decisions of the dispatch floor. Instants are UTC epoch milliseconds. Programs send "
    "Authorization: Bearer TOKEN; pages use their session cookie. Errors are RFC 9457 problems with a code. Every "
    "change of an order names the expected_version it is based on, and may carry an Idempotency-Key."
)


@cache
def build_api() -> FastAPI:
    """The API with its own OpenAPI and its own error answers; it keeps nothing, so one serves every app."""
    api = FastAPI(
        title="Mallard API",
        version=product_version(),
        description=DESCRIPTION,
        servers=[{"url": PREFIX}],
        root_path_in_servers=False,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=FAILURES,
    )
    for module in (orders, commands, drivers, floor, autopilot, rooms, lab):
        api.include_router(module.router)
    api.include_router(contracts_router())
    add_failures(api)
    return api


def reference_router(api: FastAPI) -> APIRouter:
    """`/api/docs`, and a problem for everything else under `/api`."""
    router = APIRouter(include_in_schema=False)
    page = reference_page(api.openapi())

    @router.get("/api/docs")
    async def show() -> Response:
        return Response(page, 200, {"Content-Security-Policy": FIXED_PAGE}, "text/html; charset=utf-8")

    @router.api_route("/api/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def nothing(rest: str) -> Response:
        return problem(404, "not_found", "there is nothing at this address")

    return router
