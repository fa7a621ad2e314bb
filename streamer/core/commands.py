"""Decisions about orders and drivers, by people and by the autopilot, on one path.

It must not know screens, REST or sockets. A command carries the version its decider saw, an idempotency key, and takes
effect wholly or not at all; every one that did is kept so that it can be undone.
"""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from streamer.core import drivers as driving
from streamer.core.assignments import Assignments
from streamer.core.events import (
    Command,
    CommandDone,
    HandOver,
    OrderChanged,
    OrderCommand,
    OrderPlaced,
    Output,
    Refused,
    SetAutopilot,
    SetDuty,
    Undo,
)
from streamer.core.orders import COMING_BACK, GIVEN, ON_BOARD, Step, advance, illegal, next_status
from streamer.core.state import Before, CommandRecord, Driver, KeyRecord, Order
from streamer.core.views import order_view

AUTOPILOT = "autopilot"
MACHINES = frozenset({AUTOPILOT, "shop", ""})
"""Actors that are nobody: what they decide is no reason for the autopilot to stand back."""

_encoder = msgspec.json.Encoder()


def run(assignments: Assignments, at_ms: int, item: Command, command_id: str) -> tuple[Output, ...]:
    """Carries a command out, or says why not."""
    if item.actor == AUTOPILOT and not isinstance(item, OrderCommand):
        # Those would get around what a person held, pinned or touched.
        return (Refused("forbidden", "the autopilot decides about one order at a time, and nothing else"),)
    match item:
        case OrderCommand():
            return _order_command(assignments, at_ms, item, command_id)
        case HandOver():
            return _hand_over(assignments, at_ms, item, command_id)
        case Undo():
            return _undo(assignments, at_ms, item, command_id)
        case SetDuty():
            return _set_duty(assignments, at_ms, item, command_id)
        case SetAutopilot():
            return _set_autopilot(assignments, at_ms, item, command_id)


# ---------------------------------------------------------------- idempotency


def repeated(assignments: Assignments, item: Command | OrderPlaced) -> Output | None:
    """The answer this key got before, a refusal when it stood for something else, or None when it is new."""
    if item.key is None:
        return None
    known = assignments.state.keys.get(f"{item.actor}:{item.key}")
    if known is None:
        return None
    if known.fingerprint != _fingerprint(item):
        return Refused("key_reused", f"key {item.key!r} stood for another request")
    return CommandDone(known.command_id, known.order_ids, repeated=True)


def remember_key(assignments: Assignments, at_ms: int, item: Command | OrderPlaced, done: CommandDone) -> None:
    """Keeps what a key stands for, for `keys_kept_ms`."""
    if item.key is not None:
        answer = _encoder.encode([order_view(assignments.state.orders[order_id]) for order_id in done.order_ids])
        record = KeyRecord(at_ms, _fingerprint(item), done.command_id, done.order_ids, answer)
        assignments.state.keys[f"{item.actor}:{item.key}"] = record


def _fingerprint(item: Command | OrderPlaced) -> str:
    return blake2b(_encoder.encode(replace(item, key=None)), digest_size=16).hexdigest()


# ---------------------------------------------------------------- one order


def _order_command(assignments: Assignments, at_ms: int, item: OrderCommand, command_id: str) -> tuple[Output, ...]:
    order = assignments.state.orders.get(item.order_id)
    if order is None:
        return (Refused("not_found", f"there is no order {item.order_id}"),)
    if item.expected_version != order.version:
        message = f"order {order.id} is at version {order.version}, you saw {item.expected_version}"
        return (Refused("version_conflict", message, order_id=order.id),)
    step = _step_of(item, at_ms)
    if next_status(order, step) is None:
        return (Refused("bad_transition", illegal(order, step), order_id=order.id),)
    driver = assignments.state.drivers.get(item.driver_id or "")
    if item.actor == AUTOPILOT and (order.held or order.pinned):
        word = "held" if order.held else "pinned"
        return (Refused(word, f"order {order.id} is {word} by a person", order_id=order.id),)
    if step in {"assign", "reassign"}:
        refused = _cannot_take(assignments, driver, order, item)
        if refused is not None:
            return (refused,)
    if item.actor == AUTOPILOT and (busy := _in_peoples_hands(assignments, order, driver, at_ms)) is not None:
        return (Refused("stood_down", f"a person decided about {busy} a moment ago", order_id=order.id),)
    before = _before(assignments, order)
    touched = [order.driver_id, driver.id if driver and step in {"assign", "reassign"} else None]
    _apply(assignments, at_ms, item, step, order, driver, command_id)
    if step == "reassign":
        assignments.tally(order.mall_id).reassigned += 1
    return _done(assignments, at_ms, command_id, item.actor, item.action, (before,), touched)


