"""How long to wait before calling again somebody who did not answer.

It must not know who is called, nor sleep by itself.
"""

from secrets import SystemRandom

FIRST_WAIT_S, MOST_WAIT_S = 1.0, 30.0
MOST_ADVISED_S = 300.0
"""Advice beyond this is cut: a wrong one must not keep a driver away for a day."""


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

    def wait_s(self, advised_s: float = 0.0) -> float:
        """Seconds to wait now, after one more failure: what was advised, and the jitter on top of it.

        On top, because everybody who was turned away got the same advice, and would come back as one.
        """
        bound_s, self._bound_s = self._bound_s, min(MOST_WAIT_S, self._bound_s * 2)
        return advised_s + self._chance.uniform(0.0, bound_s)


def retry_after_s(text: str | None) -> float | None:
    """The seconds a `Retry-After` header asks for, at most `MOST_ADVISED_S`; None when there is no such advice.

    The weak spot: a date, which the header may hold too, counts as no advice.

    Source: RFC 9110, section 10.2.3.
    """
    if text is None or not (text.isascii() and text.strip().isdigit()):
        return None
    # No number of more digits than this can matter, and one of thousands cannot be converted.
    digits = text.strip().lstrip("0") or "0"
    return MOST_ADVISED_S if len(digits) > 6 else min(MOST_ADVISED_S, float(digits))
