"""What the journal holds about one driver or one customer: which rows, and what they become without that person.

It must not write anything. A driver is found by id; a customer by phone, order id or the shop's own order number, since
the floor knows no customers, only orders.
"""

import re
from collections.abc import Iterator

import apsw
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streamer.core.events import DriverRegistered, Dropoff, HandOver, Input, OrderCommand, OrderPlaced, Ping, Report
from streamer.core.orders import ENDED
from streamer.core.state import NOWHERE, Driver, Order, State
from streamer.edge.journal import layout
from streamer.edge.journal.layout import EntryRow, PingBatch, PingRow

ROUGH = 2
"""Decimals of a degree that stay of where somebody lives: about a kilometre."""
NOBODY = "erased"
"""The driver of pings that are no driver's any more."""

_inputs = msgspec.json.Decoder(Input)


class Subject(Struct, frozen=True):
    """Whom it is about: exactly one of a driver's id, and what names a customer."""

    driver_id: str = ""
    customer: str = ""


class Found(Struct):
    """What there is about a subject: orders by id, the rows to change with their new bodies, texts that are theirs."""

    order_ids: set[str] = msgspec.field(default_factory=set)
    rows: list[tuple[EntryRow, Input]] = msgspec.field(default_factory=list)
    texts: set[str] = msgspec.field(default_factory=set)


def find(connection: apsw.Connection, subject: Subject, state: State) -> Found:
    """Every row of `entry` that tells of the subject, in order."""
    found, placed = Found(), 0
    for row in _inputs_of(connection):
        item = _inputs.decode(row.body)
        if isinstance(item, OrderPlaced):
            # The engine numbers orders as it takes them, and each row of this kind is one that it took.
            placed += 1
            if _is_theirs(subject.customer, f"o-{placed}", item.external_id, item.dropoff):
                found.order_ids.add(f"o-{placed}")
                _note_texts(found, item.dropoff)
                found.rows.append((row, item))
        elif _concerns(item, subject, found.order_ids):
            if isinstance(item, DriverRegistered):
                found.texts.add(item.name)
            found.rows.append((row, item))
    for order in state.orders.values():
        if _is_theirs(subject.customer, order.id, order.external_id, order.dropoff):
            found.order_ids.add(order.id)
            _note_texts(found, order.dropoff)
    found.texts -= {""}
    return found


def _inputs_of(connection: apsw.Connection) -> Iterator[EntryRow]:
    query = (
        "SELECT seq, note, at_ms, kind, body, crc, link FROM entry WHERE note = 0"
        " AND kind IN ('order', 'driver', 'command', 'hand_over', 'report') ORDER BY seq"
    )
    for columns in layout.select(connection, query):
        yield layout.checked(EntryRow(*columns))


def _is_theirs(customer: str, order_id: str, external_id: str | None, dropoff: Dropoff) -> bool:
    if not customer:
        return False
    digits = re.sub(r"\D", "", customer)
    is_phone = len(digits) >= 7 and re.sub(r"\D", "", dropoff.phone) == digits
    return is_phone or customer in {order_id, external_id}


def _concerns(item: Input, subject: Subject, order_ids: set[str]) -> bool:
    match item:
        case DriverRegistered():
            return item.driver_id == subject.driver_id
        case Report():
            return item.driver_id == subject.driver_id and bool(item.reason)
        case HandOver():
            return item.driver_id == subject.driver_id and bool(item.reason)
        case OrderCommand():
            return item.order_id in order_ids and bool(item.reason)
        case _:
            return False


def _note_texts(found: Found, dropoff: Dropoff) -> None:
    found.texts |= {dropoff.name, dropoff.phone, dropoff.address, dropoff.notes}


def without(item: Input) -> Input:
    """The same input, without what tells of a person."""
    match item:
        case OrderPlaced():
            return replace(item, dropoff=_rough(item.dropoff), external_id=None, key=None)
        case DriverRegistered():
            return replace(item, name="")
        case Report() | HandOver() | OrderCommand():
            return replace(item, reason="")
        case _:
            return item


def _rough(dropoff: Dropoff) -> Dropoff:
    return Dropoff(round(dropoff.lat, ROUGH), round(dropoff.lng, ROUGH))


def is_in_use(subject: Subject, found: Found, state: State) -> str:
    """Why the subject cannot be erased yet, or nothing."""
    driver = state.drivers.get(subject.driver_id)
    if driver is not None and (driver.duty != "off_duty" or driver.order_ids):
        return f"driver {driver.id} is on duty or carries orders"
    going_on = sorted(o for o in found.order_ids if o in state.orders and state.orders[o].status not in ENDED)
    return f"order {going_on[0]} is not ended yet" if going_on else ""


def blank(state: State, subject: Subject, found: Found) -> None:
    """Takes the subject out of the state; what it counts stays."""
    if (driver := state.drivers.get(subject.driver_id)) is not None:
        _blank_driver(driver)
        state.learned.legs.pop(driver.id, None)
    for order_id in found.order_ids & state.orders.keys():
        _blank_order(state.orders[order_id])
    for name in [name for name, order_id in state.external.items() if order_id in found.order_ids]:
        del state.external[name]
    # A stored answer shows the orders as they were.
    for key in [key for key, kept in state.keys.items() if found.order_ids & set(kept.order_ids)]:
        del state.keys[key]


def _blank_driver(driver: Driver) -> None:
    driver.name = ""
    driver.ping = driver.mall_id = driver.region = driver.verdict = None
    driver.cell = driver.received_ms = 0
    driver.recent = ()
    driver.jumps = ()
    driver.fences = NOWHERE


def _blank_order(order: Order) -> None:
    order.dropoff = _rough(order.dropoff)
    order.external_id = None
    order.advice = None
    order.history = [replace(item, reason="") for item in order.history]


def pings_without(row: PingRow, driver_id: str) -> PingRow | None:
    """The row without a driver's positions; None if there were none. The others keep their places in it."""
    if driver_id.encode() not in row.body:
        return None
    batch = msgspec.msgpack.decode(row.body, type=PingBatch)
    kept = [Ping(0, 0.0, 0.0, NOBODY) if ping.driver_id == driver_id else ping for ping in batch.pings]
    if kept == batch.pings:
        return None
    body = msgspec.msgpack.encode(replace(batch, pings=kept))
    columns = row.first_seq, row.last_seq, row.first_ms, row.last_ms
    return replace(row, body=body, crc=layout.crc_of(columns, body))
