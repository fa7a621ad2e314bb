"""Lives a day many times under two policies on all cores, and says whether they differ by more than luck.

It must not know how a fork is lived. Both policies live each seed's day with the same drivers in the same places, all
of them simulated, so that what differs between the two is the policy: the test is paired.
"""

import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from scipy import stats

from streamer.cli.shown import unit_of
from streamer.core.changes import Changes, PolicyName
from streamer.core.kpis import Kpis
from streamer.edge.recordings.whatif import Moment, live, moment_of

CONFIDENCE = 0.95
FIGURES = (
    "delivered", "on_time", "late", "open", "orders_per_trip", "click_to_door_ms", "wait_at_store_ms", "reassigned",
    "declined",
)  # fmt: skip


class Trial(Struct, frozen=True):
    """One day to live."""

    policy: PolicyName
    seed: int


class Result(Struct, frozen=True):
    """What came of it."""

    trial: Trial
    kpis: Kpis


class Compared(Struct, frozen=True):
    """One figure under both policies over all seeds.

    `difference` is the mean of second less first, seed by seed; `low` and `high` bound it with 95 % confidence (t). `p`
    is how likely so large a difference is by luck alone (paired t test); `p_ranks` the same without assuming anything
    of how it is spread (Wilcoxon). None where all seeds agree, or a figure is missing.
    """

    figure: str
    n: int
    first: float
    second: float
    first_half: float
    second_half: float
    difference: float
    low: float
    high: float
    p: float | None
    p_ranks: float | None


class Verdict(Struct, frozen=True):
    """What `mallard compare` prints. `first_half` and `second_half` are half widths of 95 % intervals of the means."""

    fixture: str
    policies: tuple[PolicyName, PolicyName]
    seeds: int
    figures: tuple[Compared, ...]


class _Job(Struct, frozen=True):
    path: Path
    at_ms: int
    effort: int
    minutes: float | None


_moments: list[tuple[_Job, Moment]] = []
"""What this process has opened: each opens the recording once and lives many days from there."""


def run_trials(
    path: Path, at_ms: int, trials: Sequence[Trial], effort: int, minutes: float | None, workers: int | None,
    progress: Callable[[float], None],
) -> list[Result]:  # fmt: skip
    """Live all days, in processes of their own; `progress` is told how many are over.

    Raises:
        FixtureError: the file is damaged, or no fixture.
        CallerError: the recording does not reach that instant.
    """
    job = _Job(path, at_ms, effort, minutes)
    count = min(workers or os.cpu_count() or 1, len(trials))
    results: list[Result] = []
    # Spawned: a forked copy of a process that has opened and threaded this and that is not to be trusted.
    with multiprocessing.get_context("spawn").Pool(count, _open, (job,)) as pool:
        for result in pool.imap_unordered(_live, trials):
            results.append(result)
            progress(len(results))
    return results


def _open(job: _Job) -> None:
    _moments[:] = [(job, moment_of(job.path, job.at_ms))]


def _live(trial: Trial) -> Result:
    job, moment = _moments[0]
    changes = Changes(policy=trial.policy)
    return Result(trial, live(moment, changes, trial.seed, True, job.effort, job.minutes).forked)


def verdict_of(fixture: str, policies: tuple[PolicyName, PolicyName], results: Iterable[Result]) -> Verdict:
    """Put the days together by seed, and test each figure."""
    by_trial = {(one.trial.policy, one.trial.seed): one.kpis for one in results}
    seeds = sorted({seed for _, seed in by_trial})
    figures: list[Compared] = []
    for name in FIGURES:
        pairs = [tuple(getattr(by_trial[policy, seed], name) for policy in policies) for seed in seeds]
        known = [(float(a), float(b)) for a, b in pairs if a is not None and b is not None]
        if len(known) > 1:
            figures.append(_compared(name, known))
    return Verdict(fixture, policies, len(seeds), tuple(figures))


def _compared(name: str, pairs: Sequence[tuple[float, float]]) -> Compared:
    first, second = np.array(pairs).T
    differences = second - first
    half = _half_width(differences)
    mean = float(differences.mean())
    p = p_ranks = None
    if differences.std() > 0:
        p, p_ranks = float(stats.ttest_rel(second, first).pvalue), float(stats.wilcoxon(differences).pvalue)
    return Compared(
        name, len(pairs), float(first.mean()), float(second.mean()), _half_width(first), _half_width(second),
        mean, mean - half, mean + half, p, p_ranks,
    )  # fmt: skip


def _half_width(values: "np.typing.NDArray[np.float64]") -> float:
    """Half the width of the t interval of a mean."""
    n = len(values)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))


def print_verdict(verdict: Verdict) -> None:
    """The figures as a table."""
    first, second = verdict.policies
    title = f"{verdict.fixture}: {verdict.seeds} seeds, means with 95 % intervals"
    table = Table("figure", first, second, f"{second} less {first}", "p (t)", "p (ranks)", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in verdict.figures:
        label, unit = unit_of(one.figure)
        table.add_row(
            label, f"{one.first / unit:,.4g} ± {one.first_half / unit:.2g}",
            f"{one.second / unit:,.4g} ± {one.second_half / unit:.2g}",
            f"{one.difference / unit:+,.3g} [{one.low / unit:+,.3g}, {one.high / unit:+,.3g}]", _p(one.p),
            _p(one.p_ranks),
        )  # fmt: skip
    Console().print(table)


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
