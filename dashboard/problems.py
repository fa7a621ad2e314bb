"""The one shape of an error answer: RFC 9457 `application/problem+json` with a `code`.

It must not know who refused, or why: it is given status, code and words.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    code: str,
    detail: str,
    extra: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error answer.

    Args:
        status: HTTP status.
        code: PROTOCOL's word for programs.
        detail: a sentence for people.
        extra: members the code brings along, such as `order` for a version conflict.
        headers: response headers, such as `Retry-After`.
    """
    members = {
        **(extra or {}),
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return Response(msgspec.json.encode(members), status, dict(headers or {}), MEDIA_TYPE)


LINK_LOST = "the streamer cannot be reached; try again in a moment"


def link_lost() -> Response:
    """503 while the streamer is away."""
    return problem(503, "link_lost", LINK_LOST, headers={"Retry-After": "2"})
