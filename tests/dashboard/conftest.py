"""A dashboard on a real port, and a streamer's end of the link that does what a test tells it."""

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from dash import Dash, Input, Output, dcc, html
from fastapi import FastAPI
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from dashboard.app import Dashboard, create_app
from dashboard.auth import current_principal
from dashboard.auth.callbacks import protect
from dashboard.auth.request import csrf_of
from dashboard.link import current_link
from dashboard.server import make_server
from dashboard.settings import Settings
from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered
from streamer.core.settings import Settings as EngineSettings
from streamer.edge.accounts import Accounts
from streamer.edge.clock import ManualClock
from streamer.edge.desk.desk import Desk
from streamer.edge.feed import Feed as FrameFeed
from streamer.edge.journal.contract import JournalHeader, MemoryJournal
from streamer.edge.lab.desk import LabDesk
from streamer.edge.link import Link as LinkEnd
from streamer.edge.rooms.desk import RoomDesk
from streamer.edge.rooms.gallery import Gallery
from streamer.edge.rooms.keeper import Keeper
from streamer.edge.runner import Runner
from streamer.edge.sockets import serve_sockets
from tests.builders import T0, a_collection, a_floor, a_ping, a_report

SECRET = "link-secret"
HOME = "http://127.0.0.1:8050"
Answer = tuple[int, dict[str, object]]
Handler = Callable[[dict[str, object], dict[str, object] | None], Answer | Awaitable[Answer]]
PEOPLE = {"vera": "viewer", "maya": "dispatcher", "olga": "ops-lead"}


class ScriptedStreamer:
    """Speaks docs/link.md. `handlers` answer calls; sessions and tokens are kept like the real end does."""

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, object]] = {}
        self.tokens: dict[str, dict[str, object]] = {}
        self.calls: list[tuple[str, dict[str, object], dict[str, object] | None]] = []
        self.subscriptions: list[dict[str, object]] = []
        self.sockets: set[ServerConnection] = set()
        self.on_subscribe: Callable[[dict[str, object]], list[str]] = lambda _request: []
        self.made = 0
        self.handlers: dict[str, Handler] = {
            "login": self._login,
            "session": lambda params, _who: self._known(self.sessions.get(str(params["session"]))),
            "bearer": lambda params, _who: self._known(self.tokens.get(str(params["token"]))),
            "logout": self._logout,
            "accounts": lambda _params, _who: (200, {"version": [len(self.sessions), len(self.tokens)]}),
            "ready": lambda _params, _who: (200, {"journal_writable": True}),
        }
        self.port = 0
        self._server: Server | None = None

    async def start(self) -> None:
        self._server = await serve(self._serve, "127.0.0.1", self.port, process_request=_check_secret)
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/link"

    async def send(self, text: str) -> None:
        for each in self.sockets:
            await each.send(text)

    def session_of(self, name: str, mall_ids: tuple[str, ...] = ()) -> str:
        self.made += 1
        session = f"session-{self.made}"
        self.sessions[session] = {"name": name, "role": PEOPLE[name], "mall_ids": list(mall_ids)}
        return session

    def token_of(self, name: str, mall_ids: tuple[str, ...] = ()) -> dict[str, str]:
        self.tokens[f"token-{name}"] = {"name": name, "role": PEOPLE[name], "mall_ids": list(mall_ids)}
        return {"Authorization": f"Bearer token-{name}"}

    def called(self, name: str) -> list[dict[str, object]]:
        return [params for called, params, _who in self.calls if called == name]

    async def _serve(self, connection: ServerConnection) -> None:
        self.sockets.add(connection)
        try:
            async for text in connection:
                message = msgspec.json.decode(text)
                if message["call"] == "subscribe":
                    self.subscriptions.append(message)
                    for frame in self.on_subscribe(message):
                        await connection.send(frame)
                else:
                    await self._answer(connection, message)
        finally:
            self.sockets.discard(connection)

    async def _answer(self, connection: ServerConnection, message: dict[str, object]) -> None:
        name, params, who = str(message["call"]), dict(message["params"]), message["principal"]  # type: ignore[call-overload]
        self.calls.append((name, params, who))  # type: ignore[arg-type]
        unknown: Handler = lambda _params, _who: (404, {"code": "not_found", "detail": name})  # noqa: E731
        answer = self.handlers.get(name, unknown)(params, who)  # type: ignore[arg-type]
        status, content = await answer if inspect.isawaitable(answer) else answer
        key = "body" if status < 400 else "problem"
        await connection.send(msgspec.json.encode({"id": message["id"], "status": status, key: content}).decode())

    def _login(self, params: Mapping[str, object], _who: object) -> Answer:
        name = str(params["name"])
        if PEOPLE.get(name) is None or params["password"] != f"{name}-password":
            return 401, {"code": "bad_login", "detail": "no"}
        session = self.session_of(name)
        return 200, {"session": session, **self.sessions[session]}

    def _logout(self, params: Mapping[str, object], _who: object) -> Answer:
        self.sessions.pop(str(params["session"]), None)
        return 200, {}

    def _known(self, found: dict[str, object] | None) -> Answer:
        return (200, found) if found else (401, {"code": "unauthenticated", "detail": "unknown"})


