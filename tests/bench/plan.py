"""What a load is told to do, and what it has to say afterwards; both travel between processes.

It must not know how a load is made, nor what is compared with what.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

DRAIN_S = 20.0


class Plan(Struct):
    """What to do.

    `connections` share `drivers` among them, who speak in turn, `batch` pings a frame, `burst` frames a send.
    `paced`: `rate` pings a second whatever happens. `window`: that many frames unanswered on each socket. `idle`:
    nothing is sent. `answers`: what is sent is acknowledged. `duty`: the peer wants reports of `on_duty` first.
    """

    port: int
    server_pid: int
    connections: int
    drivers: int
    mode: Literal["paced", "window", "idle"]
    tokens: list[str] = []
    batch: int = 1
    burst: int = 1
    rate: float = 0.0
    window: int = 4
    warm_s: float = 1.0
    seconds: float = 3.0
    answers: bool = True
    duty: bool = False
    first_seq: int = 1
    drain_s: float = DRAIN_S
    """How long the last answers are waited for."""
    notes: str = ""
    """A file for the instants at which each ping was sent; none are kept without."""


class Outcome(Struct):
    """What happened in the measured seconds. `unanswered` and `nacks` are of the whole run, and ought to be 0."""

    pings: int
    seconds: float
    server_cpu_s: float
    load_share: float
    unanswered: int
    nacks: int
    complaint: str
    ack_p50_ms: float
    ack_p99_ms: float
    """0 where nothing is answered."""
    rss_before_kib: int
    rss_open_kib: int
    rss_end_kib: int


class Sent(Struct):
    """When each ping was sent, by columns; `ns` is CLOCK_MONOTONIC. `from_ns`: when the measured seconds began."""

    drivers: list[int]
    seqs: list[int]
    ns: list[int]
    from_ns: int


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered values lie; 0 when there are none."""
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))]) if ordered else 0.0
