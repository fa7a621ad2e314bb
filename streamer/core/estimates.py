"""Small statistics that forget: running moments, shrinkage between levels, normal variables cut off or compared.

It must not know what is estimated. Everything here is arithmetic in the order of its inputs, so equal histories give
equal numbers to the last bit.
"""

from math import erf, exp, inf, pi, sqrt

from msgspec import Struct

SQRT2, SQRT_2PI = sqrt(2.0), sqrt(2.0 * pi)
FAR = 8.0
"""Standard deviations beyond which a normal's tail is its own asymptote to a hundredth of a per cent of what counts."""


class Moments(Struct):
    """Weighted mean and squares about it of the last `kept` observations or so, older ones fading.

    Source: West 1979, "Updating mean and variance estimates", doi:10.1145/359146.359153; the fading is a cap on weight.
    """

    weight: float = 0.0
    mean: float = 0.0
    square: float = 0.0
    """Weighted sum of squared deviations from the mean."""

    def add(self, value: float, kept: float, weight: float = 1.0, variance: float = 0.0) -> None:
        """Counts an observation; `variance` is how unsure the value itself is. Zero weight counts for nothing."""
        if weight <= 0.0:
            return
        if self.weight + weight > kept and self.weight > 0.0:
            fade = max(0.0, kept - weight) / self.weight
            self.weight *= fade
            self.square *= fade
        self.weight += weight
        apart = value - self.mean
        self.mean += apart * weight / self.weight
        self.square += weight * (apart * (value - self.mean) + variance)


class Belief(Struct, frozen=True):
    """What is expected of the next observation: its mean, its variance about it, and how much stands behind both."""

    mean: float
    variance: float
    weight: float

    @property
    def sd(self) -> float:
        """Standard deviation of the next observation, the doubt about the mean included."""
        return sqrt(self.variance * (1.0 + 1.0 / self.weight))


def shrunk(parent: Belief, own: Moments, prior_weight: float) -> Belief:
    """Own observations and what the level above believes, the latter worth `prior_weight` observations.

    Source: Bühlmann 1967, "Experience rating and credibility": Z = n / (n + k), here level by level as in Jewell 1975.
    """
    weight = own.weight + prior_weight
    return Belief(
        (own.weight * own.mean + prior_weight * parent.mean) / weight,
        (own.square + prior_weight * parent.variance) / weight,
        weight,
    )


# ---------------------------------------------------------------- normal variables


def density(z: float) -> float:
    """The standard normal density."""
    return exp(-0.5 * z * z) / SQRT_2PI


def below(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * (1.0 + erf(z / SQRT2))


def hazard(z: float) -> float:
    """Density over what lies above `z`: how far the mean of a standard normal moves when it is known to exceed `z`."""
    if z > FAR:
        return z + 1.0 / z
    return density(z) / below(-z)


def above(mean: float, sd: float, floor: float) -> tuple[float, float]:
    """Mean and variance of a normal variable that is known to exceed `floor`.

    Source: Johnson, Kotz and Balakrishnan 1994, "Continuous univariate distributions" 1, §10.1.
    """
    if sd <= 0.0:
        return max(mean, floor), 0.0
    z = (floor - mean) / sd
    if z < -FAR:
        return mean, sd * sd
    moved = hazard(z)
    return mean + sd * moved, max(0.0, sd * sd * (1.0 + z * moved - moved * moved))


def under(mean: float, sd: float, ceiling: float) -> tuple[float, float]:
    """Mean and variance of a normal variable that is known not to exceed `ceiling`."""
    mirrored, variance = above(-mean, sd, -ceiling)
    return -mirrored, variance


def later_of(mean1: float, variance1: float, mean2: float, variance2: float) -> tuple[float, float]:
    """Mean and variance of the later of two independent normal instants.

    Source: Clark 1961, "The greatest of a finite set of random variables", doi:10.1287/opre.9.2.145.
    """
    spread = sqrt(variance1 + variance2)
    z = (mean1 - mean2) / spread if spread > 0.0 else inf * (1.0 if mean1 >= mean2 else -1.0)
    if z > FAR:
        return mean1, variance1
    if z < -FAR:
        return mean2, variance2
    first, peak = below(z), spread * density(z)
    # Squares about the first mean, not about zero: instants are huge and would lose their last digits.
    apart = mean2 - mean1
    mean = apart * (1.0 - first) + peak
    square = variance1 * first + (apart * apart + variance2) * (1.0 - first) + apart * peak
    return mean1 + mean, max(0.0, square - mean * mean)


class Quantiles(Struct):
    """The 10 % and the 90 % quantile of misses, counted in their predicted standard deviations.

    Each is moved a step up by a miss above it and down by one below, in such a proportion that in the long run the
    right share lies on either side, whatever the misses are like: nothing is assumed of them.

    Source: Gibbs and Candès 2021, "Adaptive conformal inference under distribution shift", arXiv:2106.00170; quantile
    tracking with decaying steps as in Angelopoulos, Barber and Bates 2024, arXiv:2402.01139.
    """

    low: float
    high: float
    n: int = 0

    def add(self, miss: float, first_step: float = 0.2, least_step: float = 0.02) -> None:
        """Learns from one miss: (what happened - what was expected) / its predicted standard deviation.

        Steps are shares of the distance between the two, so that a floor ten times vaguer is found out as soon.
        """
        self.n += 1
        step = max(least_step, first_step / sqrt(self.n)) * max(0.5, self.high - self.low)
        self.low += step * (0.1 - (miss < self.low))
        self.high += step * (0.9 - (miss < self.high))
        self.high = max(self.high, self.low)