def _check_secret(connection: ServerConnection, request: Request) -> Response | None:
    if request.headers.get("Authorization") != f"Bearer {SECRET}":
        return connection.respond(401, "wrong secret\n")
    return None


def small_pages(server: FastAPI) -> Dash:
    """A Dash app with one sync and one async callback that say who asks, and one clientside callback."""
    app = Dash("small", server=server, backend="fastapi", add_log_handler=False, websocket_callbacks=True)  # type: ignore[arg-type]
    app.layout = html.Div([dcc.Input(id="in"), html.Div(id="sync"), html.Div(id="async"), html.Div(id="client")])

    @app.callback(Output("sync", "children"), Input("in", "value"))
    def name_now(_value: str) -> str:
        return current_principal().name

    @app.callback(Output("async", "children"), Input("in", "value"))
    async def name_later(_value: str) -> str:
        reply = await current_link().call("ready")
        return f"{current_principal().name} {reply.status}"

    app.clientside_callback("function(v) { return v; }", Output("client", "children"), Input("in", "value"))
    protect(app, {"conftest.name_now": "viewer", "conftest.name_later": "viewer"})
    return app


def callback_body(target: str) -> dict[str, object]:
    """What Dash's browser side posts to run the callback of `target`."""
    return {
        "output": f"{target}.children",
        "outputs": {"id": target, "property": "children"},
        "inputs": [{"id": "in", "property": "value", "value": "x"}],
        "changedPropIds": ["in.value"],
        "state": [],
    }


@pytest.fixture
async def streamer() -> AsyncIterator[ScriptedStreamer]:
    scripted = ScriptedStreamer()
    await scripted.start()
    yield scripted
    await scripted.stop()


