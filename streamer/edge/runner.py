"""The one way into the engine: handle at once, journal, and let go of the outputs when they are durable.

It must not know who submits or who listens: sockets, feeds, recordings and tests all use `submit`, `barrier`, `listen`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.errors import StorageError
from streamer.core.events import Input, OrderCommand, Output, Ping, PingTaken, Refused, Tick, Verdict
from streamer.core.snapshot import dump_state
from streamer.edge.clock import Clock
from streamer.edge.journal.contract import (
    Entry,
    Journal,
    Note,
    PingRun,
    Quarantined,
    Snapshot,
    StorageFullError,
    Together,
)
from streamer.edge.journal.recovery import recover
from streamer.edge.measures import Histogram

log = structlog.get_logger("runner")

SNAPSHOT_INPUTS = 200_000
SNAPSHOT_MS = 300_000
"""A snapshot after so many inputs, or so much time in which there was any. So many are replayed in about a second; with
50,000 drivers a snapshot holds the loop up for some 60 ms, and costs a ping as much as 0.3 µs."""
WAIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0, 5.0)
PROBE_S = 1.0
"""How often a full disk is asked whether there is room again."""

Heard = tuple[Input, tuple[Output, ...]]
Then = Callable[[Sequence[Output]], None]
Sink = Callable[[Sequence[Heard]], None]
Hook = Callable[[Input, tuple[Output, ...]], None]
INTERNAL = (Refused("internal", "this input could not be handled; it was set aside for inspection"),)
STORAGE_FULL = (Refused("storage_full", "the journal cannot be written now", retryable=True),)


class _Waiting(Struct):
    """Outputs that may leave once `ticket` is durable: of one input, or, as a list, the first of each ping of a frame.

    `heard` is what sinks are to hear of; when it is `plain`, pings that did nothing but be taken, only those that
    want to hear of pings. `since_s` is when it began to wait, of the machine's monotonic clock.
    """

    ticket: int
    outputs: Sequence[Output]
    then: Then | None
    heard: Sequence[Heard]
    since_s: float
    plain: bool = False


class Runner:
    """Holds the engine, and the promise that nobody hears of an input before its commit.

    Attributes:
        engine: read it freely on the loop, but tell nobody what you read before a `barrier`. It is another object
            after a rebuild: do not keep it.
        rebuilt: how often the engine was rebuilt from the journal; whoever mirrors state starts afresh when it rises.
        full: the journal cannot be written; inputs are refused with `storage_full`.
        broken: set when the journal failed for good: the program has to end, and `fault` says why.
        clock_offset_ms: what to add to an instant of this floor to get the time its recording was made at.
        hooks: called with (input, outputs) as soon as an input took effect, before it is durable; for bookkeeping
            that has to be in step with the engine, never for telling anybody.
        foresee: called with each input just before it is handled, of several that are handled together with the first,
            of pings of a frame with none; None: nobody has to know.
        waits: how long the first answer of each commit waited for it, in seconds; for `/metrics`.
    """

    def __init__(self, engine: Engine, journal: Journal, clock: Clock, snapshot_seq: int | None = None) -> None:
        """`snapshot_seq` is that of the journal's newest snapshot; None: there is nothing newer to take one of."""
        self.engine = engine
        self.journal = journal
        self.clock = clock
        self.clock_offset_ms = 0
        self.rebuilt = 0
        self.full = False
        self.broken = asyncio.Event()
        self.fault: StorageError | None = None
        self.quarantined = 0
        self.hooks: list[Hook] = []
        self.foresee: Callable[[Input], None] | None = None
        self.waits = Histogram(WAIT_BOUNDS_S)
        self._sinks: list[Sink] = []
        self._ping_sinks: list[Sink] = []
        self._waiting: deque[_Waiting] = deque()
        self._settling: list[asyncio.Future[None]] = []
        self._owed = 0
        self._ticket = self._durable = 0
        self._releasing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._snapshot_seq = engine.state.seq if snapshot_seq is None else snapshot_seq
        self._snapshot_ms = engine.state.at_ms or clock.now_ms()

    async def start(self, ticking: bool = False) -> None:
        """Begin writing the journal; with `ticking`, submit a `Tick` every `settings.tick_ms` of wall time."""
        self._loop = loop = asyncio.get_running_loop()
        self.journal.start(
            lambda ticket: _post(loop, self._committed, ticket), lambda error: _post(loop, self._storage_failed, error)
        )
        if ticking:
            self._tasks.append(asyncio.create_task(self._tick_on()))

    def restart(self, engine: Engine) -> None:
        """Go on from another state, which may be an earlier one: a recording was sought in.

        The journal begins again there, so it must be one that lasts no longer than the program. Whoever mirrors state
        starts afresh, as after a rebuild.
        """
        self.engine = engine
        self._take_snapshot()
        self.rebuilt += 1

    async def stop(self) -> None:
        """Wait until everything is durable and said, leave a snapshot for a quick start, close the journal.

        Raises:
            StorageError: the last of it could not be made durable; the journal is closed all the same.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            if self.fault is None and not self.full:
                if self.engine.state.seq > self._snapshot_seq:
                    self._take_snapshot()
                await self.settled()
        finally:
            await asyncio.to_thread(self.journal.close)

    # ------------------------------------------------------------ in

    def now_ms(self) -> int:
        """The floor's clock, in UTC epoch milliseconds; never behind the engine."""
        return max(self.clock.now_ms(), self.engine.state.at_ms)

    @property
    def backlog(self) -> int:
        """How many answers wait for a commit; senders are slowed down by it."""
        return self._owed

    def submit(self, item: Input, then: Then | None = None, at_ms: int | None = None) -> None:
        """Handle an input now (or at `at_ms`, of a recording); `then` gets its outputs once they are durable.

        Every `then` is called exactly once, in the order of submission, possibly before this returns. Refusals and
        repeats are not journaled, but wait like the rest: what they were judged by has to be durable too.
        """
        if self.full:
            self._wait(STORAGE_FULL, then)
            return
        at_ms = self.now_ms() if at_ms is None else max(at_ms, self.engine.state.at_ms)
        if self.foresee is not None:
            self.foresee(item)
        seq = self.engine.state.seq
        try:
            outputs = self.engine.handle(at_ms, item)
        except Exception as error:
            self._quarantine(at_ms, item, error)
            self._wait(INTERNAL, then)
            return
        heard: list[Heard] = []
        if self.engine.state.seq > seq:
            heard.append((item, outputs))
            verdict = outputs[0].verdict if outputs and isinstance(outputs[0], PingTaken) else None
            self._keep(Entry(seq + 1, at_ms, item, verdict), heard)
        self._wait(outputs, then, heard)

    def submit_pings(self, pings: Sequence[Ping], then: Then | None = None) -> None:
        """Handle the pings of one frame now; `then` gets the first output of each (`PingTaken`, or a `Refused`) once
        they are durable. They share one instant, one record of the journal and one wait, which is what makes a
        gateway's ping cheap; else as `submit`.
        """
        if self.full:
            self._wait(list(STORAGE_FULL) * len(pings), then)
            return
        at_ms = self.now_ms()
        answers: list[Output] = []
        left, first_seq = pings, self.engine.state.seq + 1
        while True:
            done: list[tuple[Output, ...]] = []
            fault: Exception | None = None
            add, handle = done.append, self.engine.handle
            try:
                for ping in left:
                    add(handle(at_ms, ping))
            except Exception as error:
                fault = error
            firsts = [outputs[0] for outputs in done]
            answers += firsts
            heard, plain = self._keep_pings(first_seq, at_ms, left, done, firsts)
            if fault is None:
                break
            self._wait((), None, heard, plain)
            self._quarantine(at_ms, left[len(done)], fault)
            answers.append(INTERNAL[0])
            left, first_seq = left[len(done) + 1 :], self.engine.state.seq + 1
        self._wait(answers, then, heard, plain)

    def _keep_pings(
        self, first_seq: int, at_ms: int, pings: Sequence[Ping], done: list[tuple[Output, ...]], firsts: list[Output]
    ) -> tuple[Sequence[Heard], bool]:
        """Queue the pings that took effect, of those `done`; what sinks hear of them, and whether it is plain.

        Written for the frame whose pings all do nothing but be taken, of which perhaps nobody wants to hear.
        """
        verdicts: list[Verdict] = [
            first.verdict for first in firsts if type(first) is PingTaken and first.verdict != "duplicate"
        ]
        if not verdicts:
            return (), True
        if len(verdicts) < len(pings):
            took = [
                (ping, outputs) for ping, outputs in zip(pings, done, strict=False)
                if type(first := outputs[0]) is PingTaken and first.verdict != "duplicate"
            ]  # fmt: skip
            pings, done = [ping for ping, _ in took], [outputs for _, outputs in took]
        plain = sum(map(len, done)) == len(done)
        heard: Sequence[Heard] = ()
        if not plain or self._ping_sinks or self.hooks:
            heard = list(zip(pings, done, strict=True))
        self._keep(PingRun(first_seq, at_ms, verdicts, list(pings)), heard)
        return heard, plain

    def submit_together(self, items: Sequence[OrderCommand], thens: Sequence[Then]) -> None:
        """Handle several commands now, which become durable all or none; each `then` gets its command's outputs.

        Whether all of them take effect is for the caller to know beforehand.
        """
        at_ms = self.now_ms()
        answers: list[Sequence[Output]] = []
        entries: list[Entry] = []
        heard: list[Heard] = []
        if self.foresee is not None and items and not self.full:
            self.foresee(items[0])
        for item in () if self.full else items:
            seq = self.engine.state.seq
            try:
                outputs = self.engine.handle(at_ms, item)
            except Exception as error:
                # The engine is rebuilt from the journal, where nothing of this is yet.
                self._quarantine(at_ms, item, error)
                answers, heard = [INTERNAL] * len(items), []
                break
            answers.append(outputs)
            if self.engine.state.seq > seq:
                entries.append(Entry(seq + 1, at_ms, item))
                heard.append((item, outputs))
        if heard:
            self._keep(Together(tuple(entries)), heard)
        self._wait((), None, heard)
        for then, answer in zip(thens, answers or [STORAGE_FULL] * len(items), strict=True):
            self._wait(answer, then)

    def _keep(self, record: Entry | PingRun | Together, heard: Sequence[Heard]) -> None:
        """Queue what took effect for the journal."""
        self._ticket = self.journal.append(record)
        for hook in self.hooks:
            for item, outputs in heard:
                hook(item, outputs)
        state = self.engine.state
        if state.seq - self._snapshot_seq >= SNAPSHOT_INPUTS or state.at_ms - self._snapshot_ms >= SNAPSHOT_MS:
            self._take_snapshot()

    def note(self, note: Note) -> None:
        """Put a log-in, or another thing worth auditing, into the chain; `barrier` after it to know it is durable."""
        if not self.full:
            self._ticket = self.journal.append(note)
            self._settle()

    def barrier(self, then: Callable[[], None], lost: Callable[[], None] | None = None) -> None:
        """Call `then` once all that was handled so far is durable; or `lost`, if it is not going to be."""

        def judge(outputs: Sequence[Output]) -> None:
            if outputs is not STORAGE_FULL:
                then()
            elif lost is not None:
                lost()

        self._wait((), judge)

    async def settled(self) -> None:
        """Return once all that was handled so far is durable.

        Raises:
            StorageFullError: it was taken back, because the journal could not be written.
            StorageError: the journal failed for good, before or meanwhile: nobody will ever know.
        """
        if self.fault is not None:
            raise self.fault
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        full = StorageFullError("the journal cannot be written now")
        self.barrier(
            lambda: None if future.done() else future.set_result(None),
            lambda: None if future.done() else future.set_exception(full),
        )
        self._settling.append(future)
        try:
            await future
        finally:
            self._settling.remove(future)

    async def ask(self, item: Input) -> tuple[Output, ...]:
        """Submit an input and return its outputs once they are durable."""
        future: asyncio.Future[tuple[Output, ...]] = asyncio.get_running_loop().create_future()
        self.submit(item, lambda outputs: None if future.done() else future.set_result(tuple(outputs)))
        return await future

    def listen(self, sink: Sink, pings: bool = True) -> None:
        """Have `sink` called with (input, outputs) of all inputs that take effect from now on, after their commit, in
        order; those that were handled together come together. Without `pings` it does not hear of those that did
        nothing but be taken, which is most of them.
        """
        self._sinks.append(sink)
        if pings:
            self._ping_sinks.append(sink)

    def unlisten(self, sink: Sink) -> None:
        """Do not call `sink` any more; what waits for its commit now, it does not hear of."""
        self._sinks.remove(sink)
        if sink in self._ping_sinks:
            self._ping_sinks.remove(sink)

    # ------------------------------------------------------------ out

    def _wait(
        self, outputs: Sequence[Output], then: Then | None, heard: Sequence[Heard] = (), plain: bool = False
    ) -> None:
        self._waiting.append(_Waiting(self._ticket, outputs, then, heard, time.monotonic(), plain))
        self._owed += _answers_in(outputs)
        self._settle()

    def _settle(self) -> None:
        """Let go at once of what need not wait: all of it, when appending is the commit."""
        if self.journal.instant:
            self._durable = self._ticket
        if self._ticket <= self._durable:
            self._release()

    def _committed(self, ticket: int) -> None:
        self._durable = max(self._durable, ticket)
        if self._waiting:
            self.waits.add(time.monotonic() - self._waiting[0].since_s)
        self._release()

    def _release(self) -> None:
        """Let go of everything durable, in order. What a receiver submits meanwhile queues up behind."""
        if self._releasing:
            return
        self._releasing = True
        try:
            while self._waiting and self._waiting[0].ticket <= self._durable and self.fault is None:
                self._tell(self._waiting.popleft())
        finally:
            self._releasing = False

    def _tell(self, waiting: _Waiting) -> None:
        self._owed -= _answers_in(waiting.outputs)
        if waiting.heard:
            for sink in self._ping_sinks if waiting.plain else self._sinks:
                _call(sink, waiting.heard)
        if waiting.then is not None:
            _call(waiting.then, waiting.outputs)

    # ------------------------------------------------------------ trouble

    def _storage_failed(self, error: StorageError) -> None:
        if not isinstance(error, StorageFullError):
            self._break(error)
            return
        log.error("journal_full", error=str(error), waiting=len(self._waiting))
        self._take_back()
        if not self.full and self._loop is not None:
            self.full = True
            self._tasks.append(self._loop.create_task(self._probe_on()))

    def _break(self, error: StorageError) -> None:
        """After a failed fsync nobody knows what is on the disk; nothing that waits may be answered, ever."""
        log.error("journal_failed", error=str(error))
        self.fault = error
        self.broken.set()
        for future in self._settling:
            if not future.done():
                future.set_exception(error)

    def _take_back(self) -> None:
        """Undo, by rebuilding, what was handled and cannot be made durable; tell its senders to try again."""
        self.journal.discard()
        lost = list(self._waiting)
        self._waiting.clear()
        self._durable = self._ticket
        self._rebuild()
        for waiting in lost:
            of_pings = isinstance(waiting.outputs, list)
            waiting.outputs = list(STORAGE_FULL) * len(waiting.outputs) if of_pings else STORAGE_FULL
            waiting.heard = ()
            self._tell(waiting)

    def _quarantine(self, at_ms: int, item: Input, error: Exception) -> None:
        """Set a poisonous input aside; the engine may be half-way through it, so take the journal's instead."""
        log.error("input_quarantined", type=type(item).__name__, error=repr(error), exc_info=error)
        self.quarantined += 1
        self._ticket = self.journal.append(Quarantined(at_ms, repr(error), item))
        try:
            self.journal.flush()
        except StorageError:
            return  # The failure was also posted to the loop, which rebuilds or ends there.
        self._rebuild()
        self._take_snapshot()

    def _rebuild(self) -> None:
        try:
            self.engine = recover(self.journal).engine
        except StorageError as error:
            self._break(error)
            return
        self._snapshot_seq = min(self._snapshot_seq, self.engine.state.seq)
        self.rebuilt += 1

    def _take_snapshot(self) -> None:
        """Queue a snapshot behind the inputs it contains, so that it can only ever be found together with them."""
        state = self.engine.state
        self._snapshot_seq, self._snapshot_ms = state.seq, state.at_ms
        self._ticket = self.journal.append(Snapshot(state.seq, state.at_ms, dump_state(state)))

    # ------------------------------------------------------------ clocks

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(self.engine.settings.tick_ms / 1000)
            if not self.full:
                self.submit(Tick())

    async def _probe_on(self) -> None:
        while self.full:
            await asyncio.sleep(PROBE_S)
            try:
                await asyncio.to_thread(self.journal.probe)
            except StorageFullError:
                continue
            except StorageError as error:
                self._storage_failed(error)
                return
            self.full = False
            log.info("journal_writable_again")


def _answers_in(outputs: Sequence[Output]) -> int:
    return len(outputs) if isinstance(outputs, list) else 1


def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., None], value: object) -> None:
    """Hand a call over to the loop from the journal's thread; a loop that has ended has nobody left to tell."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, value)


def _call(receiver: Callable[..., None], *arguments: object) -> None:
    """Call a receiver whose failure must not keep the others from hearing."""
    try:
        receiver(*arguments)
    except Exception as error:
        # By its name alone: what it was made with may say where a driver is.
        named = getattr(receiver, "func", receiver)
        log.error("receiver_failed", receiver=getattr(named, "__qualname__", type(named).__name__), exc_info=error)


__all__ = ["INTERNAL", "STORAGE_FULL", "Heard", "Hook", "Runner", "Sink", "Then"]
