"""Takes people out of a recording: each name, phone, address and id of a sender becomes a number, the same everywhere.

It must not know files or journals. Drop-offs move to the centre of their res-9 hex (about 350 m across), and `veil`
moves what tracks show of them. The weak spot: where a track goes into a hex and out again stays as it was.
"""

from typing import TypeVar

import h3.api.basic_int as h3
from msgspec.structs import replace

from streamer.core.events import (
    Advice,
    DriverRegistered,
    Dropoff,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Ping,
    PlanMade,
    Report,
    SetAutopilot,
    SetDuty,
    Stop,
    Undo,
)
from streamer.core.hexes import hex_of
from streamer.core.state import Before, CommandRecord, Driver, HistoryItem, Order, State

IMPERSONAL = frozenset({"", "shop", "autopilot"})
"""Actors that are nobody."""
Named = TypeVar("Named", OrderCommand, HandOver, Undo, SetDuty, SetAutopilot)


class Pseudonyms:
    """Numbers people and ids in the order they are met. Free text is emptied: nobody can tell what it says."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, str]] = {}

    def item(self, item: Input) -> Input:
        """The input without people."""
        match item:
            case Ping():
                return replace(item, driver_id=self.driver_id(item.driver_id))
            case Report():
                driver_id = self.driver_id(item.driver_id)
                # A phone makes its reports' ids, often of its driver's.
                return replace(item, driver_id=driver_id, id=self._number("report", item.id), reason="")
            case DriverRegistered():
                driver_id = self.driver_id(item.driver_id)
                return replace(item, driver_id=driver_id, name=driver_id)
            case OrderPlaced():
                return replace(
                    item,
                    dropoff=self._dropoff(item.dropoff),
                    external_id=self._external(item.external_id),
                    actor=self._actor(item.actor),
                    key=None,
                )
            case OrderCommand():
                return replace(self._said(item), driver_id=self._driver_or_none(item.driver_id))
            case SetDuty():
                return replace(self._said(item), driver_id=self.driver_id(item.driver_id))
            case HandOver():
                to_driver_id = self._driver_or_none(item.to_driver_id)
                return replace(self._said(item), driver_id=self.driver_id(item.driver_id), to_driver_id=to_driver_id)
            case Undo():
                return self._said(item)
            case SetAutopilot():
                return self._said(item)
            case PlanMade():
                return replace(item, advice=tuple(self._advice(advice) for advice in item.advice))
            case _:
                return item

    def state(self, state: State) -> State:
        """The state without people. Idempotency keys are forgotten: their senders are."""
        orders = {order_id: self._order(order) for order_id, order in state.orders.items()}
        return replace(
            state,
            drivers={self.driver_id(driver.id): self._driver(driver) for driver in state.drivers.values()},
            orders=orders,
            external={
                f"{order.mall_id}/{order.external_id}": order.id for order in orders.values() if order.external_id
            },
            commands={record.id: self._record(record) for record in state.commands.values()},
            keys={},
            learned=replace(
                state.learned,
                legs={self.driver_id(driver_id): leg for driver_id, leg in state.learned.legs.items()},
            ),
        )

    def driver_id(self, driver_id: str) -> str:
        """The number that stands for a driver."""
        return self._number("driver", driver_id)

    # ------------------------------------------------------------ parts

    def _number(self, kind: str, name: str) -> str:
        known = self._numbers.setdefault(kind, {})
        return known.setdefault(name, f"{kind}-{len(known) + 1}")

    def _actor(self, actor: str) -> str:
        if actor in IMPERSONAL:
            return actor
        drivers = self._numbers.get("driver", {})
        # A driver is the actor of what it reports, and keeps its number there.
        return drivers[actor] if actor in drivers else self._number("person", actor)

    def _external(self, external_id: str | None) -> str | None:
        return None if external_id is None else self._number("order", external_id)

    def _said(self, item: Named) -> Named:
        return replace(item, actor=self._actor(item.actor), reason="", key=None)

    def _dropoff(self, dropoff: Dropoff) -> Dropoff:
        lat, lng = blur(dropoff.lat, dropoff.lng)
        return Dropoff(lat, lng, self._number("customer", f"{dropoff.name}/{dropoff.phone}"))

    def _driver(self, driver: Driver) -> Driver:
        driver_id = self.driver_id(driver.id)
        return replace(
            driver,
            id=driver_id,
            name=driver_id,
            ping=replace(driver.ping, driver_id=driver_id) if driver.ping else None,
            jumps=tuple(replace(jump, driver_id=driver_id) for jump in driver.jumps),
            reports=tuple(self._number("report", report_id) for report_id in driver.reports),
            route=[self._stop(stop) for stop in driver.route],
        )

    def _stop(self, stop: Stop) -> Stop:
        if stop.kind != "dropoff":
            return stop
        lat, lng = blur(stop.lat, stop.lng)
        return replace(stop, lat=lat, lng=lng)

    def _order(self, order: Order) -> Order:
        return replace(
            order,
            dropoff=self._dropoff(order.dropoff),
            external_id=self._external(order.external_id),
            driver_id=self._driver_or_none(order.driver_id),
            advice=self._advice(order.advice) if order.advice else None,
            declined_by=[self.driver_id(driver_id) for driver_id in order.declined_by],
            history=[self._line(line) for line in order.history],
        )

    def _advice(self, advice: Advice) -> Advice:
        return replace(advice, driver_id=self._driver_or_none(advice.driver_id), reason="")

    def _line(self, line: HistoryItem) -> HistoryItem:
        changed = dict(line.changed)
        if changed.get("driver_id"):
            changed["driver_id"] = self.driver_id(changed["driver_id"])
        return replace(line, actor=self._actor(line.actor), reason="", changed=changed)

    def _record(self, record: CommandRecord) -> CommandRecord:
        before = tuple(self._before(was) for was in record.before)
        return replace(record, actor=self._actor(record.actor), before=before)

    def _before(self, was: Before) -> Before:
        return replace(was, driver_id=self._driver_or_none(was.driver_id))

    def _driver_or_none(self, driver_id: str | None) -> str | None:
        return None if driver_id is None else self.driver_id(driver_id)


def blur(lat: float, lng: float) -> tuple[float, float]:
    """The centre of the res-9 hex a point lies in."""
    centre_lat, centre_lng = h3.cell_to_latlng(hex_of(lat, lng))
    return round(centre_lat, 6), round(centre_lng, 6)
