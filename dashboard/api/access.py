"""What every route needs: the role check, the idempotency key, the version expected, and the answer made of a `Reply`.

It must not know any single route.
"""

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from fastapi import Depends, Header, params
from starlette.responses import Response

from dashboard.api.models import Problem
from dashboard.auth.policy import authorize
from dashboard.auth.principal import Principal, Role, current_principal
from dashboard.link import Reply, current_link
from dashboard.problems import LINK_LOST, problem

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        description="The same key and body again give the stored answer, with no second effect; another body gives 422",
    ),
]
IfMatch = Annotated[str | None, Header(alias="If-Match", description='The expected version, as in `"7"`')]
_TAG = re.compile(r'(?:W/)?"?(\d{1,16})"?')

FAILURES: dict[int | str, dict[str, object]] = {
    401: {"model": Problem, "description": "Not logged in"},
    403: {"model": Problem, "description": "Not allowed to this role or mall"},
    422: {"model": Problem, "description": "A field is missing or wrong (`bad_field`), or a rule of the floor says no"},
    503: {"model": Problem, "description": "The streamer cannot be reached (`link_lost`)"},
}
"""Errors that any route may give."""


class Refusal(Exception):  # noqa: N818 - an answer on its way out, not a fault
    """Ends a request with a problem."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def needs(role: Role) -> params.Depends:
    """A route dependency: 403 unless the principal's role includes `role`. The streamer checks again, by its own table.

    Checked here too, so that a refusal does not depend on whether the body happened to be right.
    """

    async def check() -> Principal:
        return authorize(current_principal(), role, "this")

    check.__name__ = f"needs_{role}"
    check.least = role  # type: ignore[attr-defined]  # read by `dashboard.auth.policy`
    dependency: params.Depends = Depends(check)
    return dependency


async def ask(name: str, params: Mapping[str, object] | None = None) -> Reply:
    """Calls the streamer as the principal of this request."""
    return await current_link().call(name, params, current_principal())


def respond(reply: Reply, headers: dict[str, str] | None = None) -> Response:
    """The HTTP answer that says what `reply` says."""
    if reply.ok:
        return Response(msgspec.json.encode(reply.body), reply.status, headers, "application/json")
    code, detail = str(reply.problem.get("code", "internal")), str(reply.problem.get("detail", LINK_LOST))
    extra = {key: value for key, value in reply.problem.items() if key not in {"code", "detail", "status"}}
    wait = {"Retry-After": "2"} if reply.status in {429, 503} else {}
    return problem(reply.status, code, detail, extra, {**(headers or {}), **wait})


def expected_version(stated: int | None, if_match: str | None) -> int:
    """The version a change is based on, from the body or from `If-Match`.

    Raises:
        Refusal: 428 when neither says; 422 when `If-Match` is not a version.
    """
    if stated is not None:
        return stated
    if if_match is None:
        raise Refusal(428, "precondition_required", "say which version of the order this is based on: expected_version")
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise Refusal(422, "bad_field", f"If-Match is not a version: {if_match[:40]}")
    return int(match[1])
