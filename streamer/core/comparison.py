"""Two worlds held against each other: figures side by side, each order's lateness, the first decision that differs.

It must not know how either world came about.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from streamer.core.events import HandOver, Input, OrderCommand, SetAutopilot, SetDuty, Undo
from streamer.core.kpis import Kpis, kpis
from streamer.core.state import Order, State


class Decided(Struct, frozen=True):
    """One decision that took effect. `about` and `to` are ids of what was decided about and who was to have it."""

    at_ms: int
    actor: str
    action: str
    about: str
    to: str | None = None

    @property
    def words(self) -> str:
        """As people read it."""
        return f"{self.actor or 'somebody'}: {self.action.replace('_', ' ')} {self.about}" + (
            f" to {self.to}" if self.to else ""
        )


class Difference(Struct, frozen=True):
    """Where the decisions of two worlds part."""

    at_ms: int
    what: str


class Lateness(Struct, frozen=True):
    """How late an order is in both worlds, in milliseconds; below 0: early. None: it is not delivered there, nor
    expected to be (cancelled, failed, or never placed).
    """

    order_id: str
    recorded_late_ms: int | None
    forked_late_ms: int | None
    recorded_driver_id: str | None = None
    forked_driver_id: str | None = None
    """Who has it, or had it when it ended; None: nobody, or it is not there."""


class Comparison(Struct, frozen=True):
    """A recording and a fork of it at `at_ms` (UTC epoch milliseconds). `complete`: both have reached their end.

    `recorded` and `forked` are the figures of both; `orders` are those that were open at the fork or came after it.
    """

    complete: bool
    forked_at_ms: int
    at_ms: int
    recorded: Kpis
    forked: Kpis
    orders: tuple[Lateness, ...]
    first_difference: Difference | None = None


def decided(at_ms: int, item: Input) -> Decided | None:
    """The decision in an input; None for what is not the floor's to decide, as a store's word that it is ready."""
    match item:
        case OrderCommand(action="ready"):
            return None
        case OrderCommand():
            to = item.driver_id if item.action in ("assign", "reassign") else None
            return Decided(at_ms, item.actor, item.action, item.order_id, to)
        case HandOver():
            return Decided(at_ms, item.actor, "hand_over", item.driver_id, item.to_driver_id)
        case SetDuty():
            return Decided(at_ms, item.actor, item.duty, item.driver_id)
        case SetAutopilot():
            return Decided(at_ms, item.actor, "set_autopilot", item.mall_id)
        case Undo():
            return Decided(at_ms, item.actor, "undo", item.command_id)
        case _:
            return None


def first_difference(recorded: Sequence[Decided], forked: Sequence[Decided]) -> Difference | None:
    """The first decision of the fork that was not recorded, or, if that comes first, the recorded one it lacks."""
    for ours, theirs in zip(forked, recorded, strict=False):
        if ours != theirs:
            return _lacks(theirs) if theirs.at_ms < ours.at_ms else Difference(ours.at_ms, ours.words)
    shared = min(len(recorded), len(forked))
    if len(forked) > shared:
        return Difference(forked[shared].at_ms, forked[shared].words)
    return _lacks(recorded[shared]) if len(recorded) > shared else None


def _lacks(missing: Decided) -> Difference:
    return Difference(missing.at_ms, f"not in the fork: {missing.words}")


def compare(
    recorded: State, forked: State, ids: Mapping[str, str], forked_at_ms: int, complete: bool,
    difference: Difference | None,
) -> Comparison:  # fmt: skip
    """Holds the two states against each other.

    Args:
        ids: the fork's order ids by the recording's, where they are not the same.
        forked_at_ms: when they were one.
        complete: nothing more will happen in either.
        difference: where their decisions part.
    """
    rows: list[Lateness] = []
    met: set[str] = set()
    for theirs in recorded.orders.values():
        order_id = ids.get(theirs.id, theirs.id)
        ours = forked.orders.get(order_id)
        met.add(order_id)
        if theirs.ended_ms is None or theirs.ended_ms > forked_at_ms or (ours and ours.ended_ms != theirs.ended_ms):
            forked_late_ms = None if ours is None else _late_ms(ours, forked.at_ms)
            forked_driver_id = None if ours is None else ours.driver_id
            rows.append(
                Lateness(order_id, _late_ms(theirs, recorded.at_ms), forked_late_ms, theirs.driver_id, forked_driver_id)
            )
    rows += [
        Lateness(ours.id, None, _late_ms(ours, forked.at_ms), None, ours.driver_id)
        for ours in forked.orders.values()
        if ours.id not in met
    ]
    at_ms = max(recorded.at_ms, forked.at_ms)
    return Comparison(
        complete, forked_at_ms, at_ms, kpis(recorded, None), kpis(forked, None), tuple(rows), difference
    )  # fmt: skip


def _late_ms(order: Order, at_ms: int) -> int | None:
    """Of a delivered order, what it was; of an open one, what its ETA says, and no less than it is already."""
    if order.status == "delivered":
        return (order.ended_ms or at_ms) - order.due_ms
    if order.ended_ms is not None or order.eta_dropoff_ms is None:
        return None
    return max(order.eta_dropoff_ms, at_ms) - order.due_ms
