"""Opens the port all sockets share, and reads who calls from a handshake.

It must not know paths or messages: what to do with a connection is given.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from streamer.edge.connection import DirectConnection
from streamer.edge.wire import MAX_FRAME_BYTES

SUBPROTOCOL = Subprotocol("mallard.v1")
TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105  # a prefix, not a secret
MAX_TOKEN_CHARS = 256

Handle = Callable[[DirectConnection], Awaitable[None]]
Check = Callable[[DirectConnection, Request], Response | None]
_LibraryHandle = Callable[[ServerConnection], Awaitable[None]]
_LibraryCheck = Callable[[ServerConnection, Request], Response | None]

# The library logs failed handshakes with a traceback, by which anybody could fill the disk. Handlers log themselves.
_library_log = logging.getLogger("streamer.sockets")
_library_log.setLevel(logging.CRITICAL)


async def serve_sockets(handle: Handle, check: Check, host: str, port: int, max_bytes: int = MAX_FRAME_BYTES) -> Server:
    """Listens on `port` (0: any free one). `check` sees every handshake and may answer it instead.

    Compression is off: it is shared by nobody, costs 50 KiB a socket, and is how small frames unpack to huge ones.
    Source: OWASP WebSocket Security Cheat Sheet for the kinds of limits; the numbers are ours.
    """
    return await serve(
        cast(_LibraryHandle, handle),
        host,
        port,
        process_request=cast(_LibraryCheck, check),
        create_connection=DirectConnection,
        select_subprotocol=_select_subprotocol,
        compression=None,
        server_header=None,
        logger=_library_log,
        open_timeout=5,
        ping_interval=20,
        ping_timeout=20,
        close_timeout=3,
        max_size=max_bytes,
        max_queue=16,
        backlog=4096,
    )


def _select_subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    # Never the one with the token: it would come back in the answer, where proxies log it.
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def bearer_of(headers: Headers) -> str | None:
    """The token of `Authorization: Bearer`, else of the subprotocol pair; None if missing or garbled."""
    authorizations = headers.get_all("Authorization")
    if authorizations:
        scheme, _, token = authorizations[0].strip().partition(" ")
        good = len(authorizations) == 1 and scheme.lower() == "bearer"
        return _token(token.strip()) if good else None
    try:
        offered = [name for value in headers.get_all("Sec-WebSocket-Protocol") for name in parse_subprotocol(value)]
    except InvalidHeader:
        return None
    tokens = [name[len(TOKEN_SUBPROTOCOL) :] for name in offered if name.startswith(TOKEN_SUBPROTOCOL)]
    return _token(tokens[0]) if SUBPROTOCOL in offered and len(tokens) == 1 else None


def _token(text: str) -> str | None:
    return text if 0 < len(text) <= MAX_TOKEN_CHARS else None


def origin_allowed(headers: Headers, allowed: Sequence[str]) -> bool:
    """Whether the handshake comes from no browser, or from a page that may connect."""
    return all(origin in allowed for origin in headers.get_all("Origin"))


def unauthorized(connection: DirectConnection, text: str) -> Response:
    """A 401 that says how to authenticate."""
    response = connection.respond(401, text + "\n")
    response.headers["WWW-Authenticate"] = 'Bearer realm="mallard"'
    return response


def come_back(connection: DirectConnection, text: str, within_s: float) -> Response:
    """A 503 that asks for another try after a random while, so that those who are turned away do not return together.

    Source: Brooker, "Exponential Backoff and Jitter", 2015 (full jitter).
    """
    response = connection.respond(503, text + "\n")
    response.headers["Retry-After"] = str(1 + secrets.randbelow(max(1, round(within_s))))
    return response


def peer_of(connection: DirectConnection) -> str:
    """The peer's address, for the log."""
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
