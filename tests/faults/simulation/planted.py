"""Bugs planted in the real code, one at a time: a suite that lets one of them pass would prove nothing.

It must not know how they are caught. Each is a context manager's worth of patches, and gone after it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from msgspec import Struct
from msgspec.structs import replace

from streamer.core import commands, drivers, orders, pings, reports
from streamer.core.assignments import Assignments
from streamer.core.events import OrderCommand, PingTaken, Refused, Report, SetDuty
from streamer.core.orders import Step
from streamer.core.state import Order
from streamer.edge import feed
from streamer.edge import runner as running
from streamer.edge.gateway.gateway import Gateway
from streamer.edge.gateway.intake import Intake
from streamer.edge.gateway.socket import Socket
from streamer.edge.journal import layout
from streamer.edge.journal.contract import Entry
from streamer.edge.runner import Runner
from tests.faults.simulation.world import Outcome, simulate

SEEDS = 60
"""A bug has to show within so many seeds; most show in the first few."""

Plant = Callable[[], Any]


class Bug(Struct, frozen=True):
    """A mistake somebody could make, and the check that has to find it."""

    name: str
    caught_by: tuple[str, ...]
    plant: Plant


class Caught(Struct, frozen=True):
    """How a bug was found: by which check, after how many seeds; empty if it was not."""

    check: str
    seeds: int
    message: str

    def __str__(self) -> str:
        how = f"caught by {self.check}" if self.check else "not caught"
        return f"{how} after {self.seeds} seeds: {self.message[:120]}"


def hunt(bug: Bug, seeds: int = SEEDS) -> Caught:
    """Simulate with the bug planted until a check fails."""
    with bug.plant():
        for seed in range(seeds):
            outcome: Outcome = simulate(seed)
            if not outcome.passed:
                return Caught(outcome.check, seed + 1, outcome.message)
    return Caught("", seeds, "")


# ---------------------------------------------------------------- what the runner and the journal promise


def acknowledge_before_commit() -> Any:
    """Outputs leave when the input was handled, not when it is durable."""

    wait = Runner._wait

    def hasty(runner: Runner, *waiting: Any, **plain: Any) -> None:
        wait(runner, *waiting, **plain)
        runner._durable = runner._ticket
        runner._release()

    return patch.object(Runner, "_wait", hasty)


def reuse_a_sequence_number() -> Any:
    """Duty commands are journaled under the number of the input before them."""

    def entry(seq: int, at_ms: int, item: Any, *verdict: Any) -> Entry:
        return Entry(seq - isinstance(item, SetDuty), at_ms, item, *verdict)

    return patch.object(running, "Entry", entry)


def recover_without_the_tail() -> Any:
    """After a snapshot was read, the entries behind it are not."""
    read = layout.read_entries
    return patch.object(layout, "read_entries", lambda db, after: iter(()) if after else read(db, after))


def leave_undo_out_of_the_chain() -> Any:
    """An undo is journaled, but nothing hashes it."""
    return patch("streamer.edge.journal.writing.CHAINED", frozenset(layout.CHAINED) - {"undo"})


# ---------------------------------------------------------------- what the engine promises


def skip_the_version_check() -> Any:
    """A command takes effect whatever its sender saw."""
    checked = commands._order_command

    def unchecked(assignments: Assignments, at_ms: int, item: OrderCommand, command_id: str) -> Any:
        order = assignments.state.orders.get(item.order_id)
        version = item.expected_version if order is None else order.version
        return checked(assignments, at_ms, replace(item, expected_version=version), command_id)

    return patch.object(commands, "_order_command", unchecked)


def drop_fencing() -> Any:
    """A driver may report under any number it was ever given."""
    checked = reports._refusal

    def unchecked(assignments: Assignments, driver: Any, report: Report) -> Refused | None:
        return checked(assignments, driver, replace(report, assignment=driver.assignment))

    return patch.object(reports, "_refusal", unchecked)


def assign_to_two_drivers() -> Any:
    """An order given to another driver stays with the first."""
    give = Assignments.give

    def give_twice(assignments: Assignments, order: Order, *rest: Any, **more: Any) -> None:
        with patch.object(Assignments, "_take_from_route", lambda *_: None):
            give(assignments, order, *rest, **more)

    return patch.object(Assignments, "give", give_twice)


def move_the_marker_back() -> Any:
    """A ping older than the one shown is believed."""
    judge = pings.judge
    return patch.object(pings, "judge", lambda *given: "ok" if (found := judge(*given)) == "late" else found)


def forget_the_keys() -> Any:
    """The same command sent again takes effect again."""
    return patch.object(commands, "repeated", lambda *_: None)


def overload_drivers() -> Any:
    """Capacity is not looked at."""
    return patch.object(drivers, "room", lambda _driver: 64)


def reopen_cancelled_orders() -> Any:
    """A cancelled order can be assigned."""
    reopened: dict[tuple[str, Step], str] = {("cancelled", "assign"): "assigned"}
    return patch.dict(orders.TRANSITIONS, reopened)


def undo_what_others_built_on() -> Any:
    """An undo does not ask what came after."""
    checked = commands._cannot_undo

    def unchecked(assignments: Assignments, record: Any) -> Refused | None:
        refused = checked(assignments, record)
        return None if refused is not None and "changed since" in refused.message else refused

    return patch.object(commands, "_cannot_undo", unchecked)


# ---------------------------------------------------------------- what the outside is promised


def skip_a_frame_on_resume() -> Any:
    """A dashboard that comes back gets what it missed, but for the first frame."""
    after = feed._MallFeed.after

    def skipping(mall: Any, seq: int) -> list[bytes] | None:
        missed = after(mall, seq)
        return missed[1:] if missed else missed

    return patch.object(feed._MallFeed, "after", skipping)


def let_zombies_speak() -> Any:
    """A driver's older socket stays open beside its newer one."""
    return patch.object(Gateway, "_join_driver", _joined_without_closing)


