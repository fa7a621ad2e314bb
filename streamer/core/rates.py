"""A bucket that counts how often something may be done.

It must not know what is counted, nor read a clock: instants are given, in seconds of any clock that does not go back.
"""


class TokenBucket:
    """Allows `rate_per_s` on average and `burst` at once.

    Source: the generic cell rate algorithm, ITU-T I.371 (2004): one instant says how much is left.
    """

    __slots__ = ("_ahead_s", "_spent_s", "_until_s")

    def __init__(self, rate_per_s: float, burst: float, at_s: float) -> None:
        self._spent_s = 1.0 / rate_per_s
        self._ahead_s = (burst - 1.0) / rate_per_s
        self._until_s = at_s
        """When the bucket is full again."""

    def is_full(self, at_s: float) -> bool:
        """Whether it is as good as new."""
        return self._until_s <= at_s

    def is_empty(self, at_s: float) -> bool:
        """Whether there is none to take."""
        return self._until_s - at_s > self._ahead_s

    def take(self, at_s: float) -> bool:
        """Takes one, if there is one."""
        until_s = self._until_s
        if until_s < at_s:
            until_s = at_s
        elif until_s - at_s > self._ahead_s:
            return False
        self._until_s = until_s + self._spent_s
        return True
