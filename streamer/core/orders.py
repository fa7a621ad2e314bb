"""The life of an order: one table of legal steps, and the only function that changes a status.

It must not know drivers' routes, sockets or who may ask.

Rules of the table:
- A row is (status before, step) -> status after. What is not in the table is refused, and the miss is the message.
- `placed` as a target means "back in the queue": an order whose store has said ready goes to `ready` instead.
- A store may say ready at any time before collection; readiness is a time on the order, not a gate in the chain.
- Drivers forget to press buttons: an arrival without `accepted`, a pick-up without an arrival and a delivery without
  an arrival at the door are legal. A pick-up of an order not even accepted, and a delivery without a pick-up, are not.
- Before the pick-up an order can be given to somebody else; after it only by handing the goods over.
- Only an offer that its driver has not answered can lapse: whatever the driver does with the order takes it up.
- `delivered`, `cancelled` and `returned` are final; only an undo of the cancellation reopens `cancelled`.
"""

from typing import Literal, get_args

from streamer.core.events import Id
from streamer.core.state import HistoryItem, Order, Status

Step = Literal[
    "assign", "reassign", "unassign", "hold", "release", "pin", "ready", "unready", "promise", "cancel", "reinstate",
    "accepted", "declined", "offer_lapsed", "arrived_at_pickup", "picked_up", "left_mall", "arrived_at_dropoff",
    "delivered", "failed", "returning", "returned", "hand_over",
]  # fmt: skip

QUEUED: tuple[Status, ...] = ("placed", "ready")
GIVEN: tuple[Status, ...] = ("assigned", "enroute_to_pickup", "arrived_at_pickup")
ON_BOARD: tuple[Status, ...] = ("picked_up", "enroute_to_dropoff", "arrived_at_dropoff")
COMING_BACK: tuple[Status, ...] = ("failed", "returning")
ENDED: tuple[Status, ...] = ("delivered", "cancelled", "returned")
STATUSES: tuple[Status, ...] = get_args(Status)

TRANSITIONS: dict[tuple[Status, Step], Status] = {
    ("placed", "ready"): "ready",
    ("ready", "unready"): "placed",
    ("placed", "assign"): "assigned",
    ("ready", "assign"): "assigned",
    ("assigned", "accepted"): "enroute_to_pickup",
    ("assigned", "arrived_at_pickup"): "arrived_at_pickup",
    ("enroute_to_pickup", "arrived_at_pickup"): "arrived_at_pickup",
    ("enroute_to_pickup", "picked_up"): "picked_up",
    ("arrived_at_pickup", "picked_up"): "picked_up",
    ("picked_up", "left_mall"): "enroute_to_dropoff",
    ("enroute_to_dropoff", "arrived_at_dropoff"): "arrived_at_dropoff",
    ("enroute_to_dropoff", "delivered"): "delivered",
    ("arrived_at_dropoff", "delivered"): "delivered",
    ("assigned", "declined"): "placed",
    ("enroute_to_pickup", "declined"): "placed",
    ("assigned", "offer_lapsed"): "placed",
    ("picked_up", "failed"): "failed",
    ("enroute_to_dropoff", "failed"): "failed",
    ("arrived_at_dropoff", "failed"): "failed",
    ("failed", "returning"): "returning",
    ("failed", "returned"): "returned",
    ("returning", "returned"): "returned",
    ("cancelled", "reinstate"): "placed",
    ("picked_up", "hand_over"): "picked_up",
    ("enroute_to_dropoff", "hand_over"): "picked_up",
    ("arrived_at_dropoff", "hand_over"): "picked_up",
    ("failed", "hand_over"): "failed",
    ("returning", "hand_over"): "returning",
}
for _status in QUEUED:
    TRANSITIONS[_status, "cancel"] = "cancelled"
    TRANSITIONS[_status, "hold"] = TRANSITIONS[_status, "release"] = TRANSITIONS[_status, "promise"] = _status
for _status in GIVEN:
    TRANSITIONS[_status, "cancel"] = "cancelled"
    TRANSITIONS[_status, "reassign"] = "assigned"
    TRANSITIONS[_status, "unassign"] = "placed"
    TRANSITIONS[_status, "hold"] = TRANSITIONS[_status, "release"] = TRANSITIONS[_status, "pin"] = _status
    TRANSITIONS[_status, "ready"] = TRANSITIONS[_status, "unready"] = TRANSITIONS[_status, "promise"] = _status

VERBS: dict[Step, str] = {
    "accepted": "accept", "declined": "decline", "offer_lapsed": "let lapse", "arrived_at_pickup": "arrive to collect",
    "picked_up": "pick up",
    "left_mall": "leave the mall with", "arrived_at_dropoff": "arrive to deliver", "delivered": "deliver",
    "failed": "fail", "returning": "start returning", "returned": "return", "hand_over": "hand over",
    "ready": "mark ready", "unready": "mark not ready", "promise": "change the ready time of",
}  # fmt: skip


def next_status(order: Order, step: Step) -> Status | None:
    """Where the step leads from here, or None when it is not legal."""
    target = TRANSITIONS.get((order.status, step))
    return "ready" if target == "placed" and order.is_ready else target


def illegal(order: Order, step: Step) -> str:
    """The message for a step that is not in the table."""
    verb = VERBS.get(step, step.replace("_", " "))
    return f"cannot {verb} an order that is {order.status.replace('_', ' ')}"


def advance(
    order: Order,
    step: Step,
    at_ms: int,
    actor: str,
    reason: str = "",
    changed: dict[str, str] | None = None,
    command_id: Id | None = None,
) -> None:
    """Takes a legal step: new status, next version, one line of history with what changed.

    Raises:
        ValueError: the step is not in the table; callers check `next_status` first.
    """
    target = next_status(order, step)
    if target is None:
        raise ValueError(illegal(order, step))
    shown = dict(changed or {})
    if target != order.status:
        shown["status"] = target
    order.status = target
    order.version += 1
    order.updated_ms = at_ms
    if target not in QUEUED:
        order.advice = None
    if target != "assigned":
        order.offered_until_ms = None
    if target in ENDED:
        order.ended_ms = at_ms
        order.held = order.pinned = False
    elif step == "reinstate":
        order.ended_ms = None
    order.history.append(HistoryItem(at_ms, actor, step, reason, shown, command_id))
