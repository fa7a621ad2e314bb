"""Who may do what: the one `authorize`, the table of pages and sockets, and the check that nothing is left out.

It must not know what a route does. The REST routes say their role themselves (`dashboard.api.access.needs`), and Dash's
callbacks in a table of their own (`dashboard.auth.callbacks`); both ask `authorize`. The streamer checks once more, by
its own table, and it alone knows malls.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from dashboard.auth.principal import Principal, Role
from streamer.core.errors import ConfigurationError

Least = Role | Literal["anybody"]
"""The least role, or everybody who can reach the port."""

PAGES: Final[dict[str, Least]] = {
    "/login": "anybody",
    "/login.css": "anybody",
    "/logout": "anybody",
    "/healthz": "anybody",
    "/readyz": "anybody",
    "/version": "anybody",
    "/metrics": "anybody",
    "/": "viewer",
    "/api/docs": "viewer",
    "/api/{rest:path}": "viewer",
    "/assets": "viewer",
    "/_dash-component-suites/{package_name}/{fingerprinted_path:path}": "viewer",
    "/_dash-layout": "viewer",
    "/_dash-dependencies": "viewer",
    "/_dash-update-component": "viewer",
    "/_reload-hash": "viewer",
    "/_favicon.ico": "viewer",
}
"""Every path that is no REST route. A callback asks for its own role once Dash has found it."""
SOCKETS: Final[dict[str, Least]] = {"/feed": "viewer", "/_dash-ws-callback": "viewer"}
OPEN_PATHS: Final = frozenset(path for path, least in PAGES.items() if least == "anybody")
"""All that a stranger may ask for."""
_OPEN_METHODS: Final = {"/login": {"GET", "POST"}, "/logout": {"POST"}}


def is_open(method: str, path: str) -> bool:
    """Whether a stranger may ask this. By method too: behind an address that takes POST only lies Dash's own page."""
    return path in OPEN_PATHS and method in _OPEN_METHODS.get(path, {"GET"})


class Denied(Exception):  # noqa: N818 - an answer on its way out, not a fault
    """A principal asked for more than its role allows; worded once, as a 403, at the edge of the app."""


def authorize(principal: Principal, least: Role, what: str) -> Principal:
    """The principal, if its role includes `least`; the only place in this process that decides so.

    Raises:
        Denied: it does not.
    """
    if not principal.may(least):
        raise Denied(f"{what} is for the role {least}; {principal.name} is {principal.role}")
    return principal


def require_policies(server: FastAPI, api: FastAPI) -> None:
    """Check that each route and socket of `server`, and each route of the REST application `api`, has a policy.

    Raises:
        ConfigurationError: naming those that have none.
    """
    missing = [f"socket {path}" for path in _sockets(server.routes) if path not in SOCKETS]
    missing += [f"page {path}" for path in _pages(server.routes, api) if path not in PAGES]
    missing += [f"route {route.path}" for route in _plain(api.routes) if not least_of(route) and _is_own(route, api)]
    if missing:
        raise ConfigurationError(f"nobody has said who may use {', '.join(sorted(missing))}")


def least_of(route: BaseRoute) -> Role | None:
    """The role that a REST route's own `needs` asks for."""
    if isinstance(route, APIRoute):
        for dependency in route.dependencies:
            least: Role | None = getattr(dependency.dependency, "least", None)
            if least is not None:
                return least
    return None


def api_routes(api: FastAPI) -> Iterator[APIRoute]:
    """Every REST route, hidden ones too, as long as it is ours."""
    for route in _plain(api.routes):
        if isinstance(route, APIRoute):
            yield route


def _plain(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Routes, those of included routers too, which FastAPI keeps folded."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _plain(inner.routes)
        elif isinstance(route, Route):
            yield route


def _is_own(route: Route, api: FastAPI) -> bool:
    # FastAPI's own description of the API: like any page behind the gate, for everybody who is logged in.
    return route.path != api.openapi_url


def _sockets(routes: Iterable[BaseRoute]) -> Iterator[str]:
    return (route.path for route in routes if isinstance(route, WebSocketRoute))


def _pages(routes: Iterable[BaseRoute], api: FastAPI) -> Iterator[str]:
    routes = list(routes)
    yield from (route.path for route in _plain(routes))
    yield from (route.path for route in routes if isinstance(route, Mount) and route.app is not api)
