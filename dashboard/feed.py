"""What the live feed has brought, mall by mall: enough to start, or to catch up, any reader.

It must not know sockets, and never rewrites a frame: readers get the texts as they came.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
from msgspec import Struct

KEPT_DELTAS = 240
"""Deltas kept for a reader that comes back: two minutes at 2 Hz."""
SNAPSHOT_AGE = 120
"""Deltas after which a newer snapshot is asked for, so that a new reader has little to catch up."""


class Head(Struct, frozen=True):
    """The few fields of a frame that the dashboard reads."""

    frame: Literal["snapshot", "delta"]
    mall_id: str
    seq: int
    at_ms: int
    epoch: str | None = None


_heads = msgspec.json.Decoder(Head)


class MallFeed:
    """One mall: the last snapshot, and the deltas that reach to now."""

    def __init__(self, head: Head, text: str) -> None:
        self.snapshot = text
        self.snapshot_seq = head.seq
        self.seq = head.seq
        self.at_ms = head.at_ms
        self.deltas: deque[tuple[int, str]] = deque(maxlen=KEPT_DELTAS)
        self.broken = False
        """A delta is missing: nothing can be shown of this mall before its next snapshot."""
        self.asked = False
        """A newer snapshot is on its way."""

    def renew(self, head: Head, text: str) -> None:
        """A newer snapshot of a picture already held to that point: later readers start from it."""
        self.snapshot, self.snapshot_seq, self.asked = text, head.seq, False

    def append(self, head: Head, text: str) -> None:
        """The next delta."""
        self.deltas.append((head.seq, text))
        self.seq, self.at_ms = head.seq, head.at_ms
        if head.seq - self.snapshot_seq > KEPT_DELTAS:  # the renewal never came: no unbroken line to now is left
            self.broken, self.asked = True, False

    def after(self, seq: int) -> list[str] | None:
        """The deltas after `seq`, or None when they do not reach back that far (or `seq` is not yet)."""
        if seq == self.seq:
            return []
        if not self.deltas or not self.deltas[0][0] - 1 <= seq < self.seq:
            return None
        return [text for number, text in self.deltas if number > seq]

    def start(self) -> list[str]:
        """The snapshot, and the deltas after it."""
        return [self.snapshot, *(self.after(self.snapshot_seq) or [])]


class Feed:
    """The held feed of every mall.

    Args:
        clock: monotonic seconds; only for the age shown to operators.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.malls: dict[str, MallFeed] = {}
        self.epoch: str | None = None
        self._clock = clock
        self._received_s: float | None = None

    def take(self, text: str) -> Head | None:
        """Keeps a frame. Returns its head when readers have to get it, None when it is nothing new to them.

        Raises:
            msgspec.ValidationError: when the text is not a frame.
        """
        head = _heads.decode(text)
        self._received_s = self._clock()
        return self._take_snapshot(head, text) if head.frame == "snapshot" else self._take_delta(head, text)

    def _take_snapshot(self, head: Head, text: str) -> Head | None:
        held = self.malls.get(head.mall_id)
        if held is not None and not held.broken and head.epoch == self.epoch and head.seq == held.seq:
            held.renew(head, text)
            return None
        if head.epoch != self.epoch:
            self.malls.clear()
            self.epoch = head.epoch
        self.malls[head.mall_id] = MallFeed(head, text)
        return head

    def _take_delta(self, head: Head, text: str) -> Head | None:
        held = self.malls.get(head.mall_id)
        if held is None or held.broken or head.seq <= held.seq:
            return None
        if head.seq > held.seq + 1:
            held.broken = True
            return None
        held.append(head, text)
        return head

    def wants_snapshot(self) -> bool:
        """Whether to subscribe anew now: a mall is broken, or its snapshot is old. True once for each cause."""
        due = [
            held
            for held in self.malls.values()
            if not held.asked and (held.broken or held.seq - held.snapshot_seq >= SNAPSHOT_AGE)
        ]
        for held in due:
            held.asked = True
        return bool(due)

    def resume_from(self) -> tuple[dict[str, int], str | None]:
        """`since` and `epoch` of a subscription that leaves no gap; malls that need a snapshot are left out."""
        return {mall_id: held.seq for mall_id, held in sorted(self.malls.items()) if not held.asked}, self.epoch

    def catch_up(self, mall_id: str, since: int | None, epoch: str | None) -> list[str]:
        """The texts that bring a reader of `mall_id` to now: what it missed, or a snapshot and what came after it."""
        held = self.malls.get(mall_id)
        if held is None or held.broken:
            return []  # its snapshot goes to every reader when it comes
        missed = held.after(since) if since is not None and epoch == self.epoch else None
        return held.start() if missed is None else missed

    def age_s(self) -> float | None:
        """Seconds since the last frame of any mall; None before the first."""
        return None if self._received_s is None else self._clock() - self._received_s

    def known(self) -> Iterable[str]:
        """The malls seen so far."""
        return sorted(self.malls)