@asynccontextmanager
async def running(app: Dashboard, settings: Settings) -> AsyncIterator[str]:
    """Serves `app` by uvicorn on a free port; gives `HOST:PORT`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = make_server(app, settings)
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


@pytest.fixture
def settings(streamer: ScriptedStreamer) -> Settings:
    return Settings(link_url=streamer.url, link_secret=SECRET)


@pytest.fixture
async def site(streamer: ScriptedStreamer, settings: Settings) -> AsyncIterator[str]:
    """The dashboard on a real port, its link open; gives `HOST:PORT`."""
    app = create_app(settings, small_pages)
    async with running(app, settings) as address:
        assert await app.link.wait_up(5)
        yield address


class RealFloor:
    """The real streamer behind a real link: engine, desk, accounts and feed, at a clock that stands still."""

    def __init__(self, directory: Path) -> None:
        self.url = ""
        self.clock = ManualClock(T0)
        self.accounts = Accounts(directory)
        header = JournalHeader(1, a_collection(), EngineSettings(), "tests", T0)
        self.runner = Runner(Engine(a_floor()), MemoryJournal(header), self.clock)
        self.feed = FrameFeed(self.runner)
        gallery = Gallery((directory,))
        self.rooms, self.lab = RoomDesk(self.runner, Keeper(SECRET), gallery), LabDesk(self.runner, gallery)
        desk = Desk(self.runner, self.accounts, self.clock, besides=self.rooms.table | self.lab.table)
        self.end = LinkEnd(desk, self.feed, SECRET)

    def token(self, name: str, role: str, mall_ids: tuple[str, ...] = ()) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.accounts.mint_api_token(name, role, mall_ids, T0)}"}

    def driver(self, driver_id: str = "d-1", north: float = 0.01) -> None:
        self.runner.submit(DriverRegistered(driver_id, driver_id.upper()))
        self.runner.submit(a_report("on_duty", driver_id))
        self.runner.submit(a_ping(driver_id, T0, north))


@pytest.fixture
async def floor(tmp_path: Path) -> AsyncIterator[RealFloor]:
    floor = RealFloor(tmp_path)
    await floor.runner.start()
    server = await serve_sockets(floor.end.handle, floor.end.check_request, "127.0.0.1", 0)
    floor.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/link"
    yield floor
    await floor.rooms.keeper.end_all()
    await floor.lab.lab.close()
    server.close()
    await server.wait_closed()
    await floor.runner.stop()
    floor.accounts.close()


@pytest.fixture
async def rest(floor: RealFloor) -> AsyncIterator[Callable[[str], httpx.AsyncClient]]:
    """REST over the real streamer: `rest("maya")` is a client with the token of maya, `rest("nobody")` has none."""
    app = create_app(Settings(link_url=floor.url, link_secret=SECRET), small_pages)
    clients: dict[str, httpx.AsyncClient] = {}

    def of(name: str) -> httpx.AsyncClient:
        if name not in clients:
            headers = floor.token(name, PEOPLE[name]) if name in PEOPLE else {}
            clients[name] = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOME, headers=headers)
        return clients[name]

    async with app.link:
        assert await app.link.wait_up(5)
        yield of
        for client in clients.values():
            await client.aclose()


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[Dashboard]:
    """The dashboard without a port, its link open."""
    app = create_app(settings, small_pages)
    async with app.link:
        assert await app.link.wait_up(5)
        yield app


@pytest.fixture
async def browser(app: Dashboard) -> AsyncIterator[httpx.AsyncClient]:
    """A client that behaves like a page of ours: same origin, keeps cookies, follows nothing."""
    headers = {"Origin": HOME, "Accept": "text/html"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOME, headers=headers) as client:
        yield client


@pytest.fixture
async def program(app: Dashboard) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is no browser: no Origin, no cookie."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOME) as client:
        yield client


@pytest.fixture
def as_page(streamer: ScriptedStreamer) -> Callable[..., dict[str, str]]:
    """Headers of a logged-in page's request: `as_page("maya")`."""

    def headers(name: str, *mall_ids: str) -> dict[str, str]:
        session = streamer.session_of(name, mall_ids)
        return {"Cookie": f"mallard_session={session}", "X-CSRFToken": csrf_of(session)}

    return headers


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture(name="a_frame")
def a_frame_builder() -> Callable[..., str]:
    return a_frame


@pytest.fixture(name="callback_body")
def callback_body_builder() -> Callable[[str], dict[str, object]]:
    return callback_body


@pytest.fixture(name="running")
def running_server() -> Callable[[Dashboard, Settings], AbstractAsyncContextManager[str]]:
    return running


@pytest.fixture(name="small_pages")
def small_pages_builder() -> Callable[[FastAPI], Dash]:
    return small_pages


def a_frame(mall_id: str = "m", seq: int = 1, frame: str = "delta", epoch: str = "e1", filler: str = "") -> str:
    """A frame of docs/feed.md, as far as the dashboard looks into it."""
    head = {"frame": frame, "mall_id": mall_id, "seq": seq, "at_ms": 1000 * seq, "filler": filler}
    return msgspec.json.encode(head | ({"epoch": epoch} if frame == "snapshot" else {})).decode()
