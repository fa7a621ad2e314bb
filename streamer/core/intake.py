"""Takes new orders in: checks them against the malls, numbers them, remembers their senders' ids.

It must not know drivers.
"""

from streamer.core.assignments import Assignments
from streamer.core.events import CommandDone, OrderChanged, OrderPlaced, Output, Refused
from streamer.core.geo import flat_m
from streamer.core.state import HistoryItem, Order

REACH = 2.0
"""Drop-offs are taken up to this many service radii away: beyond it the coordinates are wrong, not the radius."""


def place(assignments: Assignments, at_ms: int, item: OrderPlaced, command_id: str) -> tuple[Output, ...]:
    """Places the order, or says why not. The same order sent again is answered, not placed twice."""
    refused = _refusal(assignments, item)
    if refused is not None:
        return (refused,)
    state = assignments.state
    external = f"{item.mall_id}/{item.external_id}"
    if item.external_id is not None and external in state.external:
        return (_again(state.orders[state.external[external]], item),)
    state.orders_placed += 1
    order = Order(
        f"o-{state.orders_placed}", item.mall_id, item.stores, item.dropoff, item.placed_ms, item.due_ms, item.ready_ms,
        item.external_id, item.items, item.priority, at_ms,
    )  # fmt: skip
    order.history.append(HistoryItem(at_ms, item.actor or "shop", "placed", "", {"status": "placed"}, command_id))
    state.orders[order.id] = order
    if item.external_id is not None:
        state.external[external] = order.id
    assignments.learning.promised(order)
    assignments.refresh_queued(order, at_ms)
    return (CommandDone(command_id, (order.id,)), OrderChanged(order.id, order.mall_id))


def _refusal(assignments: Assignments, item: OrderPlaced) -> Refused | None:
    mall = assignments.planner.floor.malls.get(item.mall_id)
    if mall is None:
        return Refused("bad_field", f"mall_id: there is no mall {item.mall_id!r}")
    stores = {store.id for store in mall.stores}
    for store in item.stores:
        if store not in stores:
            return Refused("bad_field", f"stores: {mall.name} has no store {store!r}")
    if len(set(item.stores)) != len(item.stores):
        return Refused("bad_field", "stores: a store is named twice")
    if item.due_ms <= item.placed_ms:
        return Refused("bad_field", f"due_ms {item.due_ms} is not after placed_ms {item.placed_ms}")
    away_m = flat_m(mall.lat, mall.lng, item.dropoff.lat, item.dropoff.lng)
    if away_m > REACH * mall.service_radius_m:
        return Refused("bad_coordinate", f"dropoff: it lies {away_m / 1000:.0f} km from {mall.name}")
    return None


def _again(order: Order, item: OrderPlaced) -> Output:
    same = (order.stores, order.dropoff, order.placed_ms, order.due_ms, order.items) == (
        item.stores, item.dropoff, item.placed_ms, item.due_ms, item.items,
    )  # fmt: skip
    if same:
        return CommandDone(order.history[0].command_id or "", (order.id,), repeated=True)
    return Refused(
        "duplicate_external_id", f"external_id {item.external_id!r} is order {order.id}, placed otherwise",
        order_id=order.id,
    )  # fmt: skip
