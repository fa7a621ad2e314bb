"""Says whether two policies differ by more than luck: intervals, and paired tests seed by seed.

It must not be imported by a program that serves: it brings scipy. It must not know how a day is lived.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from streamer.core.changes import PolicyName
from streamer.edge.lab.contract import Compared, Pair, Result, Verdict

CONFIDENCE = 0.95
FIGURES = (
    "delivered", "on_time", "late", "open", "orders_per_trip", "click_to_door_ms", "wait_at_store_ms", "reassigned",
    "declined",
)  # fmt: skip


def verdict_of(
    fixture: str, policies: tuple[PolicyName, PolicyName], results: Iterable[Result], complete: bool = True
) -> Verdict:
    """Put the days together by seed, and test each figure; a seed that only one policy has lived is left out."""
    by_trial = {(one.trial.policy, one.trial.seed): one.kpis for one in results}
    lived = {seed for _, seed in by_trial}
    seeds = sorted(seed for seed in lived if all((policy, seed) in by_trial for policy in policies))
    figures: list[Compared] = []
    for name in FIGURES:
        known: list[Pair] = []
        for seed in seeds:
            first, second = (getattr(by_trial[policy, seed], name) for policy in policies)
            if first is not None and second is not None:
                known.append(Pair(seed, float(first), float(second)))
        if len(known) > 1:
            figures.append(_compared(name, known))
    return Verdict(fixture, policies, len(seeds), tuple(figures), complete)


def _compared(name: str, pairs: Sequence[Pair]) -> Compared:
    first = np.array([pair.first for pair in pairs])
    second = np.array([pair.second for pair in pairs])
    differences = second - first
    half = _half_width(differences)
    mean = float(differences.mean())
    p = p_ranks = None
    if differences.std() > 0:
        p, p_ranks = float(stats.ttest_rel(second, first).pvalue), float(stats.wilcoxon(differences).pvalue)
    return Compared(
        name, len(pairs), float(first.mean()), float(second.mean()), _half_width(first), _half_width(second),
        mean, mean - half, mean + half, p, p_ranks, tuple(pairs),
    )  # fmt: skip


def _half_width(values: "np.typing.NDArray[np.float64]") -> float:
    """Half the width of the t interval of a mean."""
    n = len(values)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
