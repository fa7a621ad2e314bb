"""Size and survival: memory by driver and socket, everybody reconnecting at once, and the way back from a long journal.

It must not know how the product does any of it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from tests.bench.children import BenchError, rss_kib
from tests.bench.groups.group import Cases, Group, figures_of
from tests.bench.groups.latency import fleet_plan
from tests.bench.plan import Plan
from tests.bench.storm import StormOutcome, StormPlan
from tests.bench.table import Figures, Medians, Row, Target
from tests.bench.workshop import GATEWAYS, Workshop

MB = 1_000_000
INPUTS, QUICK_INPUTS = 999_999, 199_999
"""One short of the next snapshot: the longest tail there can be."""
HISTORY_DRIVERS = 10_000


@contextmanager
def memory_cases(shop: Workshop) -> Iterator[Cases]:
    def fleet() -> Figures:
        with shop.product() as child:
            figures = figures_of(shop.load(fleet_plan(shop, child.port, child.pid)))
        figures["rss_mb"] = figures["rss_end_kib"] * 1024 / MB
        figures["base_mb"] = figures["rss_before_kib"] * 1024 / MB
        figures["drivers"] = float(shop.drivers)
        figures["driver_kib"] = (figures["rss_end_kib"] - figures["rss_before_kib"]) / shop.drivers
        return figures

    def sockets() -> Figures:
        with shop.product() as child:
            tokens = shop.driver_tokens(shop.sockets)
            plan = Plan(child.port, child.pid, shop.sockets, shop.sockets, "idle", tokens, warm_s=0.1, seconds=1.0)
            figures = figures_of(shop.load(plan))
        figures["sockets"] = float(shop.sockets)
        figures["socket_kib"] = (figures["rss_open_kib"] - figures["rss_before_kib"]) / shop.sockets
        return figures

    yield {"fleet": fleet, "sockets": sockets}


def memory_rows(medians: Medians) -> list[Row]:
    drivers, sockets = medians.of("fleet", "drivers"), medians.of("sockets", "sockets")
    live = f"memory with {drivers:,.0f} live drivers ({GATEWAYS} gateways)"
    idle = f"idle driver socket ({sockets:,.0f})"
    return [
        medians.alone(live, "rss_mb", "MB", "fleet", Target(160, 115, of="ours", unit="MB")),
        medians.alone("… of that, before anybody connects", "base_mb", "MB", "fleet"),
        medians.alone("… by driver", "driver_kib", "KiB", "fleet"),
        medians.alone(f"memory by {idle}, its driver with it", "socket_kib", "KiB", "sockets"),
    ]


@contextmanager
def storm_cases(shop: Workshop) -> Iterator[Cases]:
    def storm() -> Figures:
        path = shop.folder / "storm"
        with shop.product() as child:
            path.write_bytes(msgspec.msgpack.encode(StormPlan(child.port, shop.driver_tokens(shop.sockets))))
            printed = shop.program("tests.bench.storm", str(path))
        outcome = msgspec.json.decode(printed, type=StormOutcome)
        return {
            "seconds": outcome.seconds, "errors": float(outcome.errors), "refused": float(outcome.refused),
            "sockets": float(shop.sockets), "lost": float(shop.sockets - outcome.welcomed),
            "load_share": outcome.load_share,
        }  # fmt: skip

    yield {"storm": storm}


def storm_rows(medians: Medians) -> list[Row]:
    sockets = medians.of("storm", "sockets")
    return [
        medians.alone(f"{sockets:,.0f} sockets at once: until all are welcome", "seconds", "s", "storm"),
        medians.alone("… asked to come back (503, Retry-After)", "refused", "times", "storm"),
        medians.alone("… errors", "errors", "times", "storm", Target(0, 0, of="ours", unit="")),
    ]


@contextmanager
def recovery_cases(shop: Workshop) -> Iterator[Cases]:
    inputs = QUICK_INPUTS if shop.quick else INPUTS
    data = shop.fresh()
    shop.program("tests.bench.history", "--data", str(data), "--inputs", str(inputs), "--drivers", str(HISTORY_DRIVERS))
    bare = shop.fresh()
    shutil.copytree(data, bare, dirs_exist_ok=True)
    forget_snapshots(bare)

    def recovery(folder: Path) -> Figures:
        # Killed as soon as it is ready: a tidy end would leave a snapshot, and the next start would be another.
        with shop.product(data=folder, kill=True) as child:
            return {"inputs": inputs, "seconds": child.ready_s, "rss_mb": rss_kib(child.pid) * 1024 / MB}

    def from_nothing() -> Figures:
        with shop.product(kill=True) as child:
            return {"seconds": child.ready_s, "rss_mb": rss_kib(child.pid) * 1024 / MB}

    yield {"with": lambda: recovery(data), "without": lambda: recovery(bare), "empty": from_nothing}


def forget_snapshots(folder: Path) -> None:
    """Take the snapshots out of a journal.

    Raises:
        BenchError: there were none.
    """
    connection = apsw.Connection(str(folder / "journal.db"))
    ((there,),) = connection.execute("SELECT count(*) FROM snapshot")
    connection.execute("DELETE FROM snapshot")
    connection.close()
    if not there:
        raise BenchError("a journal this long has no snapshot")


def recovery_rows(medians: Medians) -> list[Row]:
    target = Target(5, 2, of="ours", unit="s")
    work = f"from start to ready with {medians.of('with', 'inputs'):,.0f} inputs, after a crash"
    with_, without = medians.of("with", "seconds"), medians.of("without", "seconds")
    return [
        Row(work, with_, "s", "without its snapshots", without, without / with_, target),
        medians.alone("… of that, a start with nothing to recover", "seconds", "s", "empty"),
    ]


MEMORY = Group("memory", "memory", memory_cases, memory_rows)
STORM = Group("storm", "everybody at once", storm_cases, storm_rows)
RECOVERY = Group("recovery", "the way back from a long journal", recovery_cases, recovery_rows)
