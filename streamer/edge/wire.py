"""Between JSON texts and typed messages of the driver socket (PROTOCOL §2), both ways, with a code for every fault.

It must not know sockets, tokens or the engine: a text becomes messages and errors, nothing is looked up.
"""

import json
import math
import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from streamer.core.events import Ping, Report

MAX_ITEMS = 500
"""Messages in one array."""
MAX_FRAME_BYTES = 256 * 1024
"""500 pings of 150 bytes fit three times over; a longer frame closes the socket with 1009. This is a security limit."""
MAX_MESSAGE_CHARS = 200
"""An error repeats what it met only up to here, so that a hostile frame is not echoed in full."""

Code = Literal[
    "bad_json", "bad_field", "bad_coordinate", "future", "too_old", "off_duty", "not_yours", "stale_assignment",
    "bad_transition", "rate_limited", "too_large", "overloaded", "storage_full", "internal",
]  # fmt: skip
CODES: frozenset[str] = frozenset(get_args(Code))


class Close(IntEnum):
    """Why the server closes a socket."""

    GOING_AWAY = 1001
    ABNORMAL = 1006
    BROKEN_RULES = 1008
    TOO_LARGE = 1009
    INTERNAL = 1011
    RESTART = 1012
    SLOW_READER = 1013
    UNAUTHENTICATED = 4401
    NOT_YOURS = 4403
    SUPERSEDED = 4409
    FLOODING = 4429


class WireError(Struct, frozen=True):
    """What is wrong with one message, and what could be read of its identity, for the nack."""

    code: Code
    message: str
    seq: int | None = None
    id: str | None = None
    driver_id: str | None = None
    fix_ms: int | None = None


class ServerMessage(Struct, frozen=True, tag_field="type", omit_defaults=True):
    """Anything the server says. Fields left at their default are not sent."""


class Welcome(ServerMessage, frozen=True, tag="welcome"):
    """First message on a socket. `last_seq` is -1 before the first ping; a gateway has its name instead of a driver."""

    driver_id: str | None
    server_ms: int
    last_seq: int | None
    gateway: str | UnsetType = UNSET


class Ack(ServerMessage, frozen=True, tag="ack"):
    """Pings up to `seq` are durable, or the report `id` is. A ping without `seq` is named by its `fix_ms`."""

    seq: int | UnsetType | None = UNSET
    fix_ms: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    driver_id: str | UnsetType = UNSET


class Nack(ServerMessage, frozen=True, tag="nack"):
    """A message had no effect. `seq` is null when nothing could be read of it; `retryable`: the same may do later."""

    code: Code
    retryable: bool
    message: str
    seq: int | UnsetType | None = UNSET
    fix_ms: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    driver_id: str | UnsetType = UNSET


class RouteStore(Struct, frozen=True):
    """A store an order is collected from."""

    id: str
    name: str


class RouteStop(Struct, frozen=True, omit_defaults=True):
    """One visit. `eta_ms` is an instant of the floor's clock; `name` and `notes` are the customer's, at a drop-off."""

    kind: Literal["pickup", "dropoff", "return"]
    order_id: str
    lat: float
    lng: float
    address: str
    eta_ms: int
    mall_id: str | UnsetType = UNSET
    stores: tuple[RouteStore, ...] = ()
    name: str = ""
    notes: str = ""
    offered_until_ms: int | UnsetType = UNSET
    """At a pick-up that is an offer: when it lapses, unless the driver accepts or declines before."""


class Route(ServerMessage, frozen=True, tag="route"):
    """All stops a driver has now, in order; none when nothing is left. `assignment` is the number to present."""

    assignment: int
    stops: tuple[RouteStop, ...]
    driver_id: str | UnsetType = UNSET


Incoming = Ping | Report
Outgoing = Welcome | Ack | Nack | Route
Received = Ping | Report | WireError

_FRAME = msgspec.json.Decoder(Ping | Report | Annotated[list[Ping | Report], Meta(max_length=MAX_ITEMS)])
_ITEM = msgspec.json.Decoder(Ping | Report)
_ENCODER = msgspec.json.Encoder()
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_id(text: str) -> bool:
    """Whether `text` can name a driver, an order or a mall (PROTOCOL: `[A-Za-z0-9_-]{1,64}`)."""
    return _ID.fullmatch(text) is not None


