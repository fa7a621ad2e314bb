"""The desk: one table says for every call of the link who may make it and what answers it.

It must not know sockets or the engine's rules. A call that is not in the table does not exist.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from streamer.edge.accounts import ROLES, Accounts, Role
from streamer.edge.autopilot import Autopilot
from streamer.edge.clock import Clock
from streamer.edge.desk import calls
from streamer.edge.desk.calls import Answer, Call, Caller, CallRefusedError
from streamer.edge.desk.commands import Commands
from streamer.edge.desk.counters import Counters
from streamer.edge.desk.people import People
from streamer.edge.desk.reads import Reads
from streamer.edge.journal.contract import StorageFullError
from streamer.edge.runner import Runner

log = structlog.get_logger("desk")


class Entry(Struct, frozen=True):
    """One line of the table: the least role (None: nobody has to be logged in), the parameters, the answer."""

    role: Role | None
    params: type[Struct]
    answer: Callable[[Any, Any], Awaitable[Answer]]


class Desk:
    """Answers the calls of docs/link.md."""

    def __init__(
        self, runner: Runner, accounts: Accounts, clock: Clock, counters: Counters | None = None,
        autopilot: Autopilot | None = None, besides: Mapping[str, Entry] | None = None,
    ) -> None:  # fmt: skip
        """`counters` are those of the whole streamer; by default of the runner alone, without an autopilot at work.

        `besides` are calls that not every floor has.
        """
        self.runner = runner
        reads = Reads(runner, autopilot or Autopilot(runner))
        commands = Commands(runner, reads, accounts)
        people = People(runner, accounts, clock)
        self.table: dict[str, Entry] = {
            "ready": Entry(None, calls.Nothing, reads.ready),
            "counters": Entry(None, calls.Nothing, (counters or Counters(runner)).counters),
            "login": Entry(None, calls.Login, people.login),
            "session": Entry(None, calls.Session, people.session),
            "bearer": Entry(None, calls.Bearer, people.bearer),
            "accounts": Entry(None, calls.Nothing, people.accounts_version),
            "logout": Entry(None, calls.Session, people.logout),
            "state": Entry("viewer", calls.Nothing, reads.state),
            "malls": Entry("viewer", calls.Nothing, reads.malls),
            "hexes": Entry("viewer", calls.Hexes, reads.hexes),
            "kpis": Entry("viewer", calls.OfMall, reads.kpis),
            "learned": Entry("viewer", calls.LearnedAt, reads.learned),
            "expected": Entry("viewer", calls.OutlookAt, reads.expected),
            "orders": Entry("viewer", calls.Orders, reads.orders),
            "order": Entry("viewer", calls.OfOrder, reads.order),
            "history": Entry("viewer", calls.OfOrder, reads.history),
            "drivers": Entry("viewer", calls.Drivers, reads.drivers),
            "driver": Entry("viewer", calls.OfDriver, reads.driver),
            "autopilot": Entry("viewer", calls.Nothing, reads.autopilots),
            "candidates": Entry("dispatcher", calls.Candidates, reads.candidates),
            "preview": Entry("dispatcher", calls.PreviewOf, reads.preview),
            "place": Entry("dispatcher", calls.Place, commands.place),
            "command": Entry("dispatcher", calls.OrderChange, commands.command),
            "bulk": Entry("dispatcher", calls.Bulk, commands.bulk),
            "undo": Entry("dispatcher", calls.UndoOf, commands.undo),
            "hand_over": Entry("dispatcher", calls.HandOverOf, commands.hand_over),
            "duty": Entry("dispatcher", calls.DutyOf, commands.duty),
            "track": Entry("ops-lead", calls.Track, reads.track),
            "set_autopilot": Entry("ops-lead", calls.AutopilotOf, commands.set_autopilot),
            **(besides or {}),
        }

    async def answer(self, call: Call) -> Answer:
        """Answer a call, after everything the answer was computed from is durable.

        Raises:
            CallRefusedError: with the status and the problem.
        """
        entry = self.table.get(call.call)
        if entry is None:
            raise CallRefusedError(404, "unknown_call", f"there is no call {call.call!r}")
        authorize(entry, call.call, call.principal)
        try:
            params = msgspec.json.decode(call.params, type=entry.params)
        except msgspec.DecodeError as error:
            raise CallRefusedError(422, "bad_field", field_fault(error)) from error
        try:
            answer = await self._computed(entry, call.principal, params)
        except StorageFullError as error:
            raise CallRefusedError(503, "storage_full", str(error)) from error
        return answer

    async def _computed(self, entry: Entry, who: Caller | None, params: Struct) -> Answer:
        try:
            answer = await entry.answer(who, params)
        except CallRefusedError:
            # A refusal may show an order or rest on one: it waits like an answer.
            await self.runner.settled()
            raise
        await self.runner.settled()
        return answer


def authorize(entry: Entry, name: str, who: Caller | None) -> None:
    """Check a caller's role against the table; the only place that does.

    Raises:
        CallRefusedError: nobody vouched for the caller, or the role is not enough.
    """
    if entry.role is None:
        return
    if who is None:
        raise CallRefusedError(401, "unauthenticated", f"{name} needs a log-in")
    if ROLES.index(who.role) < ROLES.index(entry.role):
        raise CallRefusedError(403, "forbidden", f"{name} is for a {entry.role}; {who.name} is a {who.role}")


def field_fault(error: msgspec.DecodeError) -> str:
    """The library's message with the field in front, as everywhere else: `lat: expected float <= 90`."""
    what, _, path = str(error).replace("`", "").partition(" - at $.")
    what = what[:1].lower() + what[1:]
    return f"{path}: {what}" if path else what
