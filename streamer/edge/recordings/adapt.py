"""Fits a recording to a floor it was not made on: moves its instants, and renumbers it once people have intervened.

It must not know files, clocks or the runner: inputs and states go in, and come out fitted.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from streamer.core.events import (
    Advice,
    CommandDone,
    DriverRegistered,
    HandOver,
    Input,
    OrderChanged,
    OrderCommand,
    OrderPlaced,
    Output,
    Ping,
    PlanMade,
    Report,
    Undo,
)
from streamer.core.pings import is_duplicate
from streamer.core.state import State

INSTANTS = frozenset({
    "at_ms", "fix_ms", "placed_ms", "due_ms", "ready_ms", "updated_ms", "eta_pickup_ms", "eta_dropoff_ms", "eta_ms",
    "arrived_pickup_ms", "picked_up_ms", "ended_ms", "shift_end_ms", "received_ms", "last_active_ms", "since_ms",
    "eta_low_ms", "eta_high_ms", "offered_until_ms", "touched_ms", "depart_ms", "leave_ms", "promise_ms", "low_ms",
    "high_ms", "moved_ms",
})  # fmt: skip
"""Fields of `State` that are points in time; 0 stands for never and is not moved."""
DURATIONS = frozenset({
    "wait_ms", "click_to_door_ms", "look_ms", "offer_ms", "stand_down_ms", "sd_ms", "miss_ms", "width_ms",
})  # fmt: skip
"""Fields of `State` in milliseconds that are not."""


def shift(item: Input, offset_ms: int) -> Input:
    """The input with every instant in it moved by `offset_ms`."""
    match item:
        case Ping() | Report():
            return replace(item, fix_ms=item.fix_ms + offset_ms)
        case OrderPlaced():
            return replace(
                item,
                placed_ms=item.placed_ms + offset_ms,
                due_ms=item.due_ms + offset_ms,
                ready_ms=_moved(item.ready_ms, offset_ms),
            )
        case OrderCommand():
            return replace(item, ready_ms=_moved(item.ready_ms, offset_ms)) if item.ready_ms is not None else item
        case DriverRegistered():
            return replace(item, shift_end_ms=_moved(item.shift_end_ms, offset_ms))
        case PlanMade():
            return replace(item, advice=tuple(_moved_advice(advice, offset_ms) for advice in item.advice))
        case _:
            return item


def shift_state(state: State, offset_ms: int) -> State:
    """The state with every instant in it moved by `offset_ms`."""
    return msgspec.convert(_walk(msgspec.to_builtins(state), offset_ms), State)


def _moved(at_ms: int | None, offset_ms: int) -> int | None:
    return None if at_ms is None else at_ms + offset_ms


def _moved_advice(advice: Advice, offset_ms: int) -> Advice:
    return replace(
        advice,
        depart_ms=_moved(advice.depart_ms, offset_ms),
        leave_ms=_moved(advice.leave_ms, offset_ms),
        eta_dropoff_ms=_moved(advice.eta_dropoff_ms, offset_ms),
    )


def _walk(value: Any, offset_ms: int) -> Any:
    if isinstance(value, list | tuple):
        return [_walk(part, offset_ms) for part in value]
    if not isinstance(value, dict):
        return value
    return {name: _walk_field(name, part, offset_ms) for name, part in value.items()}


def _walk_field(name: str, value: Any, offset_ms: int) -> Any:
    if name in INSTANTS and value:
        # A line of history keeps new values as text.
        return str(int(value) + offset_ms) if isinstance(value, str) else value + offset_ms
    if name == "recent":
        return [[fix_ms + offset_ms, lat, lng] for fix_ms, lat, lng in value]
    return _walk(value, offset_ms)


class Adapter:
    """Keeps a recording sensible on a floor that people have changed.

    The recording speaks of orders, commands, versions and assignment numbers as they were when it was made. As long as
    nobody intervened they still are; afterwards each is translated to what stands for it now. What the recording
    decided about an order that a person has touched since is left out: the person decides.

    The weak spot: drivers go on driving as recorded, so one that was given another order by hand does not fetch it. A
    floor that people work on is therefore forked at their first decision (`forking`); this is for cutting recordings,
    and for the floor until then.

    A plan of this floor's autopilot is no intervention: it binds nobody. It only takes numbers that the recording's
    commands had, so these are translated from then on.

    Attributes:
        disturbed: somebody intervened.
        skipped: recorded inputs left out because nothing fits them any more.
        recorded_seq: how many inputs had taken effect here when the recording was made.
        commands: this floor's command ids by the recording's.
    """

    def __init__(self, state: State) -> None:
        self.disturbed = False
        self.skipped = 0
        self.recorded_seq = state.seq
        self._recorded_orders = state.orders_placed
        self._orders = {order_id: order_id for order_id in state.orders}
        self.commands = {command_id: command_id for command_id in state.commands}
        self._touched: set[str] = set()

    def touch(self, item: Input, outputs: tuple[Output, ...]) -> None:
        """An input that is not the recording's has taken effect."""
        if isinstance(item, PlanMade):
            return
        self.disturbed = True
        for output in outputs:
            match output:
                case CommandDone():
                    self._touched.update(output.order_ids)
                case OrderChanged(versioned=True):
                    self._touched.add(output.order_id)
                case _:
                    pass

    def adapt(self, item: Input, state: State) -> Input | None:
        """What a recorded input means on the floor as it now is; None when it means nothing any more."""
        if not self.disturbed:
            if isinstance(item, Undo):
                return replace(item, command_id=self.commands.get(item.command_id, item.command_id))
            return item
        adapted = renumber(item, state, self._touched, self._orders, self.commands)
        self.skipped += adapted is None
        return adapted

    def follow(self, item: Input, state: State, outputs: tuple[Output, ...] | None) -> None:
        """A recorded input was handled, with these outputs if it took effect: keep count of what it was called then."""
        if outputs is None and self._had_no_effect(item, state):
            return
        self.recorded_seq += 1
        if isinstance(item, OrderPlaced):
            self._recorded_orders += 1
        done = outputs[0] if outputs else None
        if isinstance(done, CommandDone):
            self.commands[f"c-{self.recorded_seq}"] = done.command_id
            if isinstance(item, OrderPlaced):
                self._orders[f"o-{self._recorded_orders}"] = done.order_ids[0]

    def _had_no_effect(self, item: Input, state: State) -> bool:
        """Whether an input without effect here had none in the recording either, where only duplicates had none."""
        if not self.disturbed:
            return True
        driver = state.drivers.get(item.driver_id) if isinstance(item, Ping) else None
        return driver is not None and isinstance(item, Ping) and is_duplicate(driver, item)