def _in_peoples_hands(assignments: Assignments, order: Order, driver: Driver | None, at_ms: int) -> str | None:
    """What of an autopilot's command a person touched less than `stand_down_ms` ago, or None."""
    since_ms = at_ms - assignments.autopilot(order.mall_id).stand_down_ms
    if order.touched_ms > since_ms:
        return f"order {order.id}"
    holder = assignments.state.drivers.get(order.driver_id or "")
    touched = next((one for one in (holder, driver) if one is not None and one.touched_ms > since_ms), None)
    return None if touched is None else f"driver {touched.id}"


def _step_of(item: OrderCommand, at_ms: int) -> Step:
    """A command is a step of the same name; a ready time still ahead is a promise, not readiness."""
    if item.action == "ready" and item.ready_ms is not None and item.ready_ms > at_ms:
        return "promise"
    return item.action


def _cannot_take(assignments: Assignments, driver: Driver | None, order: Order, item: OrderCommand) -> Refused | None:
    if item.driver_id is None:
        return Refused("bad_field", f"driver_id: {item.action} needs the driver", order_id=order.id)
    if driver is None:
        return Refused("unknown_driver", f"there is no driver {item.driver_id}", order_id=order.id)
    if item.actor == AUTOPILOT and driver.id in order.declined_by:
        return Refused("declined", f"driver {driver.id} declined order {order.id}", order_id=order.id)
    return _unfit(driver, order.mall_id, 0 if order.driver_id == driver.id else 1, order.id)


def _unfit(driver: Driver, mall_id: str, orders: int, order_id: str | None = None) -> Refused | None:
    if driver.duty != "on_duty":
        return Refused("driver_off_duty", f"driver {driver.id} is {driver.duty.replace('_', ' ')}", order_id=order_id)
    if driver.mall_ids and mall_id not in driver.mall_ids:
        return Refused("wrong_mall", f"driver {driver.id} does not serve {mall_id}", order_id=order_id)
    if driving.room(driver) < orders:
        message = f"driver {driver.id} carries {len(driver.order_ids)} of {driver.capacity} orders"
        return Refused("over_capacity", message, order_id=order_id)
    return None


def _apply(
    assignments: Assignments, at_ms: int, item: OrderCommand, step: Step, order: Order, driver: Driver | None,
    command_id: str,
) -> None:  # fmt: skip
    said = (at_ms, item.actor, item.reason)
    match step:
        case "assign" | "reassign":
            assert driver is not None
            assignments.give(order, driver, step, *said, command_id, item.position)
            _offer(assignments, at_ms, item, order)
        case "unassign":
            assignments.take(order, step, *said, command_id)
        case "cancel":
            assignments.take(order, step, *said, command_id)
            assignments.tally(order.mall_id).cancelled += 1
        case "ready" | "promise":
            order.is_ready = step == "ready"
            order.ready_ms = at_ms if item.ready_ms is None else item.ready_ms
            advance(order, step, *said, {"ready_ms": str(order.ready_ms)}, command_id)
        case _:
            _set_flags(order, step in {"hold"}, step in {"pin"})
            advance(order, step, *said, {"held": str(order.held), "pinned": str(order.pinned)}, command_id)


def _offer(assignments: Assignments, at_ms: int, item: OrderCommand, order: Order) -> None:
    """What the autopilot gives out is an offer, where the mall's rules say so; what people give is given for good."""
    offer_ms = assignments.autopilot(order.mall_id).offer_ms
    if item.actor == AUTOPILOT and offer_ms:
        order.offered_until_ms = at_ms + offer_ms
        assignments.tally(order.mall_id).offers += 1


def _set_flags(order: Order, hold: bool, pin: bool) -> None:
    """Hold and pin add to each other; release clears both. Neither leaves it to a clock who has the order."""
    order.held = hold or (pin and order.held)
    order.pinned = pin or (hold and order.pinned)
    if order.held or order.pinned:
        order.offered_until_ms = None


def _before(assignments: Assignments, order: Order) -> Before:
    driver = assignments.state.drivers.get(order.driver_id or "")
    drops = [stop.order_id for stop in driver.route if stop.kind == "dropoff"] if driver else []
    return Before(
        order.id, order.status, order.driver_id, drops.index(order.id) if order.id in drops else None, order.held,
        order.pinned, order.is_ready, order.ready_ms,
    )  # fmt: skip


