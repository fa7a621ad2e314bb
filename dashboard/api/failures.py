"""Turns everything FastAPI may raise into a problem, without a traceback and without echoing what was sent.

It must not know the routes.
"""

import re
from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard.api.access import Refusal
from dashboard.auth.policy import Denied
from dashboard.problems import problem

log = structlog.get_logger()

CODES = {400: "bad_json", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}


def add_failures(app: FastAPI) -> None:
    """Registers the handlers on `app`."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(Denied, denied)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problem(error.status, error.code, error.detail)


async def denied(_request: Request, error: Exception) -> Response:
    """403 for who asked for more than its role allows."""
    return problem(403, "forbidden", str(error))


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return problem(400, "bad_json", "the body is not JSON")
    return problem(422, "bad_field", worded(faults), {"errors": [_fault_of(fault) for fault in faults[:20]]})


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODES.get(error.status_code, "bad_request")
    detail = "there is nothing at this address" if code == "not_found" else str(error.detail)
    headers = {"Allow": _allowed(request)} if code == "method_not_allowed" else error.headers
    return problem(error.status_code, code, detail, headers=headers)


def _allowed(request: Request) -> str:
    """Every method of an address; the framework names only those of the first route that fits."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return ", ".join(
        sorted(
            method.upper()
            for template, methods in request.app.openapi()["paths"].items()
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
            for method in methods
        )
    )


async def _fault(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, error=f"{type(error).__name__}: {error}")
    return problem(500, "internal", "something went wrong on our side; the floor goes on")


def worded(faults: Sequence[Any]) -> str:
    """The first fault of pydantic as one line: where, and what."""
    first = _fault_of(faults[0])
    return f"{first['field']}: {first['message']}"


def _fault_of(fault: Any) -> dict[str, str]:
    where = [str(part) for part in fault["loc"] if part not in {"body", "query", "path", "header"}]
    return {"field": ".".join(where) or "body", "message": str(fault["msg"])}