def renumber(
    item: Input, state: State, touched: set[str], orders: dict[str, str], commands: dict[str, str]
) -> Input | None:
    """A recorded input in the numbers of this floor; None when it has lost its meaning.

    Args:
        touched: orders a person has changed; recorded decisions about them are left out.
        orders: this floor's order ids by the recording's; one that is not there never came to this floor.
        commands: this floor's command ids by the recording's, likewise.
    """
    match item:
        case OrderCommand():
            order = state.orders.get(orders.get(item.order_id, ""))
            if order is None or order.id in touched:
                return None
            return replace(item, order_id=order.id, expected_version=order.version)
        case Report(order_ids=order_ids) if order_ids:
            driver = state.drivers.get(item.driver_id)
            named = [orders.get(order_id, "") for order_id in order_ids]
            own = tuple(order_id for order_id in named if driver is not None and order_id in driver.order_ids)
            if driver is None or not own:
                return None
            return replace(item, order_ids=own, assignment=driver.assignment)
        case HandOver():
            driver = state.drivers.get(item.driver_id)
            return None if driver is None or touched.intersection(driver.order_ids) else item
        case Undo():
            command_id = commands.get(item.command_id)
            return None if command_id is None else replace(item, command_id=command_id)
        case PlanMade():
            advice = tuple(_renumbered(one, touched, orders) for one in item.advice)
            known = tuple(one for one in advice if one is not None)
            return replace(item, advice=known) if known else None
        case _:
            return item


def _renumbered(advice: Advice, touched: set[str], orders: dict[str, str]) -> Advice | None:
    """Advice in the numbers of this floor; None on an order that a person has touched, or that never came here."""
    order_id = orders.get(advice.order_id)
    if order_id is None or order_id in touched:
        return None
    return replace(advice, order_id=order_id, trip=tuple(orders[one] for one in advice.trip if one in orders))
