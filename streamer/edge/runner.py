"""The one way into the engine: handle at once, journal, and let go of the outputs when they are durable.

It must not know who submits or who listens: sockets, feeds, recordings and tests all use `submit`, `barrier`, `listen`.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog
from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.errors import StorageError
from streamer.core.events import Input, Output, Ping, PingTaken, Refused, Tick
from streamer.core.snapshot import dump_state
from streamer.edge.clock import Clock
from streamer.edge.journal.contract import Entry, Journal, Note, Quarantined, Snapshot, StorageFullError
from streamer.edge.journal.recovery import recover

log = structlog.get_logger("runner")

SNAPSHOT_INPUTS = 100_000
SNAPSHOT_MS = 300_000
"""A snapshot after so many inputs, or so much time in which there was any."""
PROBE_S = 1.0
"""How often a full disk is asked whether there is room again."""

Then = Callable[[tuple[Output, ...]], None]
Sink = Callable[[Input, tuple[Output, ...]], None]
INTERNAL = (Refused("internal", "this input could not be handled; it was set aside for inspection"),)
STORAGE_FULL = (Refused("storage_full", "the journal cannot be written now", retryable=True),)


class _Waiting(Struct):
    """Outputs that may leave once `ticket` is durable. `effective` is the input that sinks are to hear of."""

    ticket: int
    outputs: tuple[Output, ...]
    then: Then | None
    effective: Input | None


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
        self.hooks: list[Sink] = []
        self._sinks: list[Sink] = []
        self._waiting: deque[_Waiting] = deque()
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

    async def stop(self) -> None:
        """Wait until everything is durable and said, leave a snapshot for a quick start, close the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.fault is None and not self.full:
            if self.engine.state.seq > self._snapshot_seq:
                self._take_snapshot()
            await self.settled()
        await asyncio.to_thread(self.journal.close)

    # ------------------------------------------------------------ in

    def now_ms(self) -> int:
        """The floor's clock, in UTC epoch milliseconds; never behind the engine."""
        return max(self.clock.now_ms(), self.engine.state.at_ms)

    @property
    def backlog(self) -> int:
        """How many answers wait for a commit; senders are slowed down by it."""
        return len(self._waiting)

    def submit(self, item: Input, then: Then | None = None, at_ms: int | None = None) -> None:
        """Handle an input now (or at `at_ms`, of a recording); `then` gets its outputs once they are durable.

        Every `then` is called exactly once, in the order of submission, possibly before this returns. Refusals and
        repeats are not journaled, but wait like the rest: what they were judged by has to be durable too.
        """
        if self.full:
            self._wait(STORAGE_FULL, then, None)
            return
        at_ms = self.now_ms() if at_ms is None else max(at_ms, self.engine.state.at_ms)
        seq = self.engine.state.seq
        try:
            outputs = self.engine.handle(at_ms, item)
        except Exception as error:
            self._quarantine(at_ms, item, error)
            self._wait(INTERNAL, then, None)
            return
        if self.engine.state.seq == seq:
            self._wait(outputs, then, None)
            return
        verdict = outputs[0].verdict if isinstance(item, Ping) and isinstance(outputs[0], PingTaken) else None
        self._ticket = self.journal.append(Entry(seq + 1, at_ms, item, verdict))
        for hook in self.hooks:
            hook(item, outputs)
        self._wait(outputs, then, item)
        if seq + 1 - self._snapshot_seq >= SNAPSHOT_INPUTS or at_ms - self._snapshot_ms >= SNAPSHOT_MS:
            self._take_snapshot()

    def note(self, note: Note) -> None:
        """Put a log-in, or another thing worth auditing, into the chain; `barrier` after it to know it is durable."""
        if not self.full:
            self._ticket = self.journal.append(note)
            self._settle()

    def barrier(self, then: Callable[[], None], lost: Callable[[], None] | None = None) -> None:
        """Call `then` once all that was handled so far is durable; or `lost`, if it is not going to be."""

        def judge(outputs: tuple[Output, ...]) -> None:
            if outputs is not STORAGE_FULL:
                then()
            elif lost is not None:
                lost()

        self._wait((), judge, None)

    async def settled(self) -> None:
        """Return once all that was handled so far is durable.

        Raises:
            StorageFullError: it was taken back, because the journal could not be written.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        full = StorageFullError("the journal cannot be written now")
        self.barrier(
            lambda: None if future.done() else future.set_result(None),
            lambda: None if future.done() else future.set_exception(full),
        )
        await future

    async def ask(self, item: Input) -> tuple[Output, ...]:
        """Submit an input and return its outputs once they are durable."""
        future: asyncio.Future[tuple[Output, ...]] = asyncio.get_running_loop().create_future()
        self.submit(item, lambda outputs: None if future.done() else future.set_result(outputs))
        return await future

    def listen(self, sink: Sink) -> None:
        """Have `sink` called with (input, outputs) of every input that took effect, after its commit, in order."""
        self._sinks.append(sink)

    # ------------------------------------------------------------ out

    def _wait(self, outputs: tuple[Output, ...], then: Then | None, effective: Input | None) -> None:
        self._waiting.append(_Waiting(self._ticket, outputs, then, effective))
        self._settle()

    def _settle(self) -> None:
        if self.journal.instant:
            self._durable = self._ticket
        self._release()

    def _committed(self, ticket: int) -> None:
        self._durable = max(self._durable, ticket)
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
        if waiting.effective is not None:
            for sink in self._sinks:
                _call(sink, waiting.effective, waiting.outputs)
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

    def _take_back(self) -> None:
        """Undo, by rebuilding, what was handled and cannot be made durable; tell its senders to try again."""
        self.journal.discard()
        lost = list(self._waiting)
        self._waiting.clear()
        self._durable = self._ticket
        self._rebuild()
        for waiting in lost:
            waiting.outputs, waiting.effective = STORAGE_FULL, None
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


def _post(loop: asyncio.AbstractEventLoop, call: Callable[..., None], value: object) -> None:
    """Hand a call over to the loop from the journal's thread; a loop that has ended has nobody left to tell."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, value)


def _call(receiver: Callable[..., None], *arguments: object) -> None:
    """Call a receiver whose failure must not keep the others from hearing."""
    try:
        receiver(*arguments)
    except Exception as error:
        log.error("receiver_failed", receiver=getattr(receiver, "__qualname__", repr(receiver)), exc_info=error)


__all__ = ["INTERNAL", "STORAGE_FULL", "Runner", "Sink", "Then"]
