"""What the world of a fork knows of each order: when its stores have packed it, and whether somebody will be in.

It must not know drivers. The recording's outlook is the truth; stores that are made late in the fork add to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush

from msgspec import Struct

from streamer.core.changes import LateStore
from streamer.core.events import OrderCommand
from streamer.core.state import Order
from streamer.sim.keeping import Numbers
from streamer.sim.outlook import Outlook


class Truth(Struct):
    """What the world knows of an order, and no driver does: since when it is ready, and whether somebody is in."""

    ready_ms: int
    somebody_in: bool | None = None


class Truths:
    """The truth about every order of the fork.

    Attributes:
        by_order: by the fork's order ids.
    """

    def __init__(self, outlook: Outlook, numbers: Numbers, late: Iterable[LateStore]) -> None:
        self.by_order: dict[str, Truth] = {}
        self._outlook, self._numbers = outlook, numbers
        self._late = {(one.mall_id, one.store_id): one.late_ms for one in late}
        self._unsaid: list[tuple[int, str]] = []

    def look_around(self, orders: Mapping[str, Order]) -> None:
        """Learn of orders that are new."""
        for order in orders.values():
            if order.ended_ms is None and order.id not in self.by_order:
                self.know(order)

    def know(self, order: Order) -> None:
        """Learn of one."""
        origin = self._numbers.origin(order.id) or ""
        ready_ms = self._outlook.ready.get(origin)
        if ready_ms is None:
            promised_ms = order.ready_ms if order.ready_ms is not None else order.placed_ms
            # What no store of the recording has called ready was not; an order of this fork alone keeps its promise.
            never = self._outlook.stores_speak and origin
            ready_ms = max(promised_ms, self._outlook.end_ms + 1) if never else promised_ms
        late_ms = max((self._late.get((order.mall_id, store), 0) for store in order.stores), default=0)
        self.by_order[order.id] = Truth(ready_ms + late_ms, self._outlook.somebody_in.get(origin))

    def is_delayed(self, order: Order, at_ms: int) -> bool:
        """Whether a store that was made late has not packed it yet."""
        if not self._late or order.is_ready:
            return False
        late = any((order.mall_id, store) in self._late for store in order.stores)
        return late and self.by_order[order.id].ready_ms > at_ms

    def say_later(self, order: Order) -> None:
        """The store's word of an order that is delayed comes when it is packed."""
        heappush(self._unsaid, (self.by_order[order.id].ready_ms, order.id))

    def words(self, orders: Mapping[str, Order], at_ms: int) -> Iterator[OrderCommand]:
        """The words of stores made late that are due."""
        while self._unsaid and self._unsaid[0][0] <= at_ms:
            order = orders.get(heappop(self._unsaid)[1])
            if order is not None and order.ended_ms is None and order.picked_up_ms is None and not order.is_ready:
                yield OrderCommand("ready", order.id, order.version, order.stores[0])

    @property
    def has_words(self) -> bool:
        """Whether a store made late has yet to speak."""
        return bool(self._unsaid)
