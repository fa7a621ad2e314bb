"""Searches for plans in a process of its own, so that the floor never waits for one and a search cannot harm it.

It must not know the floor: a problem goes in, a plan comes out, or a reason why there is none.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

import structlog

from streamer.dispatch.problem import Plan, Problem
from streamer.dispatch.search import plan

log = structlog.get_logger("autopilot")

LIMIT_S = 20.0
"""A search that takes longer is ended with its process: 200 orders and 300 drivers take about one."""
NICENESS = 10
"""The floor goes before its own planner, on a machine with few cores above all."""
FIRST_REST_S = 1.0
LONGEST_REST_S = 60.0
"""After a process ended by itself, the next is started no sooner than this: doubled each time, until one answers."""

Search = Callable[[Problem, int], Plan]


class NoPlanError(Exception):
    """There is no plan this time: the process ended, or took too long, or rests. The next look tries again."""


class Solver:
    """One process that searches for one plan at a time; started when first needed, and again after it ended.

    Attributes:
        pid: the process id of the worker, or None while there is none.
        starts: how often one was started.
    """

    def __init__(self, search: Search = plan, limit_s: float = LIMIT_S) -> None:
        """`search` is a function of a module, so that the other process can find it."""
        self.pid: int | None = None
        self.starts = 0
        self._search = search
        self._limit_s = limit_s
        self._pool: ProcessPoolExecutor | None = None
        self._rest_s = 0.0
        self._not_before_s = 0.0

    async def solve(self, problem: Problem, seed: int = 0) -> tuple[Plan, float]:
        """The plan, and the seconds its search took.

        Raises:
            NoPlanError: the worker ended, took longer than the limit, or is not to be started yet.
            Exception: what the search itself raised.
        """
        try:
            pool = self._pool or await self._start()
            future = asyncio.get_running_loop().run_in_executor(pool, _timed, self._search, problem, seed)
            found = await asyncio.wait_for(future, self._limit_s)
        except TimeoutError as error:
            self._end()
            raise NoPlanError(f"the search took longer than {self._limit_s:g} s") from error
        except BrokenProcessPool as error:
            self._end()
            self._rest_s = min(LONGEST_REST_S, max(FIRST_REST_S, 2 * self._rest_s))
            self._not_before_s = time.monotonic() + self._rest_s
            raise NoPlanError("the planning process ended by itself") from error
        self._rest_s = 0.0
        return found

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._end()

    async def _start(self) -> ProcessPoolExecutor:
        if time.monotonic() < self._not_before_s:
            raise NoPlanError("the planning process ended by itself and is started again soon")
        # Spawned, because a fork of a program with threads and open sockets is neither safe nor its own; and in a
        # thread, because starting a process takes the milliseconds of hundreds of pings.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, context, initializer=_settle_in)
        self._pool = pool
        self.starts += 1
        submitted = await asyncio.to_thread(pool.submit, os.getpid)
        self.pid = await asyncio.wait_for(asyncio.wrap_future(submitted), self._limit_s)
        log.info("planner_started", pid=self.pid)
        return pool

    def _end(self) -> None:
        """Let go of the pool. Its process is killed: a pool waits for what runs, and that may be what went wrong."""
        pool, pid, self._pool, self.pid = self._pool, self.pid, None, None
        # Not by its number alone, which may be another's by now.
        for child in multiprocessing.active_children():
            if child.pid == pid:
                child.kill()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


# ---------------------------------------------------------------- in the other process


def _settle_in() -> None:
    # A terminal and a supervisor signal the whole group; when to end is our parent's decision, and it kills.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed closes no pool, and an idle worker would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _timed(search: Search, problem: Problem, seed: int) -> tuple[Plan, float]:
    began_s = time.perf_counter()
    found = search(problem, seed)
    return found, time.perf_counter() - began_s