def _done(
    assignments: Assignments,
    at_ms: int,
    command_id: str,
    actor: str,
    action: str,
    before: tuple[Before, ...],
    driver_ids: Sequence[str | None],
) -> tuple[Output, ...]:
    """Keeps the command, settles the drivers it touched, and tells everybody."""  # fmt: skip
    state = assignments.state
    state.commands[command_id] = CommandRecord(command_id, at_ms, actor, action, before)
    orders = [state.orders[was.order_id] for was in before]
    if actor not in MACHINES and action != "ready":
        _touch(assignments, at_ms, orders, driver_ids)
    for order in orders:
        if order.driver_id is None and order.ended_ms is None:
            assignments.refresh_queued(order, at_ms)
    settled = [
        output
        for driver_id in dict.fromkeys(driver_ids)
        if driver_id is not None
        for output in assignments.settle(state.drivers[driver_id], at_ms)
    ]
    news = [OrderChanged(order.id, order.mall_id) for order in orders]
    return (CommandDone(command_id, tuple(order.id for order in orders)), *news, *settled)


def _touch(assignments: Assignments, at_ms: int, orders: Sequence[Order], driver_ids: Sequence[str | None]) -> None:
    """A person decided: the autopilot stands back for a while, and what was an offer is given for good.

    A store's word that it is ready is no decision, whoever passes it on.
    """
    for order in orders:
        order.touched_ms = at_ms
        order.offered_until_ms = None
    for driver_id in driver_ids:
        if driver_id is not None:
            assignments.state.drivers[driver_id].touched_ms = at_ms


# ---------------------------------------------------------------- a driver's orders, and its duty


def _hand_over(assignments: Assignments, at_ms: int, item: HandOver, command_id: str) -> tuple[Output, ...]:
    state = assignments.state
    driver = state.drivers.get(item.driver_id)
    to = state.drivers.get(item.to_driver_id or "")
    if driver is None or (item.to_driver_id is not None and to is None):
        return (Refused("unknown_driver", f"there is no driver {item.to_driver_id if driver else item.driver_id}"),)
    if to is driver:
        return (Refused("bad_field", "to_driver_id: a driver cannot hand over to itself"),)
    movable = GIVEN if to is None else (*GIVEN, *ON_BOARD, *COMING_BACK)
    orders = [order for order_id in driver.order_ids if (order := state.orders[order_id]).status in movable]
    if not orders:
        return (Refused("bad_transition", f"driver {driver.id} has no orders to hand over"),)
    if to is not None:
        for order in orders:
            refused = _unfit(to, order.mall_id, len(orders))
            if refused is not None:
                return (refused,)
    before = tuple(_before(assignments, order) for order in orders)
    for order in orders:
        if to is None:
            assignments.take(order, "unassign", at_ms, item.actor, item.reason, command_id)
        else:
            step: Step = "reassign" if order.status in GIVEN else "hand_over"
            assignments.give(order, to, step, at_ms, item.actor, item.reason, command_id)
            assignments.tally(order.mall_id).reassigned += 1
    return _done(assignments, at_ms, command_id, item.actor, "hand_over", before, [driver.id, to.id if to else None])


def _set_duty(assignments: Assignments, at_ms: int, item: SetDuty, command_id: str) -> tuple[Output, ...]:
    driver = assignments.state.drivers.get(item.driver_id)
    if driver is None:
        return (Refused("unknown_driver", f"there is no driver {item.driver_id}"),)
    orders = [assignments.state.orders[order_id] for order_id in driver.order_ids]
    if item.duty != "on_duty" and any(order.status not in GIVEN for order in orders):
        return (Refused("bad_transition", f"driver {driver.id} has goods on board: hand them over first"),)
    before = tuple(_before(assignments, order) for order in orders) if item.duty != "on_duty" else ()
    if item.duty != "on_duty":
        for order in orders:
            assignments.take(order, "unassign", at_ms, item.actor, item.reason or f"driver {item.duty}", command_id)
    driver.duty = item.duty
    driver.last_active_ms = at_ms
    return _done(assignments, at_ms, command_id, item.actor, item.duty, before, [driver.id])


# ---------------------------------------------------------------- the autopilot


def _set_autopilot(assignments: Assignments, at_ms: int, item: SetAutopilot, command_id: str) -> tuple[Output, ...]:
    if item.mall_id not in assignments.planner.floor.malls:
        return (Refused("not_found", f"there is no mall {item.mall_id}"),)
    assignments.state.autopilot[item.mall_id] = item.rules
    done = _done(assignments, at_ms, command_id, item.actor, "autopilot", (), ())
    return (*done, *(_without_advice(assignments, item.mall_id) if item.rules.mode == "off" else ()))


