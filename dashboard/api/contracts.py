"""The socket's contract for machines: AsyncAPI 3, and the JSON Schema of every message, made from the wire's own types.

It must not know the REST routes; OpenAPI has those.
"""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from dashboard.api.access import needs
from dashboard.api.probes import product_version
from dashboard.problems import problem
from streamer.edge.wire import CODES, Close, schemas

FROM_DRIVER = ("ping", "report")
"""What a driver or gateway sends; every other message comes from the server."""


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of the driver socket."""
    messages = schemas()
    to_server = [name for name in messages if name in FROM_DRIVER]
    to_driver = [name for name in messages if name not in FROM_DRIVER]
    closes = ", ".join(f"{close.value} {close.name.lower().replace('_', ' ')}" for close in Close)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Mallard driver socket",
            "version": product_version(),
            "description": "One JSON object a text frame, or an array of up to 500 pings. Instants are UTC epoch "
            f"milliseconds. A nack carries one of: {', '.join(sorted(CODES))}. Close codes: {closes}.",
        },
        "defaultContentType": "application/json",
        "servers": {"streamer": {"host": "127.0.0.1:8765", "protocol": "ws", "security": [{"$ref": _BEARER}]}},
        "channels": {
            "drivers": {
                "address": "/v1/drivers",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": {
            "takeFromDriver": _operation("receive", to_server),
            "tellDriver": _operation("send", to_driver),
        },
        "components": {
            "messages": {
                name: {"name": name, "payload": {"schemaFormat": _JSON_SCHEMA, "schema": schema}}
                for name, schema in messages.items()
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


_BEARER = "#/components/securitySchemes/bearer"
_JSON_SCHEMA = "application/schema+json;version=draft-2020-12"


def _operation(action: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/drivers"},
        "messages": [{"$ref": f"#/channels/drivers/messages/{name}"} for name in names],
    }


class Names(BaseModel):
    """Names of messages."""

    items: list[str]
    next: None = None


def contracts_router() -> APIRouter:
    """`/asyncapi.json`, `/schemas` and `/schemas/{message}`."""
    router = APIRouter(tags=["contracts"])

    @router.get("/asyncapi.json", dependencies=[needs("viewer")], summary="The driver socket, as AsyncAPI")
    async def show_asyncapi() -> dict[str, Any]:
        return asyncapi()

    @router.get("/schemas", dependencies=[needs("viewer")], summary="Messages that have a JSON Schema")
    async def list_schemas() -> Names:
        return Names(items=sorted(schemas()))

    @router.get(
        "/schemas/{message}",
        dependencies=[needs("viewer")],
        summary="The JSON Schema of one message",
        response_model=dict[str, Any],
    )
    async def show_schema(message: str) -> Response:
        schema = schemas().get(message)
        if schema is None:
            return problem(404, "not_found", f"there is no message {message}")
        return JSONResponse(schema, media_type="application/schema+json")

    return router
