"""Robust estimates of a few samples: one wild value in ten moves them little.

It must not know what was measured.
"""

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import stats

EVEN_SD = sqrt(3.0)
"""An even range reaches this many standard deviations to either side of its middle."""
MAD_TO_SD = 1.4826
"""Of a normal distribution. Source: Rousseeuw & Croux 1993, doi:10.1080/01621459.1993.10476408."""
TAIL = 0.1

Numbers = NDArray[np.float64]


class Apart(Struct, frozen=True):
    """How a quantity differs between groups: middle and standard deviation, the noise within groups taken out."""

    middle: float
    sd: float
    groups: int

    @property
    def range(self) -> tuple[float, float]:
        """The even range of that middle and deviation."""
        return self.middle - EVEN_SD * self.sd, self.middle + EVEN_SD * self.sd


class Likeness(Struct, frozen=True):
    """How alike two samples are. `ks` is the largest distance between their distributions, 0-1, `p` its chance."""

    ks: float
    p: float
    n: int


def even_range(values: Sequence[float]) -> tuple[float, float]:
    """The even range whose inner eighty per cent is that of the values."""
    low, high = (float(q) for q in np.quantile(np.asarray(values), (TAIL, 1 - TAIL)))
    beyond = (high - low) * TAIL / (1 - 2 * TAIL)
    return low - beyond, high + beyond


def spread(values: Sequence[float]) -> float:
    """A standard deviation by the median of absolute deviations."""
    array = np.asarray(values)
    return float(np.median(np.abs(array - np.median(array)))) * MAD_TO_SD


def scale(errors: Sequence[float]) -> float:
    """The standard deviation of errors around zero, by the median of their size."""
    return float(np.median(np.abs(np.asarray(errors)))) * MAD_TO_SD


def between(groups: Mapping[str, tuple[float, float]]) -> Apart:
    """How groups differ, each given as an estimate and the variance of that estimate.

    Source: DerSimonian & Laird 1986, doi:10.1016/0197-2456(86)90046-2, with equal weights.
    """
    estimates = np.array([estimate for estimate, _ in groups.values()])
    noise = float(np.mean([variance for _, variance in groups.values()]))
    variance = float(np.var(estimates, ddof=1)) if len(estimates) > 1 else 0.0
    return Apart(float(np.mean(estimates)), sqrt(max(0.0, variance - noise)), len(estimates))


def likeness(actual: Sequence[float], expected: Sequence[float]) -> Likeness:
    """Two-sample Kolmogorov-Smirnov. Source: Hodges 1958, doi:10.1007/BF02589501."""
    found = stats.ks_2samp(np.asarray(actual), np.asarray(expected))
    return Likeness(float(found.statistic), float(found.pvalue), len(actual))
