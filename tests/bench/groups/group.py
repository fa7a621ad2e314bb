"""What a group is: cases that run in turn, round after round, and the rows made of their medians.

It must not know any group.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from msgspec import Struct

from tests.bench.plan import Outcome
from tests.bench.table import Figures, Medians, Row
from tests.bench.workshop import Workshop

Case = Callable[[], Figures]
"""Measures once, from a fresh start."""
Cases = dict[str, Case]


class Group(Struct, frozen=True):
    """`cases` are opened once and run `rounds` times, interleaved, so that a slow spell of the machine hits all."""

    name: str
    about: str
    cases: Callable[[Workshop], AbstractContextManager[Cases]]
    rows: Callable[[Medians], list[Row]]
    rounds: int = 3


def figures_of(outcome: Outcome) -> Figures:
    """What a load tells of a server: `us` is CPU microseconds a ping, `ceiling` what one core could take a second."""
    us = outcome.server_cpu_s / max(1, outcome.pings) * 1e6
    return {
        "us": us, "ceiling": 1e6 / us, "reached": outcome.pings / outcome.seconds,
        "server_share": outcome.server_cpu_s / outcome.seconds, "load_share": outcome.load_share,
        "lost": float(max(0, outcome.unanswered) + outcome.nacks),
        "ack_p50_ms": outcome.ack_p50_ms, "ack_p99_ms": outcome.ack_p99_ms,
        "rss_before_kib": outcome.rss_before_kib, "rss_open_kib": outcome.rss_open_kib,
        "rss_end_kib": outcome.rss_end_kib,
    }  # fmt: skip
