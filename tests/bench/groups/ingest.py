"""Pings in, durable and acknowledged: one a frame and in batches, against the naive ingestor; and against a mere sink.

It must not know how a load is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from tests.bench.groups.group import Cases, Group, figures_of
from tests.bench.plan import Plan
from tests.bench.table import Figures, Medians, Row, Target
from tests.bench.workshop import Workshop

NAIVE = "naive"
PACED, SOCKETS = 5_000, 1_000
NAIVE_PACED = 1_000
"""What the naive ingestor can be paced at without falling behind."""
BURST_SOCKETS, GATEWAYS, WINDOW = 200, 8, 4
BATCH_PACED = 40_000
EACH_COMMIT = ("--ack-interval-s", "0")
"""A closed loop waits for acks, so they have to come with each commit instead of once a second."""


def ours(shop: Workshop, plan: Plan, *options: str) -> Figures:
    """One run of the product."""
    with shop.product(*options) as child:
        plan.port, plan.server_pid, plan.duty = child.port, child.pid, True
        gateway = plan.connections < plan.drivers
        plan.tokens = (shop.gateway_tokens if gateway else shop.driver_tokens)(plan.connections)
        return figures_of(shop.load(plan))


def naive(shop: Workshop, plan: Plan) -> Figures:
    """One run of the naive ingestor."""
    with shop.naive() as child:
        plan.port, plan.server_pid = child.port, child.pid
        return figures_of(shop.load(plan))


def sink(shop: Workshop, peer: str, plan: Plan) -> Figures:
    """One run of a sink; it answers nothing."""
    with shop.sink(peer) as child:
        plan.port, plan.server_pid, plan.answers = child.port, child.pid, False
        return figures_of(shop.load(plan))


def paced(shop: Workshop, rate: float = PACED) -> Plan:
    """Phones: each frame arrives alone."""
    return Plan(0, 0, SOCKETS, SOCKETS, "paced", rate=rate, seconds=shop.seconds)


def bursts(shop: Workshop) -> Plan:
    """Phones that send what has gathered: a closed loop."""
    return Plan(0, 0, BURST_SOCKETS, BURST_SOCKETS, "window", window=WINDOW, seconds=shop.seconds)


def batches(shop: Workshop, size: int) -> Plan:
    """Gateways that speak for the whole fleet."""
    plan = Plan(0, 0, GATEWAYS, shop.drivers, "window", batch=size, window=WINDOW, seconds=shop.seconds)
    # What is in flight at the end may be 16,000 commits of the naive peer, on a disk that takes milliseconds for one.
    plan.drain_s = 120.0
    return plan


@contextmanager
def single_cases(shop: Workshop) -> Iterator[Cases]:
    yield {
        "bursts": lambda: ours(shop, bursts(shop), *EACH_COMMIT),
        "naive bursts": lambda: naive(shop, bursts(shop)),
        "paced": lambda: ours(shop, paced(shop)),
        "naive paced": lambda: naive(shop, paced(shop, NAIVE_PACED)),
    }


def single_rows(medians: Medians) -> list[Row]:
    what = "durable and acknowledged"
    one, other = f"bursts, {what} (200 sockets, window 4)", f"paced 5,000/s, {what} (1,000 sockets)"
    return [
        medians.speedup(one, "us", "µs CPU", "bursts", "naive bursts", NAIVE, Target(6, 10, more=True)),
        _ceiling(medians, "… what one core could take", "bursts", "naive bursts"),
        _reached(medians, "… what was reached", "bursts", "naive bursts"),
        medians.speedup(other, "us", "µs CPU", "paced", "naive paced", "naive at 1,000/s"),
        _ceiling(medians, "… what one core could take", "paced", "naive paced"),
    ]


def _ceiling(medians: Medians, work: str, ours_case: str, theirs: str) -> Row:
    mine, other = medians.of(ours_case, "ceiling"), medians.of(theirs, "ceiling")
    return Row(work, mine, "pings/s", NAIVE, other, mine / other, fault=medians.fault(ours_case, theirs))


def _reached(medians: Medians, work: str, ours_case: str, theirs: str) -> Row:
    mine, other = medians.of(ours_case, "reached"), medians.of(theirs, "reached")
    return Row(work, mine, "pings/s", NAIVE, other, mine / other, fault=medians.fault(ours_case, theirs))


@contextmanager
def batch_cases(shop: Workshop) -> Iterator[Cases]:
    def a_pair(size: int) -> Cases:
        return {
            f"{size}": lambda: ours(shop, batches(shop, size), *EACH_COMMIT),
            f"naive {size}": lambda: naive(shop, batches(shop, size)),
        }

    paced_batches = Plan(0, 0, GATEWAYS, shop.drivers, "paced", batch=50, rate=BATCH_PACED, seconds=shop.seconds)
    yield {**a_pair(50), **a_pair(500), "lazy": lambda: ours(shop, paced_batches)}


def batch_rows(medians: Medians) -> list[Row]:
    rows = []
    for size, target in ((50, Target(15, 20, more=True)), (500, None)):
        work = f"batches of {size}, durable and acknowledged (8 sockets, window 4)"
        rows.append(medians.speedup(work, "us", "µs CPU", f"{size}", f"naive {size}", NAIVE, target))
        rows.append(_ceiling(medians, "… what one core could take", f"{size}", f"naive {size}"))
        rows.append(_reached(medians, "… what was reached", f"{size}", f"naive {size}"))
    lazily = f"batches of 50, paced {BATCH_PACED:,}/s, acks once a second a driver"
    return [*rows, medians.speedup(lazily, "us", "µs CPU", "lazy", "naive 50", "naive 50, as above")]


@contextmanager
def pipeline_cases(shop: Workshop) -> Iterator[Cases]:
    yield {"ours": lambda: ours(shop, paced(shop)), "fastapi": lambda: sink(shop, "fastapi", paced(shop))}


def pipeline_rows(medians: Medians) -> list[Row]:
    work = "everything, paced 5,000/s single pings (1,000 sockets)"
    return [medians.share(work, "us", "µs CPU", "ours", "fastapi", "FastAPI sink, counts only", Target(1.2, 0.9))]


def has_picows() -> bool:
    """Whether the leanest peer is there to be measured."""
    return find_spec("picows") is not None


@contextmanager
def transport_cases(shop: Workshop) -> Iterator[Cases]:
    def loose(rate: float, burst: int) -> Plan:
        sockets = SOCKETS if burst == 1 else BURST_SOCKETS
        return Plan(0, 0, sockets, sockets, "paced", rate=rate, burst=burst, seconds=shop.seconds)

    def a_case(peer: str, rate: float, burst: int) -> Cases:
        name = f"{peer} {'bursts' if burst > 1 else 'paced'}"
        return {name: lambda: sink(shop, peer, loose(rate, burst))}

    cases: Cases = {}
    peers = ("ours", "picows", "websockets") if has_picows() else ("ours", "websockets")
    for rate, burst in ((PACED, 1), (8 * PACED, 4)):
        for peer in peers:
            cases |= a_case(peer, rate, burst)
    yield cases


def transport_rows(medians: Medians) -> list[Row]:
    rows = []
    for kind, how, target in (
        ("paced", "paced 5,000/s (1,000 sockets)", Target(2.0, 1.3)),
        ("bursts", "bursts of 4, 40,000/s (200 sockets)", None),
    ):
        work = f"a counting sink, {how}"
        if has_picows():
            rows.append(medians.share(work, "us", "µs CPU", f"ours {kind}", f"picows {kind}", "picows sink", target))
        else:
            absent = "picows is not installed: pip install -e '.[bench]'"
            rows.append(Row(work, medians.of(f"ours {kind}", "us"), "µs CPU", absent, target=target))
        rows.append(
            medians.share(
                "… beside the library's recv", "us", "µs CPU", f"ours {kind}", f"websockets {kind}", "websockets sink"
            )
        )
    return rows


SINGLE = Group("single", "single pings, one a frame", single_cases, single_rows)
BATCHES = Group("batches", "gateways' batches", batch_cases, batch_rows)
PIPELINE = Group("pipeline", "the whole pipeline beside a mere sink", pipeline_cases, pipeline_rows)
TRANSPORT = Group("transport", "transport alone", transport_cases, transport_rows)