def encode(message: ServerMessage) -> bytes:
    """A message as the UTF-8 of one JSON text."""
    return _ENCODER.encode(message)


def encode_all(messages: Sequence[ServerMessage]) -> list[bytes]:
    """Messages as `encode` has them, a text each; they are made as lines, since JSON holds no bare line feed."""
    return _ENCODER.encode_lines(messages).split(b"\n")[:-1]


def decode_frame(frame: bytes | str) -> list[Received]:
    """Reads one frame: an object, or an array of up to 500. Never raises: what is wrong comes back as a `WireError`.

    In an array every bad item is an error of its own and the good ones are kept, in order. An array that is too long
    is one error, and nothing of it is kept.
    """
    try:
        decoded = _FRAME.decode(frame)
    except (ValueError, RecursionError):
        # Rare, so it may be slow: read again item by item to say what is wrong with which.
        return _sift(frame)
    if isinstance(decoded, list):
        for item in decoded:
            if type(item) is Ping and item.lat == 0 and item.lng == 0:
                return [_placed(item) for item in decoded]
        # Nothing to replace in nearly any array, so it is not copied.
        return decoded or [WireError("bad_field", "an empty array holds no message")]
    return [_placed(decoded)]


def _placed(item: Incoming) -> Received:
    # A phone without a fix sends zeros. No mall stands in the Gulf of Guinea.
    if type(item) is Ping and item.lat == 0 and item.lng == 0:
        message = "lat and lng are both 0: the phone has no fix"
        return WireError("bad_coordinate", message, item.seq, None, item.driver_id or None, item.fix_ms)
    return item


def _sift(frame: bytes | str) -> list[Received]:
    try:
        text = frame if isinstance(frame, str) else bytes(frame).decode()
        parsed = json.loads(text)
    except UnicodeDecodeError:
        return [WireError("bad_json", "not UTF-8")]
    except RecursionError:
        return [WireError("bad_json", "nested too deeply")]
    except ValueError as error:
        return [WireError("bad_json", _short(f"not JSON: {error}"))]
    if not isinstance(parsed, list):
        return [_judge(parsed)]
    if len(parsed) > MAX_ITEMS:
        return [WireError("too_large", f"an array carries up to {MAX_ITEMS} messages, this one has {len(parsed)}")]
    return [_judge(item) for item in parsed]


def _judge(item: object) -> Received:
    if not isinstance(item, dict):
        return WireError("bad_json", f"a message is a JSON object, not {_kind(item)}")
    try:
        return _placed(_ITEM.decode(json.dumps(item, ensure_ascii=False).encode()))
    except UnicodeEncodeError:
        return _blame(item, "bad_json", "a text holds half of a surrogate pair")
    except RecursionError:
        return _blame(item, "bad_json", "nested too deeply")
    except msgspec.ValidationError as error:
        what, _, path = str(error).replace("`", "").partition(" - at $.")
        spoilt = path in {"lat", "lng"} and _is_number(item.get(path))
        what = what[:1].lower() + what[1:]
        return _blame(item, "bad_coordinate" if spoilt else "bad_field", f"{path}: {what}" if path else what)
    except msgspec.DecodeError:
        # Python's reader lets NaN and Infinity pass, and a number too large becomes Infinity; JSON has none of them.
        for field in ("lat", "lng"):
            value = item.get(field)
            if isinstance(value, float) and not math.isfinite(value):
                return _blame(item, "bad_coordinate", f"{field}: not a finite number")
        return _blame(item, "bad_json", "NaN, Infinity and numbers beyond 1e308 are not JSON")


def _blame(item: dict[str, object], code: Code, message: str) -> WireError:
    return WireError(
        code, _short(message), _whole(item.get("seq")), _name(item.get("id")), _name(item.get("driver_id")),
        _whole(item.get("fix_ms")),
    )  # fmt: skip


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53 else None


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and is_id(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")


def _short(text: str) -> str:
    # What an error quotes comes from the sender, and may hold half of a surrogate pair, which no JSON text can carry.
    text = text.encode(errors="replace").decode()
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def schemas() -> dict[str, object]:
    """The JSON Schema (2020-12) of every message of the driver socket, by its `type`."""
    types: dict[str, type[Struct]] = {
        "ping": Ping, "report": Report, "welcome": Welcome, "ack": Ack, "nack": Nack, "route": Route,
    }  # fmt: skip
    return {name: msgspec.json.schema(message) for name, message in types.items()}
