"""What of a recording still holds on a floor that has become another: which inputs are kept, and in which numbers.

It must not change either floor. Outside inputs hold whatever was decided: orders, stores' words, cancellations, duty,
registrations, ticks. What drivers said holds as long as they are where the recording has them. What the floor decided
holds where it finds what it was decided about: the same orders in the same hands.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.events import Advice, HandOver, Input, OrderCommand, PlanMade, Report, Undo
from streamer.core.orders import GIVEN, ON_BOARD, QUEUED
from streamer.core.reports import DUTY_REPORTS
from streamer.core.state import Driver, Order


class Numbers:
    """What stands in the fork for an order or command of the recording. Nobody else's ids are ever taken for one.

    Attributes:
        orders: the fork's order ids by the recording's, of what was placed since; older ones have kept their names.
        recorded: the other way round, of all orders of the recording.
        commands: the fork's command ids by the recording's; one that is not there did not hold in the fork.
        recorded_commands: those of the recorded floor, which counts strangers' inputs that were no part of the
            recording.
    """

    def __init__(self, shared: Iterable[str], commands: Mapping[str, str]) -> None:
        """`shared` are the orders, `commands` the commands there were when both worlds were one."""
        self.orders: dict[str, str] = {}
        self.recorded: dict[str, str] = {order_id: order_id for order_id in shared}
        self.commands: dict[str, str] = dict(commands)
        self.recorded_commands: dict[str, str] = dict(commands)

    def order(self, recorded_id: str) -> str:
        """The fork's name for an order of the recording."""
        return self.orders.get(recorded_id, recorded_id)

    def place(self, recorded_id: str, forked_id: str) -> None:
        """An order of the recording was placed in both worlds."""
        self.orders[recorded_id] = forked_id
        self.recorded[forked_id] = recorded_id

    def undo_here(self, item: Undo) -> Undo | None:
        """The undo of the same command in the fork; None when that did not hold here."""
        command_id = self.commands.get(item.command_id)
        return None if command_id is None else replace(item, command_id=command_id)

    def undo_there(self, item: Input) -> Input:
        """An input for the recorded floor: of an undo, that of the same command there."""
        known = self.recorded_commands.get(item.command_id) if isinstance(item, Undo) else None
        return replace(item, command_id=known) if isinstance(item, Undo) and known is not None else item

    def origin(self, forked_id: str) -> str | None:
        """The recording's name for an order of the fork; None for one that people placed in the fork."""
        return self.recorded.get(forked_id)


def order_command(item: OrderCommand, recorded: Engine, forked: Engine, numbers: Numbers) -> OrderCommand | None:
    """A decision about an order, or its store's word, as it holds in the fork; None when it does not."""
    theirs, ours = recorded.state.orders.get(item.order_id), forked.state.orders.get(numbers.order(item.order_id))
    if theirs is None or ours is None:
        return None
    open_yet = ours.status in (*QUEUED, *GIVEN)
    holds = open_yet if item.action in ("ready", "cancel") else is_alike(theirs, ours)
    return replace(item, order_id=ours.id, expected_version=ours.version) if holds else None


def is_alike(theirs: Order, ours: Order) -> bool:
    """Whether an order is in the same hands in both worlds, as far as whoever decides about it would look."""
    return (
        _phase(theirs) == _phase(ours)
        and theirs.driver_id == ours.driver_id
        and (theirs.held, theirs.pinned, theirs.touched_ms) == (ours.held, ours.pinned, ours.touched_ms)
    )


def _phase(order: Order) -> str:
    for phase in (QUEUED, GIVEN, ON_BOARD):
        if order.status in phase:
            return phase[0]
    return order.status


def hand_over(item: HandOver, recorded: Engine, forked: Engine, numbers: Numbers) -> HandOver | None:
    """It holds for a driver that carries the same orders in both worlds."""
    theirs, ours = recorded.state.drivers.get(item.driver_id), forked.state.drivers.get(item.driver_id)
    if theirs is None or ours is None:
        return None
    same = sorted(map(numbers.order, theirs.order_ids)) == sorted(ours.order_ids)
    return item if same else None


def report(item: Report, forked: Engine, numbers: Numbers) -> Report | None:
    """What a driver said of its orders, of those it has in the fork too."""
    if item.report in DUTY_REPORTS:
        return item
    driver = forked.state.drivers.get(item.driver_id)
    named = [numbers.order(order_id) for order_id in item.order_ids]
    own = tuple(order_id for order_id in named if driver is not None and order_id in driver.order_ids)
    if driver is None or not own:
        return None
    return replace(item, order_ids=own, assignment=driver.assignment)


def advice(item: PlanMade, recorded: Engine, forked: Engine, numbers: Numbers) -> PlanMade | None:
    """The recorded plan's words on orders that are as they were; `recorded` has not heard them yet."""
    kept: list[Advice] = []
    for one in item.advice:
        theirs = recorded.state.orders.get(one.order_id)
        ours = forked.state.orders.get(numbers.order(one.order_id))
        if theirs is not None and ours is not None and is_alike(theirs, ours):
            kept.append(replace(one, order_id=ours.id, trip=tuple(map(numbers.order, one.trip))))
    return replace(item, advice=tuple(kept)) if kept or not item.advice else None


def is_on_course(theirs: Driver, ours: Driver, numbers: Numbers) -> bool:
    """Whether a driver has the same next stop in both worlds: until it is made, it moves as recorded."""
    if not theirs.route or not ours.route:
        return not theirs.route and not ours.route
    next_there, next_here = theirs.route[0], ours.route[0]
    return (next_there.kind, numbers.order(next_there.order_id)) == (next_here.kind, next_here.order_id)
