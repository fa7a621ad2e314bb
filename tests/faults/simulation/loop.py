"""An asyncio loop whose clock jumps to the next timer, so that minutes of a floor take milliseconds and never differ.

It must not know what runs on it. Nothing here waits, opens or reads a clock.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class StalledError(RuntimeError):
    """Nothing is left that could ever happen."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks in order of their simulated instants; `time()` is seconds since the simulation began.

    The weak spot: it leans on `_selector`, `_process_events` and `_write_to_self`, the seam by which asyncio's own
    loops differ. They have been there since 3.4, and a change would fail every seed at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """Every task that has not ended, in the order they began; `asyncio.all_tasks` has no order."""
        self._selector = _Jump(self)
        self.set_task_factory(_remembered)

    def time(self) -> float:
        """Simulated seconds."""
        return self.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Threads have no order: what would run in one runs here and now."""
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: object) -> None:
        """There are no files, so there are no events of them."""

    def _write_to_self(self) -> None:
        """There is no other thread that would have to wake this one."""


class _Jump:
    """Where a real loop would wait for files or the next timer, this one sets the clock."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise StalledError("nothing is left that could ever happen")
        if timeout > 0:
            self._loop.now_s += timeout
        return []


def _remembered(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    assert isinstance(loop, SimulatedLoop)
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    loop.tasks[task] = None
    task.add_done_callback(lambda done: loop.tasks.pop(done, None))
    return task
