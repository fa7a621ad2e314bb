"""What must hold, checked while it happens: at every commit, every word said, every recovery, and the end.

It must not know how the seed came to it. It keeps an engine of its own that handles what is durable and nothing else;
nobody may hear of anything that this engine does not have.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.events import (
    CommandDone,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Output,
    Ping,
    Report,
    SetAutopilot,
    SetDuty,
    Undo,
)
from streamer.core.malls import parse_malls
from streamer.core.state import State
from streamer.core.views import order_view
from streamer.edge.journal.contract import Entry, JournalHeader, ReadableJournal
from streamer.edge.wire import CODES
from tests.faults import invariants
from tests.faults.invariants import Acked
from tests.faults.simulation.history import History

DUTIES = frozenset({"on_duty", "off_duty", "on_break"})
Fail = Callable[[str, str], None]


class Effect(Struct, frozen=True):
    """What a key came to in the log: when, under which command, and the orders as they then were."""

    seq: int
    command_id: str
    orders: list[dict[str, Any]]


class Checker:
    """Follows one simulation; `fail(check, message)` is called for whatever does not hold.

    Attributes:
        durable: an engine that has handled the committed inputs.
        acked: what the outside was told is safe.
        effects: by idempotency key, what is in the log.
    """

    def __init__(self, header: JournalHeader, fail: Fail) -> None:
        self.fail = fail
        self.durable = Engine(parse_malls(header.malls), header.settings)
        self.acked = Acked()
        self.effects: dict[str, Effect] = {}
        self.entries: list[Entry] = []
        self.pings: set[tuple[str, int]] = set()
        self.reports: set[tuple[str, str]] = set()
        self.nacks: list[Mapping[str, Any]] = []
        self.history = History(self)
        self._ended: dict[str, str] = {}
        self._believed: dict[str, Ping] = {}
        self._live_ended: dict[str, str] = {}

    def require(self, holds: bool, check: str, message: str) -> None:
        """Fail unless it holds."""
        if not holds:
            self.fail(check, message)

    def ask(self, invariant: Callable[..., object], *evidence: Any) -> None:
        """Check one of I1 to I10."""
        try:
            invariant(*evidence)
        except AssertionError as error:
            check, _, message = str(error).partition(": ")
            self.fail(check if check.startswith("I") else invariant.__name__, message or str(error))

    # ------------------------------------------------------------ what is durable

    def committed(self, entries: list[Entry]) -> None:
        """A group of inputs is on the disk."""
        for entry in entries:
            self._commit(entry)
        if entries:
            self.ask(invariants.i3_one_driver_an_order, self.durable.state)
            self.ask(invariants.i6_nobody_overloaded, self.durable.state)

    def _commit(self, entry: Entry) -> None:
        state = self.durable.state
        self.require(entry.seq == state.seq + 1, "I2", f"seq {entry.seq} was committed after {state.seq}")
        self.require(entry.at_ms >= state.at_ms, "I2", f"seq {entry.seq} is earlier than the one before it")
        self._judge_before(state, entry.input)
        outputs = self.durable.handle(entry.at_ms, entry.input)
        self.require(state.seq == entry.seq, "I4", f"the replay of seq {entry.seq} has no effect: {outputs!r}")
        self.entries.append(entry)
        self._note(entry, outputs)
        self._judge_after(state, entry, outputs)

    def _judge_before(self, state: State, item: Input) -> None:
        match item:
            case OrderCommand():
                order = state.orders[item.order_id]
                message = f"a command on {order.id} saw version {item.expected_version} of {order.version}"
                self.require(order.version == item.expected_version, "versions", message)
            case Report() if item.report not in DUTIES:
                self._judge_number(state, item)
            case Undo():
                self._judge_undo(state, item)
            case _:
                pass

    def _judge_number(self, state: State, report: Report) -> None:
        driver = state.drivers[report.driver_id]
        for order_id in report.order_ids:
            order = state.orders[order_id]
            mine = order.driver_id == report.driver_id
            fresh = (order.assignment or 0) <= (report.assignment or 0) <= driver.assignment
            message = f"{report.driver_id} reported {report.report} of {order_id} under {report.assignment}, it is "
            self.require(mine and fresh, "fencing", message + f"{order.driver_id}'s under {order.assignment}")

    def _judge_undo(self, state: State, undo: Undo) -> None:
        for was in state.commands[undo.command_id].before:
            last = [line.command_id for line in state.orders[was.order_id].history if line.command_id][-1]
            message = f"{undo.command_id} was undone although {last} came after it on {was.order_id}"
            self.require(last == undo.command_id, "undo", message)

    def _note(self, entry: Entry, outputs: tuple[Output, ...]) -> None:
        match entry.input:
            case Ping(driver_id=driver_id, seq=int(seq)):
                self.require((driver_id, seq) not in self.pings, "I1", f"ping {seq} of {driver_id} took effect twice")
                self.pings.add((driver_id, seq))
            case Report(driver_id=driver_id, id=name):
                self.require((driver_id, name) not in self.reports, "I1", f"report {name} took effect twice")
                self.reports.add((driver_id, name))
            case (
                OrderPlaced(key=str(key))
                | OrderCommand(key=str(key))
                | HandOver(key=str(key))
                | Undo(key=str(key))
                | SetDuty(key=str(key))
                | SetAutopilot(key=str(key))
            ):
                self.require(key not in self.effects, "I1", f"key {key} took effect twice")
                done = outputs[0]
                assert isinstance(done, CommandDone)
                orders = [plain(order_view(self.durable.state.orders[order_id])) for order_id in done.order_ids]
                self.effects[key] = Effect(entry.seq, done.command_id, orders)
            case _:
                pass

    def _judge_after(self, state: State, entry: Entry, outputs: tuple[Output, ...]) -> None:
        if isinstance(entry.input, Ping):
            self.ask(invariants.i7_position_never_older, entry, self._believed)
            driver_id = entry.input.driver_id
            shown = state.drivers[driver_id].ping
            self.require(shown == self._believed.get(driver_id), "I7", f"{driver_id} is shown at {shown}")
        self._judge_ends(state, entry.input, outputs, self._ended)

    def _judge_ends(self, state: State, item: Input, outputs: tuple[Output, ...], ended: dict[str, str]) -> None:
        for order_id in {output.order_id: None for output in outputs if hasattr(output, "order_id")}:
            self.ask(invariants.i5_ended_stays_ended, state, order_id, item, ended)

    # ------------------------------------------------------------ the live engine

    def began(self, engine: Engine, when: str) -> None:
        """An engine was made from the journal: it must be what is durable, no more and no less."""
        self.matches(engine, when)
        self._live_ended = dict(self._ended)

    def matches(self, engine: Engine, when: str) -> None:
        """I4: the live engine is the log replayed."""
        mine = self.durable
        message = f"{when}: the engine is at seq {engine.state.seq}, the log at {mine.state.seq}"
        self.require(engine.state.seq == mine.state.seq, "I4", message)
        self.require(engine.hash() == mine.hash(), "I4", f"{when}: the engine differs from the log at the same seq")

    def took_effect(self, state: State, item: Input, outputs: tuple[Output, ...]) -> None:
        """The live engine handled an input, which is not durable yet."""
        if type(item) is Ping and len(outputs) == 1:
            return
        self.ask(invariants.i3_one_driver_an_order, state)
        self.ask(invariants.i6_nobody_overloaded, state)
        self._judge_ends(state, item, outputs, self._live_ended)

    # ------------------------------------------------------------ what is said

    def acked_pings(self, driver_id: str, seqs: list[int]) -> None:
        """The server acknowledged these pings."""
        early = [seq for seq in seqs if (driver_id, seq) not in self.pings]
        self.require(not early, "I1", f"pings {early} of {driver_id} were acknowledged and are not durable")
        self.acked.pings.update((driver_id, seq) for seq in seqs)

    def acked_report(self, driver_id: str, name: str) -> None:
        """The server acknowledged a report."""
        message = f"report {name} of {driver_id} was acknowledged and is not durable"
        self.require((driver_id, name) in self.reports, "I1", message)
        self.acked.reports.add((driver_id, name))

    def nacked(self, nack: Mapping[str, Any]) -> None:
        """The server refused a message."""
        self.nacks.append(nack)
        self.require(nack["code"] in CODES, "I9", f"{nack['code']!r} is no code of the driver socket")

    def welcomed(self, driver_id: str, last_seq: int) -> None:
        """A driver was told the highest number the floor has of it."""
        driver = self.durable.state.drivers.get(driver_id)
        message = f"{driver_id} was welcomed with seq {last_seq} before it was durable"
        self.require(driver is not None and last_seq <= driver.last_seq, "I1", message)

    def told_route(self, driver_id: str, assignment: int) -> None:
        """A driver was told its stops under this number."""
        driver = self.durable.state.drivers.get(driver_id)
        message = f"{driver_id} was told assignment {assignment} before it was durable"
        self.require(driver is not None and assignment <= driver.assignment, "I1", message)

    def shown(self, frame: Mapping[str, Any]) -> None:
        """A frame left the feed: nothing in it may be news to the log."""
        orders = self.durable.state.orders
        for order in frame.get("orders", ()):
            known = orders.get(order["id"])
            version = known.version if known else 0
            message = f"{order['id']} was shown at version {order['version']}, durable is {version}"
            self.require(order["version"] <= version, "I8", message)

    # ------------------------------------------------------------ the end

    def finish(self, journal: ReadableJournal, engine: Engine) -> None:
        """All is quiet and durable: every invariant over the whole log, from its first input."""
        log = invariants.read_log(journal)
        self.require(log.entries == self.entries, "I1", "the log is not what was committed")
        self.ask(invariants.i1_acknowledged_exactly_once, log, self.acked)
        self.ask(invariants.i2_seq_has_no_gap, log)
        self.ask(invariants.i4_replay_is_the_state, log, engine.state)
        self.ask(invariants.i9_refusals_have_a_reason, self.nacks)
        self.history.finish()


def plain(value: object) -> Any:
    """As it looks after a journey through JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))