def _joined_without_closing(gateway: Any, socket: Socket, welcome: Any, route: Any) -> None:
    gateway.drivers[socket.owner.name] = socket
    socket.send(welcome)
    socket.send(route)


def refuse_without_a_reason() -> Any:
    """A refused report is told no reason."""
    refuse = Socket.refuse

    def mute(socket: Socket, error: Any, code: str = "", retryable: bool = False) -> None:
        refuse(socket, replace(error, message="") if error.id else error, code, retryable)

    return patch.object(Socket, "refuse", mute)


@contextmanager
def acknowledge_the_refused() -> Iterator[None]:
    """A ping that was not kept, because the driver is off duty, is acknowledged all the same."""
    answer = Intake._answer_pings

    def lenient(gateway: Any, socket: Any, given: Any, fixes: Any, outputs: Any) -> None:
        kind = [
            PingTaken(ping.driver_id, ping.seq, "ok") if getattr(output, "code", "") == "off_duty" else output
            for ping, output in zip(given, outputs, strict=True)
        ]
        answer(gateway, socket, given, fixes, kind)

    with patch.object(Intake, "_answer_pings", lenient):
        yield


TEN = (
    Bug("acknowledge before commit", ("I1", "I8"), acknowledge_before_commit),
    Bug("reuse a sequence number", ("I2",), reuse_a_sequence_number),
    Bug("assign without taking from the former driver", ("I3",), assign_to_two_drivers),
    Bug("recover from the snapshot without the tail", ("I4",), recover_without_the_tail),
    Bug("skip the version check", ("versions",), skip_the_version_check),
    Bug("drop fencing", ("fencing",), drop_fencing),
    Bug("let an older ping move the marker", ("I7",), move_the_marker_back),
    Bug("skip a frame on resume", ("I8",), skip_a_frame_on_resume),
    Bug("forget idempotency keys", ("I1", "history"), forget_the_keys),
    Bug("leave undo out of the audit chain", ("I10",), leave_undo_out_of_the_chain),
)
FURTHER = (
    Bug("reopen cancelled orders", ("I5",), reopen_cancelled_orders),
    Bug("give drivers more than they can carry", ("I6",), overload_drivers),
    Bug("refuse without a reason", ("I9",), refuse_without_a_reason),
    Bug("undo what others built on", ("undo", "no handler fails"), undo_what_others_built_on),
    Bug("let a superseded socket speak", ("sockets",), let_zombies_speak),
    Bug("acknowledge a ping that was refused", ("I1",), acknowledge_the_refused),
)
