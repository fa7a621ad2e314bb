"""Holds Dash's callbacks to their roles, and what a browser sends them to its form, over http and websocket.

It must not know any callback's job. Dash runs whatever callback a request names, with whatever values, and answers
every mistake with a 500: so the form is checked before, and the role when the callback is about to run.
"""

import inspect
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import msgspec
import structlog
from dash import Dash
from dash.exceptions import PreventUpdate
from msgspec import Struct, field
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.auth.policy import Denied, authorize
from dashboard.auth.principal import Role, current_principal
from dashboard.problems import problem
from streamer.core.errors import ConfigurationError

log = structlog.get_logger()

CALLBACK_PATH = "/_dash-update-component"
CALLBACK_SOCKET = "/_dash-ws-callback"
BAD_FRAME = 1008
MISFITS = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What a callback raises when a value is not what our own page would have sent."""


class Unfit(Exception):  # noqa: N818 - an answer on its way out, not a fault
    """What was sent does not fit the callback; 422."""


class _Property(Struct):
    id: str | dict[str, str | int | float | bool]
    property: str
    value: Any = None


_Properties = list[_Property | list[_Property]]


class _Request(Struct):
    """What Dash's browser side posts, as far as Dash looks into it before the callback runs."""

    output: str
    outputs: _Property | list[_Property | list[_Property]]
    inputs: _Properties
    changed: list[str] = field(name="changedPropIds", default_factory=list)
    state: _Properties = field(default_factory=list)


class _Frame(Struct):
    type: str
    payload: Any = None
    request_id: str = field(name="requestId", default="")
    renderer_id: str = field(name="rendererId", default="")


Shape = TypeVar("Shape", bound=Struct)


def protect(app: Dash, roles: Mapping[str, Role]) -> None:
    """Has every callback of `app` ask for its role before it runs.

    Args:
        app: with all its callbacks.
        roles: by `module.function`, as in `decide.send`.

    Raises:
        ConfigurationError: a callback has no role, or a role no callback.
    """
    found = {_name_of(spec["callback"]): spec for spec in _served(app).values()}
    if left_out := sorted(found.keys() ^ roles.keys()):
        raise ConfigurationError(f"callbacks and their roles do not fit each other: {', '.join(left_out)}")
    for name, spec in found.items():
        spec["callback"] = _guarded(spec["callback"], name, roles[name])


def require_protected(app: Dash) -> None:
    """Check that nobody forgot to.

    Raises:
        ConfigurationError: a callback would run for anybody.
    """
    bare = [_name_of(spec["callback"]) for spec in _served(app).values() if not hasattr(spec["callback"], "least")]
    if bare:
        raise ConfigurationError(f"nobody has said who may run the callbacks {', '.join(sorted(bare))}")


def _served(app: Dash) -> dict[str, dict[str, Any]]:
    """The callbacks that run here; those of the browser have no function."""
    return {output: spec for output, spec in app.callback_map.items() if spec.get("callback") is not None}


def _name_of(function: Callable[..., Any]) -> str:
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__}"


def _guarded(function: Callable[..., Any], name: str, least: Role) -> Callable[..., Any]:
    """The function behind its role; what goes wrong in it is one line in the log, and told nobody."""

    @wraps(function)
    async def later(*args: Any, **kwargs: Any) -> Any:
        authorize(current_principal(), least, name)
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            raise _told(error, name) from None

    @wraps(function)
    def now(*args: Any, **kwargs: Any) -> Any:
        authorize(current_principal(), least, name)
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise _told(error, name) from None

    # Dash runs a coroutine function on its loop and any other in a thread: which it is must not change.
    guarded: Callable[..., Any] = later if inspect.iscoroutinefunction(function) else now
    guarded.least = least  # type: ignore[attr-defined]  # what `require_protected` looks for
    return guarded


def _told(error: Exception, name: str) -> Exception:
    if isinstance(error, (PreventUpdate, Denied)):
        return error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    log.error("callback failed", callback=name, error=f"{type(error).__name__}: {error}"[:300], where=where)
    return Unfit(f"what was sent does not fit {name}") if isinstance(error, MISFITS) else RuntimeError("it failed")


