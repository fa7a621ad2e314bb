"""The calls of docs/link.md as types: who asks, with which parameters, and how a refusal looks.

It must not know how a call is answered, nor who may make it.
"""

import base64
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from streamer.core.events import Action, Duty, Id, Instant, Key, OrderPlaced, ShortText
from streamer.core.settings import AutopilotRules
from streamer.core.state import DriverState, Risk, Status
from streamer.core.views import OrderView
from streamer.edge.accounts import Role

Limit = Annotated[int, Meta(ge=1, le=1000)]
Layer = Literal["supply", "demand", "balance", "wait"]


class Caller(Struct, frozen=True):
    """Who makes a call, as the dashboard vouches for them. `mall_ids` is the scope; empty means every mall."""

    name: ShortText
    role: Role
    mall_ids: tuple[Id, ...] = ()

    def may_see(self, mall_id: str | None) -> bool:
        """Whether a mall is in scope; what belongs to no mall is in nobody's but an unlimited one."""
        return not self.mall_ids or mall_id in self.mall_ids


class Problem(Struct, frozen=True, omit_defaults=True):
    """Why a call was refused; `order` is the order as it now is, where the refusal is about one."""

    code: str
    detail: str
    order: OrderView | None = None
    retryable: bool = False


class CallRefusedError(Exception):
    """A call ends with a problem and an HTTP status; raised anywhere on its way, worded once, at the link."""

    def __init__(self, status: int, code: str, detail: str, order: OrderView | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.problem = Problem(code, detail, order, retryable=status in {429, 503})


class Answer(Struct, frozen=True):
    """What a call came to."""

    body: object
    status: int = 200


class Call(Struct, frozen=True):
    """One message of the link that wants an answer."""

    call: str
    id: int = 0
    params: msgspec.Raw = msgspec.Raw(b"{}")
    principal: Caller | None = None


class Subscribe(Struct, frozen=True):
    """The message of the link that starts the feed. `malls` empty: all of them."""

    malls: tuple[Id, ...] = ()
    since: dict[str, int] = {}
    epoch: str = ""


class Nothing(Struct, frozen=True):
    """Parameters of a call that has none."""


class Login(Struct, frozen=True):
    """Parameters of `login`; `address` is the browser's, `device` what an earlier log-in from it was given."""

    name: Annotated[str, Meta(max_length=128)]
    password: Annotated[str, Meta(max_length=1024)]
    address: Annotated[str, Meta(max_length=64)] = ""
    device: Annotated[str, Meta(max_length=256)] = ""


class Session(Struct, frozen=True):
    """Parameters of `session` and `logout`."""

    session: Annotated[str, Meta(max_length=256)]


class Bearer(Struct, frozen=True):
    """Parameters of `bearer`."""

    token: Annotated[str, Meta(max_length=256)]


class Hexes(Struct, frozen=True):
    """Parameters of `hexes`."""

    mall_id: Id
    layers: tuple[Layer, ...] = ("supply", "demand", "balance", "wait")


class OfMall(Struct, frozen=True):
    """Parameters of `kpis`."""

    mall_id: Id | None = None


class LearnedAt(Struct, frozen=True):
    """Parameters of `learned`."""

    mall_id: Id


class OutlookAt(Struct, frozen=True):
    """Parameters of `expected`."""

    mall_id: Id


class Orders(Struct, frozen=True):
    """Parameters of `orders`: filters, and a page."""

    status: tuple[Status, ...] = ()
    mall_id: Id | None = None
    driver_id: Id | None = None
    risk: tuple[Risk, ...] | Risk | None = None
    q: ShortText = ""
    cursor: ShortText | None = None
    limit: Limit = 100


class OfOrder(Struct, frozen=True):
    """Parameters of `order` and `history`."""

    order_id: Id


class Candidates(Struct, frozen=True):
    """Parameters of `candidates`."""

    order_id: Id
    limit: Annotated[int, Meta(ge=1, le=50)] = 5


class PreviewOf(Struct, frozen=True):
    """Parameters of `preview`."""

    order_ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=64)]
    driver_id: Id


class Place(Struct, frozen=True):
    """Parameters of `place`; `order` is PROTOCOL's order body."""

    order: OrderPlaced
    key: Key | None = None


class OrderChange(Struct, frozen=True):
    """Parameters of `command`. A null `expected_version` is answered with 428."""

    action: Action
    order_id: Id
    expected_version: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    driver_id: Id | None = None
    position: Annotated[int, Meta(ge=0, le=128)] | None = None
    ready_ms: Instant | None = None
    reason: ShortText = ""
    key: Key | None = None


class Bulk(Struct, frozen=True):
    """Parameters of `bulk`: each command is taken by itself, or, when `atomic`, all of them or none."""

    commands: Annotated[tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=500)]
    atomic: bool = False


class UndoOf(Struct, frozen=True):
    """Parameters of `undo`."""

    command_id: Id
    reason: ShortText = ""
    key: Key | None = None


class Drivers(Struct, frozen=True):
    """Parameters of `drivers`: filters, and a page."""

    state: tuple[DriverState, ...] = ()
    mall_id: Id | None = None
    q: ShortText = ""
    cursor: ShortText | None = None
    limit: Limit = 100


class OfDriver(Struct, frozen=True):
    """Parameters of `driver`."""

    driver_id: Id


class Track(Struct, frozen=True):
    """Parameters of `track`. `reason` says why somebody looks; it is written down with who and when."""

    driver_id: Id
    from_ms: Instant
    to_ms: Instant
    reason: ShortText = ""
    cursor: ShortText | None = None
    limit: Annotated[int, Meta(ge=1, le=5000)] = 1000


class HandOverOf(Struct, frozen=True):
    """Parameters of `hand_over`."""

    driver_id: Id
    to_driver_id: Id | None = None
    reason: ShortText = ""
    key: Key | None = None


class DutyOf(Struct, frozen=True):
    """Parameters of `duty`."""

    driver_id: Id
    duty: Duty
    reason: ShortText = ""
    key: Key | None = None


class AutopilotOf(Struct, frozen=True):
    """Parameters of `set_autopilot`; rules that are left out are the defaults, not what they were."""

    mall_id: Id
    rules: AutopilotRules
    reason: ShortText = ""
    key: Key | None = None


def write_cursor(position: tuple[int, str]) -> str:
    """A position in a list as text that callers pass back and do not read."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def read_cursor(cursor: str | None) -> tuple[int, str]:
    """The position a cursor stands for; before everything when there is none.

    Raises:
        CallRefusedError: no list of ours gave out this cursor.
    """
    if cursor is None:
        return -1, ""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=tuple[int, str])
    except ValueError as error:
        raise CallRefusedError(422, "bad_field", "cursor: it is not one that a list gave out") from error
