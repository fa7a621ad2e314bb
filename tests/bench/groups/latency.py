"""How long a ping takes to become state, and to be acknowledged; and what garbage collection has to do with it.

It must not know how the instants are noted: the load says when it sent a ping, the server when it had applied it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from streamer.edge.journal.sqlite import GROUP_S
from tests.bench.fleet import driver_name
from tests.bench.groups.group import Cases, Group, figures_of
from tests.bench.groups.ingest import EACH_COMMIT, paced
from tests.bench.plan import Plan, Sent, quantile
from tests.bench.server import Marks
from tests.bench.table import Figures, Medians, Row, Target
from tests.bench.workshop import GATEWAYS, Workshop

COMMIT_MS = GROUP_S * 1000
FLEET_RATE, FLEET_BATCH, FLEET_S = 20_000, 50, 3.0
LATER_SEQ = 1_000_000


def run(shop: Workshop, *options: str, fleet: bool = False) -> Figures:
    """Paced single pings, with the instants of both ends joined by driver and `seq`."""
    sent, applied = shop.folder / "sent", shop.folder / "applied"
    with shop.product("--marks", str(applied), *options) as child:
        if fleet:
            shop.load(fleet_plan(shop, child.port, child.pid))
        plan = paced(shop)
        plan.port, plan.server_pid, plan.duty, plan.notes = child.port, child.pid, True, str(sent)
        plan.first_seq = LATER_SEQ
        plan.seconds = 2 * shop.seconds
        plan.tokens = shop.driver_tokens(plan.connections)
        figures = figures_of(shop.load(plan))
    delays = joined(sent, applied)
    figures["state_p50_ms"], figures["state_p99_ms"] = quantile(delays, 0.5), quantile(delays, 0.99)
    return figures


def fleet_plan(shop: Workshop, port: int, pid: int) -> Plan:
    """The whole fleet through gateways, so that every driver is live."""
    return Plan(
        port, pid, GATEWAYS, shop.drivers, "paced", shop.gateway_tokens(GATEWAYS), FLEET_BATCH, rate=FLEET_RATE,
        warm_s=0.5, seconds=max(FLEET_S, shop.drivers / FLEET_RATE * 2), duty=True,
    )  # fmt: skip


def joined(sent: Path, applied: Path) -> list[float]:
    """Milliseconds from sending to having applied, of each ping of the measured seconds, in rising order."""
    marks = msgspec.msgpack.decode(applied.read_bytes(), type=Marks)
    when = {(name, seq): ns for name, seq, ns in zip(marks.drivers, marks.seqs, marks.ns, strict=True)}
    notes = msgspec.msgpack.decode(sent.read_bytes(), type=Sent)
    return sorted(
        (when[driver_name(driver), seq] - ns) / 1e6
        for driver, seq, ns in zip(notes.drivers, notes.seqs, notes.ns, strict=True)
        if ns >= notes.from_ns
    )


@contextmanager
def latency_cases(shop: Workshop) -> Iterator[Cases]:
    yield {"lazy": lambda: run(shop), "each commit": lambda: run(shop, *EACH_COMMIT)}


def latency_rows(medians: Medians) -> list[Row]:
    lazy, each = "acks as they are (1/s a driver)", "acks with each commit"
    p50, p99 = Target(0.5, 0.2, of="ours", unit="ms"), Target(10, 3, of="ours", unit="ms")
    ack = Target(COMMIT_MS + 15, COMMIT_MS + 3, of="ours", unit="ms")
    return [
        medians.alone("ping → state at 5,000/s, p50", "state_p50_ms", "ms", "lazy", p50),
        medians.alone("ping → state at 5,000/s, p99", "state_p99_ms", "ms", "lazy", p99),
        medians.alone(f"ping → ack, p50, {each} of {COMMIT_MS:.0f} ms", "ack_p50_ms", "ms", "each commit"),
        medians.alone(f"ping → ack, p99, {each} of {COMMIT_MS:.0f} ms", "ack_p99_ms", "ms", "each commit", ack),
        medians.alone(f"ping → ack, p50, {lazy}", "ack_p50_ms", "ms", "lazy"),
        medians.alone(f"ping → ack, p99, {lazy}", "ack_p99_ms", "ms", "lazy"),
    ]


@contextmanager
def gc_cases(shop: Workshop) -> Iterator[Cases]:
    yield {"ours": lambda: run(shop, fleet=True), "python": lambda: run(shop, "--python-gc", fleet=True)}


def gc_rows(medians: Medians) -> list[Row]:
    where = "with the whole fleet in memory"
    peer = "Python's default collection"
    return [
        medians.speedup(f"ping → state, p50, {where}", "state_p50_ms", "ms", "ours", "python", peer),
        medians.speedup(f"ping → state, p99, {where}", "state_p99_ms", "ms", "ours", "python", peer),
        medians.speedup(f"CPU a ping, {where}", "us", "µs CPU", "ours", "python", peer),
    ]


LATENCY = Group("latency", "from a ping to state, and to its ack", latency_cases, latency_rows)
GC = Group("gc", "what garbage collection costs", gc_cases, gc_rows)