def _without_advice(assignments: Assignments, mall_id: str) -> list[Output]:
    """Nobody keeps the advice true any more, so it goes."""
    outputs: list[Output] = []
    for order in assignments.state.orders.values():
        if order.mall_id == mall_id and order.advice is not None:
            order.advice = None
            outputs.append(OrderChanged(order.id, mall_id, versioned=False))
    return outputs


# ---------------------------------------------------------------- undo


def _undo(assignments: Assignments, at_ms: int, item: Undo, command_id: str) -> tuple[Output, ...]:
    state = assignments.state
    record = state.commands.get(item.command_id)
    if record is None:
        return (Refused("not_found", f"there is no command {item.command_id}"),)
    refused = _cannot_undo(assignments, record)
    if refused is not None:
        return (refused,)
    reason = item.reason or f"undo of {record.action}"
    touched = [
        driver_id for was in record.before for driver_id in (state.orders[was.order_id].driver_id, was.driver_id)
    ]
    before = tuple(_before(assignments, state.orders[was.order_id]) for was in record.before)
    for was in record.before:
        _restore(assignments, state.orders[was.order_id], was, record, at_ms, item.actor, reason, command_id)
    record.undone_by = command_id
    return _done(assignments, at_ms, command_id, item.actor, "undo", before, touched)


def _cannot_undo(assignments: Assignments, record: CommandRecord) -> Refused | None:
    """An undo stands on the last command of each order; what drivers did since does not matter until the pick-up."""
    if record.undone_by is not None:
        return Refused("not_undoable", f"command {record.id} is undone already")
    if record.action in {"undo", "on_duty", "off_duty", "on_break", "placed", "autopilot"}:
        return Refused("not_undoable", f"a command {record.action} has no undo")
    for was in record.before:
        order = assignments.state.orders.get(was.order_id)
        if order is None:
            return Refused("not_undoable", f"order {was.order_id} is over")
        last = next((line.command_id for line in reversed(order.history) if line.command_id), None)
        if last != record.id:
            message = f"order {order.id} was changed since by command {last}"
            return Refused("not_undoable", message, order_id=order.id)
        step = _compensation(order, was, record)
        if next_status(order, step) is None:
            return Refused("not_undoable", illegal(order, step), order_id=order.id)
        if step in {"assign", "reassign", "hand_over"}:
            driver = assignments.state.drivers[was.driver_id or ""]
            unfit = _unfit(driver, order.mall_id, len(record.before), order.id)
            if unfit is not None:
                return Refused("not_undoable", unfit.message, order_id=order.id)
    return None


def _compensation(order: Order, was: Before, record: CommandRecord) -> Step:
    """The step that leads back."""
    if record.action == "cancel":
        return "reinstate"
    if record.action == "ready":
        return "promise" if order.is_ready == was.is_ready else "unready"
    if order.driver_id == was.driver_id:
        return "hold" if was.held else "pin" if was.pinned else "release"
    if was.driver_id is None:
        return "unassign"
    if order.driver_id is None:
        return "assign"
    return "reassign" if order.status in GIVEN else "hand_over"


def _restore(
    assignments: Assignments, order: Order, was: Before, record: CommandRecord, at_ms: int, actor: str, reason: str,
    command_id: str,
) -> None:  # fmt: skip
    step = _compensation(order, was, record)
    match step:
        case "assign" | "reassign" | "hand_over":
            driver = assignments.state.drivers[was.driver_id or ""]
            assignments.give(order, driver, step, at_ms, actor, reason, command_id, was.position)
        case "unassign":
            assignments.take(order, step, at_ms, actor, reason, command_id)
        case "reinstate":
            advance(order, step, at_ms, actor, reason, None, command_id)
            assignments.tally(order.mall_id).cancelled -= 1
            driver_then = assignments.state.drivers.get(was.driver_id or "")
            if driver_then is not None and _unfit(driver_then, order.mall_id, 1) is None:
                assignments.give(order, driver_then, "assign", at_ms, actor, reason, command_id, was.position)
        case _:
            order.is_ready, order.ready_ms = was.is_ready, was.ready_ms
            changed = {"held": str(was.held), "pinned": str(was.pinned)} if step in {"hold", "pin", "release"} else {}
            advance(order, step, at_ms, actor, reason, changed, command_id)
    order.held, order.pinned = was.held, was.pinned