class CallbackForm:
    """Lets only well-formed callback requests through to Dash, written anew, so that both readers read the same."""

    def __init__(self, app: ASGIApp, pages: Dash) -> None:
        self._app = app
        self._forms = {
            output: (_named(spec["inputs"]), _named(spec["state"]), _outputs_of(output))
            for output, spec in _served(pages).items()
        }
        self._by_socket = bool(pages._websocket_callbacks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        if scope["type"] == "http" and scope["path"] == CALLBACK_PATH and scope["method"] == "POST":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] == CALLBACK_SOCKET:
            await self._app(scope, self._checked(receive, send), send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()  # the gate has read all of the body
        try:
            if not Headers(scope=scope).get("content-type", "").startswith("application/json"):
                raise Misformed(415, "unsupported_media_type", "send application/json")
            sent = _read(message.get("body", b""))
            self._check(sent)
        except Misformed as error:
            await problem(error.status, error.code, str(error))(scope, receive, send)
            return
        await self._app(scope, _again({**message, "body": msgspec.json.encode(sent)}, receive), send)

    def _checked(self, receive: Receive, send: Send) -> Receive:
        async def checked() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            try:
                return {**message, "text": self._frame(message.get("text") or "")}
            except Misformed as error:
                with suppress(OSError):  # it may have left in the same moment
                    await send({"type": "websocket.close", "code": BAD_FRAME, "reason": str(error)[:100]})
                return {"type": "websocket.disconnect", "code": BAD_FRAME}

        return checked

    def _frame(self, text: str) -> str:
        sent = _read(text)
        frame = _shaped(sent, _Frame)
        if frame.type == "callback_request":
            if not self._by_socket:
                raise Misformed(404, "not_found", "callbacks do not run over this socket")
            self._check(frame.payload)
        return msgspec.json.encode(sent).decode()

    def _check(self, sent: Any) -> None:
        request = _shaped(sent, _Request)
        form = self._forms.get(request.output)
        if form is None:
            raise Misformed(404, "not_found", "there is no such callback")
        outputs: _Properties = request.outputs if isinstance(request.outputs, list) else [request.outputs]
        if not all(map(_fits, form, (request.inputs, request.state, outputs))):
            raise Misformed(422, "bad_field", f"{request.output[:80]} has other inputs, states or outputs")


class Misformed(Exception):  # noqa: N818 - an answer on its way out, not a fault
    """What was sent is no callback request."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code = status, code


_Names = list[tuple[str, str]]
"""Components and their properties."""


def _named(specs: list[dict[str, str]]) -> _Names:
    return [(spec["id"], spec["property"]) for spec in specs]


def _outputs_of(output: str) -> _Names:
    """What a callback sets, by the name Dash gives it: `..a.b...c.d..`, or `a.b`."""
    names = output[2:-2].split("...") if output.startswith("..") else [output]
    return [(component, name) for component, _, name in (each.rpartition(".") for each in names)]


def _fits(names: _Names, sent: _Properties) -> bool:
    """Whether these properties were sent and no others, in this order."""
    return len(names) == len(sent) and all(map(_is_of, names, sent))


def _is_of(name: tuple[str, str], sent: _Property | list[_Property]) -> bool:
    # The id of a pattern is JSON with wildcards: which components match it, only the browser knows.
    if name[0].startswith("{"):
        return True
    # Dash marks the second of two callbacks that set the same property by what follows an @.
    plain = name[1].partition("@")[0]
    return isinstance(sent, _Property) and (sent.id, sent.property.partition("@")[0]) == (name[0], plain)


def _read(text: bytes | str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Misformed(400, "bad_json", "it is not JSON") from error


def _shaped(sent: Any, shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(sent, shape)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Misformed(422, "bad_field", str(error)) from error


def _again(message: Message, receive: Receive) -> Receive:
    pending = [message]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
