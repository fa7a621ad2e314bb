"""Lives days of a recording under policies, one after the other or on all cores.

It must not be imported by a program that serves: it brings the simulator. Both policies live each seed's day with the
same drivers in the same places, all of them simulated, so that what differs between the two is the policy.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from streamer.core.changes import Changes
from streamer.edge.lab.contract import Result, Trial
from streamer.edge.recordings.whatif import Moment, Progress, live, moment_of


class Job(Struct, frozen=True):
    """What all days have in common. `minutes` None: to the recording's end."""

    path: Path
    at_ms: int
    effort: int
    minutes: float | None


_moments: dict[Job, Moment] = {}
"""What this process has opened: each opens the recording once and lives many days from there."""


def live_trial(job: Job, trial: Trial, progress: Progress | None = None) -> Result:
    """Live one day in this process.

    Raises:
        FixtureError: the file is damaged, or no fixture.
        CallerError: the recording does not reach that instant.
    """
    if job not in _moments:
        _moments[job] = moment_of(job.path, job.at_ms)
    changes = Changes(policy=trial.policy)
    return Result(
        trial, live(_moments[job], changes, trial.seed, True, job.effort, job.minutes, progress).forked
    )  # fmt: skip


def run_trials(job: Job, trials: Sequence[Trial], workers: int | None) -> Iterator[Result]:
    """Live all days, in processes of their own, which end with the iterator; results come as days are over.

    Raises:
        FixtureError: the file is damaged, or no fixture.
        CallerError: the recording does not reach that instant.
    """
    count = min(workers or os.cpu_count() or 1, len(trials))
    with _pool(count) as pool:
        yield from pool.imap_unordered(_live, [(job, trial) for trial in trials])


def _pool(count: int) -> "multiprocessing.pool.Pool":
    """Processes that a Ctrl-C does not reach: it is for whoever waits for them, who ends them.

    Spawned: a forked copy of a process that has opened and threaded this and that is not to be trusted.
    """
    context = multiprocessing.get_context("spawn")
    if threading.current_thread() is not threading.main_thread():
        return context.Pool(count)
    # A program inherits what is ignored, so that not even its start is interrupted.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return context.Pool(count)
    finally:
        signal.signal(signal.SIGINT, before)


def _live(day: tuple[Job, Trial]) -> Result:
    return live_trial(*day)
