"""Puts the dashboard together: link, feed, relay, rooms, API, log-in and pages behind one gate.

It must not know what is on a page, nor anything about orders or drivers.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from dash import Dash
from dash.exceptions import DependencyException
from fastapi import FastAPI, Request, WebSocket
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dashboard.api.failures import denied
from dashboard.api.probes import probes
from dashboard.api.routes import PREFIX, build_api, reference_router
from dashboard.auth.callbacks import CallbackForm, Unfit, protect, require_protected
from dashboard.auth.gate import Gate
from dashboard.auth.headers import Policy
from dashboard.auth.identity import Identities
from dashboard.auth.pages import login_router
from dashboard.auth.policy import Denied, authorize, require_policies
from dashboard.auth.principal import current_principal
from dashboard.feed import Feed
from dashboard.link import Link
from dashboard.problems import problem
from dashboard.relay import Relay
from dashboard.room_door import RoomDoor
from dashboard.rooms import Rooms, current_room
from dashboard.settings import Settings


class Dashboard:
    """The ASGI app, with the parts that whoever runs it may want to look at."""

    def __init__(self, gate: Gate, link: Link, relay: Relay, identities: Identities) -> None:
        self.link = link
        self.identities = identities
        self.relay = relay
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection, through the gate."""
        await self._gate(scope, receive, send)


def create_app(settings: Settings, build_pages: Callable[[FastAPI], Dash] | None = None) -> Dashboard:
    """The whole dashboard as one ASGI app; its lifespan opens and closes the link.

    Args:
        settings: how it is reached, and how it reaches the streamer.
        build_pages: puts a Dash app with all its callbacks on the server; by default the floor.
    """
    feed = Feed()
    relay = Relay(feed)
    link = Link(settings.link_url, settings.link_secret, feed, relay.publish)
    identities = Identities(link)
    rooms = Rooms(link)
    answered: Counter[int] = Counter()
    server = _server(link, identities, rooms)
    server.include_router(probes(link, feed, relay, answered))
    server.include_router(login_router(link, identities, settings))
    _add_feed(server, relay)
    api = _add_api(server)
    pages = (build_pages or build_floor)(server)
    require_protected(pages)
    # Dash does this on the first HTTP request only; a socket that reconnects after a restart comes before any, finds no
    # callback, and tries again without end.
    pages._setup_server()  # type: ignore[no-untyped-call]
    require_policies(server, api)
    policy = Policy(pages.csp_hashes(), settings.secure)
    behind = RoomDoor(CallbackForm(server, pages), rooms)
    return Dashboard(Gate(behind, link, identities, settings, policy, answered), link, relay, identities)


def build_floor(server: FastAPI) -> Dash:
    """The floor's pages on `server`, complete: later callbacks would lack a hash in the security policy."""
    from dashboard.callbacks import register
    from dashboard.callbacks.roles import ROLES
    from dashboard.pages.shell import shell_layout

    app = Dash(
        __name__,
        server=server,  # type: ignore[arg-type]  # Dash's annotation knows WSGI only
        backend="fastapi",
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        title="Mallard",
        update_title=None,  # type: ignore[arg-type]  # None is how Dash's documentation turns it off
        suppress_callback_exceptions=True,
        add_log_handler=False,
    )
    app.layout = shell_layout
    register(app)
    protect(app, ROLES)
    return app


def _server(link: Link, identities: Identities, rooms: Rooms) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_server: FastAPI) -> AsyncIterator[None]:
        async with link:
            watching = asyncio.create_task(identities.watch())
            yield
            await rooms.close()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    server = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    server.add_exception_handler(Denied, denied)
    server.add_exception_handler(Unfit, _unfit)
    server.add_exception_handler(DependencyException, _no_such_file)
    return server


async def _no_such_file(_request: Request, _error: Exception) -> Response:
    return problem(404, "not_found", "there is nothing at this address")


async def _unfit(_request: Request, error: Exception) -> Response:
    return problem(422, "bad_field", str(error))


def _add_feed(server: FastAPI, relay: Relay) -> None:
    @server.websocket("/feed")
    async def read_feed(socket: WebSocket) -> None:
        who, room = authorize(current_principal(), "viewer", "/feed"), current_room()
        await (room.relay if room else relay).serve(socket, who)


def _add_api(server: FastAPI) -> FastAPI:
    api = build_api()
    server.mount(PREFIX, api)
    server.include_router(reference_router(api))
    return api
