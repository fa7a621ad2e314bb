"""Keeps the policy lab beside a live floor: starts its process, hears how far it is, ends it, keeps the last results.

It must not know how a day is lived. A run costs the floor a pipe and two lines a second.
"""

import asyncio
import secrets
import time
from collections import deque
from contextlib import suppress

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from streamer.edge.lab.contract import LabOrder, LabSaid, LabView
from streamer.edge.processes import end_child, start_child, tell_child

log = structlog.get_logger("lab")

KEPT = 8
"""So many runs can be looked at; older ones are forgotten, and all with the floor."""
"""A verdict of forty seeds is some 30 kB."""


class LabBusyError(Exception):
    """A run is under way; the message says whose."""


def busy(view: LabView) -> str:
    """Why no other run can be started."""
    return f"a run of {view.name} by {view.started_by} is under way: cancel it, or wait for it"


class _Run(Struct, eq=False):
    """A run as its keeper has it. Seconds are of the monotonic clock; `malls` are those of its recording."""

    view: LabView
    malls: tuple[str, ...]
    began_s: float
    child: asyncio.subprocess.Process | None = None
    hearing: asyncio.Task[None] | None = None


class Lab:
    """The runs of one floor, one at a time."""

    def __init__(self) -> None:
        self._runs: deque[_Run] = deque(maxlen=KEPT)

    def views(self) -> list[tuple[LabView, tuple[str, ...]]]:
        """Every run with the malls of its recording, newest first."""
        return [(run.view, run.malls) for run in reversed(self._runs)]

    @property
    def running(self) -> LabView | None:
        """The run that is under way."""
        run = self._running()
        return run.view if run is not None else None

    async def start(self, order: LabOrder, view: LabView, malls: tuple[str, ...]) -> LabView:
        """Start a run of `view`, whose id is given here.

        Raises:
            LabBusyError: one is under way.
        """
        if (running := self._running()) is not None:
            raise LabBusyError(busy(running.view))
        run = _Run(replace(view, run=f"l-{secrets.token_hex(4)}"), malls, time.monotonic())
        # Its place is taken from now on, whoever else asks meanwhile.
        self._runs.append(run)
        run.hearing = asyncio.create_task(self._live(run, order))
        log.info("lab_started", run=run.view.run, source=view.source, name=view.started_by)
        return run.view

    async def cancel(self) -> LabView | None:
        """End the run that is under way, and keep what it has found; None when there is none."""
        run = self._running()
        if run is None:
            return None
        run.view = replace(run.view, status="cancelled", left_ms=None)
        await self._end(run)
        log.info("lab_cancelled", run=run.view.run)
        return run.view

    async def close(self) -> None:
        """End with the floor; when this returns, no process is left."""
        for run in self._runs:
            if run.hearing is not None and not run.hearing.done():
                await self._end(run)

    def _running(self) -> _Run | None:
        return next((run for run in self._runs if run.view.status == "running"), None)

    # ------------------------------------------------------------ the process

    async def _live(self, run: _Run, order: LabOrder) -> None:
        try:
            child = run.child = await start_child("streamer.edge.lab")
            assert child.stdout is not None
            await tell_child(child, msgspec.json.encode(order))
            while line := await child.stdout.readline():
                run.view = _heard(run, msgspec.json.decode(line, type=LabSaid))
            await child.wait()
        finally:
            await end_child(run.child)
            if run.view.status == "running":
                problem = "the process of the lab ended by itself"
                run.view = replace(run.view, status="failed", left_ms=None, problem=problem)
            log.info("lab_ended", run=run.view.run, status=run.view.status)

    async def _end(self, run: _Run) -> None:
        assert run.hearing is not None
        run.hearing.cancel()
        with suppress(asyncio.CancelledError):
            await run.hearing


def _heard(run: _Run, said: LabSaid) -> LabView:
    view = run.view
    if view.status != "running":
        return view  # its last words, after it was cancelled
    if said.problem is not None:
        return replace(view, status="failed", left_ms=None, problem=said.problem)
    spent_ms = (time.monotonic() - run.began_s) * 1000
    left_ms = round(spent_ms * (view.days - said.done) / said.done) if said.done else None
    verdict = said.verdict or view.verdict
    if said.verdict is not None and said.verdict.complete:
        return replace(view, status="done", done=said.done, left_ms=None, verdict=verdict)
    return replace(view, done=said.done, left_ms=left_ms, verdict=verdict)
