"""How long to wait before calling again somebody who did not answer.

It must not know who is called, nor sleep by itself.
"""

from secrets import SystemRandom

FIRST_WAIT_S, MOST_WAIT_S = 0.5, 30.0


class Backoff:
    """Full jitter: a random wait below a bound that doubles with every failure.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """

    def __init__(self) -> None:
        self._bound_s = FIRST_WAIT_S
        self._chance = SystemRandom()

    def reset(self) -> None:
        """It answered."""
        self._bound_s = FIRST_WAIT_S

    def wait_s(self) -> float:
        """Seconds to wait now, after one more failure."""
        bound_s, self._bound_s = self._bound_s, min(MOST_WAIT_S, self._bound_s * 2)
        return self._chance.uniform(0.0, bound_s)
