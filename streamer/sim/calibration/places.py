"""Fits stores, phones and shoppers: readiness, errors and gaps of positions, what is ordered.

It must not know recordings, nor judge what it fits.
"""

from collections.abc import Sequence
from functools import partial
from math import exp, pi, sqrt

import numpy as np

from streamer.sim.calibration.estimators import between, even_range, scale, spread
from streamer.sim.calibration.fitter import LEAST, LEAST_EACH, Fitter, grouped
from streamer.sim.calibration.observed import Fix, Observed, Window
from streamer.sim.parameters import PhoneRules

ACCURACY_FLOOR_M = 3.0
"""Phones claim no better, so that sharper errors hide behind it."""
LONGEST_GAP = 10
"""Cadences; a longer silence is no lost fix."""
LEAST_PHONES = 8


def fit_stores(fitter: Fitter, seen: Observed) -> None:
    """Fit how late each store is, how they differ, and how much one store varies."""
    by_store = {who: [s.value for s in own] for who, own in grouped(seen.readiness).items() if len(own) >= LEAST_EACH}
    n = sum(len(values) for values in by_store.values())
    if n < LEAST or len(by_store) < 2:
        fitter.keep("stores", "bias", n)
        return
    middles = {who: float(np.median(values)) for who, values in by_store.items()}
    left = [value - middles[who] for who, values in by_store.items() for value in values]
    # Each store's own middle took a degree of freedom.
    within = max(0.01, spread(left) * sqrt(n / max(1, n - len(by_store))))
    # The variance of a median is that of a mean times pi / 2.
    known = {who: (middles[who], within**2 * pi / 2 / len(values)) for who, values in by_store.items()}
    apart = between(known)
    low, high = (exp(end) for end in apart.range)
    fitter.take("stores", n, spread=within, bias=(low, high))
    # Each store is drawn towards the others as far as its own few orders leave doubt.
    leans = {
        who: float(f"{exp(apart.middle + (middle - apart.middle) * _trust(apart.sd**2, variance)):.4g}")
        for who, (middle, variance) in known.items()
    }
    fitter.take("stores", n, biases={**fitter.parameters.stores.biases, **leans})


def _trust(between_variance: float, own_variance: float) -> float:
    """Source: empirical Bayes, Efron & Morris 1975, doi:10.1080/01621459.1975.10479864."""
    total = between_variance + own_variance
    return between_variance / total if total else 0.0


def fit_phones(fitter: Fitter, seen: Observed) -> None:
    """Fit errors where the true position is known, claimed accuracy elsewhere; cadence, losses and latency."""
    for name, fixes in (("sigma_parked_m", seen.at_door), ("sigma_indoors_m", seen.at_counter)):
        fitter.enough("phones", name, len(fixes), partial(_sigma_m, fixes))
    _fit_accuracy(fitter, seen)
    for name, gaps in (("moving_ms", seen.driving_gap_ms), ("still_ms", seen.door_gap_ms)):
        values = [sample.value for sample in gaps]
        fitter.enough("phones", name, len(values), partial(_whole_seconds, values))
    rules = fitter.parameters.phones
    gaps_ms = [gap.value for gap in seen.driving_gap_ms if gap.value < LONGEST_GAP * rules.moving_ms]
    fitter.enough("phones", "missed_open", len(gaps_ms), lambda: _missed_between(gaps_ms, rules.moving_ms))
    for name, windows in (("missed_parked", seen.door_windows), ("missed_indoors", seen.counter_windows)):
        long = [window for window in windows if window.seconds * 1000 > rules.still_ms]
        fitter.enough("phones", name, len(long), partial(_missed_in, long, rules))
    late = [float(np.median([sample.value for sample in own])) for own in grouped(seen.latency_ms).values()]
    if len(late) < LEAST_PHONES:
        fitter.keep("phones", "latency_ms", len(late), f"{len(late)} phones, {LEAST_PHONES} are needed")
        return
    first = max(0, round(even_range(late)[0]))
    fitter.take("phones", len(late), latency_ms=(first, max(first + 1, round(even_range(late)[1]))))


def errors(fixes: Sequence[Fix]) -> list[float]:
    """Errors on each axis: east and north of a fix are two samples."""
    return [error for fix in fixes for error in (fix.east_m, fix.north_m)]


def _sigma_m(fixes: Sequence[Fix]) -> float:
    return max(0.1, scale(errors(fixes)))


def _fit_accuracy(fitter: Fitter, seen: Observed) -> None:
    """What phones claim, against what is known of their errors; of a moving one only the claim is known."""
    vague = [fix for fix in (*seen.at_door, *seen.at_counter) if fix.accuracy_m > 2 * ACCURACY_FLOOR_M]
    claimed = [sample.value for sample in seen.driving_accuracy_m]
    if len(vague) < LEAST or len(claimed) < LEAST:
        fitter.keep("phones", "sigma_open_m", min(len(vague), len(claimed)))
        return
    relative = [error / fix.accuracy_m for fix in vague for error in (fix.east_m, fix.north_m)]
    ratio = 1 / max(0.01, scale(relative))
    fitter.take("phones", len(vague), accuracy_per_sigma=ratio)
    fitter.take("phones", len(claimed), sigma_open_m=max(0.1, float(np.mean(claimed)) / ratio))


def _whole_seconds(gaps_ms: Sequence[float]) -> int:
    return max(1_000, round(float(np.median(gaps_ms)) / 1000) * 1000)


def _missed_between(gaps_ms: Sequence[float], cadence_ms: int) -> float:
    """Share of fixes that did not come, from gaps of more than one cadence."""
    return 1 - len(gaps_ms) / sum(max(1, round(gap / cadence_ms)) for gap in gaps_ms)


def _missed_in(windows: Sequence[Window], rules: PhoneRules) -> float:
    """Share of fixes that did not come; a phone that has just stood still waits longer for its first."""
    wait_s = (rules.still_ms - rules.moving_ms) / 2000
    tries = sum(max(0.0, window.seconds - wait_s) for window in windows) * 1000 / rules.still_ms
    return min(1.0, max(0.0, 1 - sum(window.fixes for window in windows) / max(1.0, tries)))


def fit_shoppers(fitter: Fitter, seen: Observed) -> None:
    """Fit what is ordered. When, over the day, takes many days: hours are kept."""
    n = len(seen.orders)
    fitter.enough("shoppers", "items_mean", n, lambda: float(np.mean([order.items - 1 for order in seen.orders])))
    fitter.enough("shoppers", "two_stores", n, lambda: float(np.mean([order.stores > 1 for order in seen.orders])))
    step = fitter.parameters.shoppers.due_step_min
    fitter.enough("shoppers", "due_min", n, lambda: _dues([order.due_min for order in seen.orders], step))


def _dues(due_min: Sequence[float], step: int) -> tuple[int, int]:
    low, high = (max(0, round(float(q) / step) * step) for q in np.quantile(due_min, (0.01, 0.99)))
    return low, high + 1
