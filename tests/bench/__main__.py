"""`make bench`: one table, medians of interleaved runs. Machines differ, so read the ratios, not the microseconds.

It must not know how a group measures. docs/benchmarks.md says what each line means.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.bench.children import BenchError, cores
from tests.bench.groups.dispatch import DISPATCH
from tests.bench.groups.endurance import MEMORY, RECOVERY, STORM
from tests.bench.groups.engine import APPLY
from tests.bench.groups.group import Group
from tests.bench.groups.ingest import BATCHES, PIPELINE, SINGLE, TRANSPORT
from tests.bench.groups.latency import GC, LATENCY
from tests.bench.groups.nearest import NEAREST_GROUP
from tests.bench.groups.stages import STAGES_GROUP
from tests.bench.table import Figures, Medians, Row, as_markdown, render
from tests.bench.workshop import Workshop

GROUPS: tuple[Group, ...] = (
    SINGLE, BATCHES, PIPELINE, TRANSPORT, APPLY, NEAREST_GROUP, STAGES_GROUP, LATENCY, GC, MEMORY, STORM, RECOVERY,
    DISPATCH,
)  # fmt: skip
ROUNDS, QUICK_ROUNDS = 3, 1
MARKS = ("<!-- figures -->", "<!-- end of figures -->")


def main() -> None:
    names = [group.name for group in GROUPS]
    parser = argparse.ArgumentParser(prog="make bench", description="Groups: " + ", ".join(names))
    parser.add_argument("--only", action="append", choices=names, metavar="GROUP", help="may be given again")
    parser.add_argument("--quick", action="store_true", help="short and small, once: shows that it works, not figures")
    parser.add_argument("--rounds", type=int, help=f"interleaved runs of each case [{ROUNDS}]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the rows and every run's figures")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table between the marks of this page")
    asked = parser.parse_args()
    chosen = [group for group in GROUPS if not asked.only or group.name in asked.only]
    rounds = max(1, asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS))
    # A run that is ended from outside still ends its children and removes its folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        os.sched_setaffinity(0, {cores()[1]})
        with tempfile.TemporaryDirectory(prefix="mallard-bench-") as folder:
            measured = measure(Workshop(Path(folder), asked.quick), chosen, rounds)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    rows = {group.about: group.rows(measured[group.name]) for group in chosen}
    Console(width=None if sys.stdout.isatty() else 190).print(render(title(rounds, asked.quick), rows))
    if asked.page:
        put_into_page(asked.page, as_markdown(title(rounds, asked.quick), rows))
    if asked.json:
        asked.json.write_bytes(as_json(rounds, asked.quick, rows, measured))


def measure(shop: Workshop, chosen: Sequence[Group], rounds: int) -> dict[str, Medians]:
    """Run the cases of each group in turn, round after round, and show how far it is.

    Raises:
        BenchError: something under measurement did not work.
    """
    measured: dict[str, Medians] = {}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, refresh_per_second=1, transient=True) as progress:
        task = progress.add_task("preparing", total=None)
        for group in chosen:
            progress.update(task, description=f"{group.name}: preparing")
            with group.cases(shop) as cases:
                runs: dict[str, list[Figures]] = {name: [] for name in cases}
                progress.reset(task, total=rounds * len(cases))
                for _ in range(rounds):
                    for name, case in cases.items():
                        progress.update(task, description=f"{group.name}: {name}")
                        runs[name].append(case())
                        progress.advance(task)
            measured[group.name] = Medians(runs)
            console.print(f"measured {group.name}")
    return measured


def put_into_page(page: Path, table: str) -> None:
    """Replace what lies between the marks of a page of the docs."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")


def title(rounds: int, quick: bool) -> str:
    """What the table was made by."""
    processor = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    runs = f"medians of {rounds} interleaved runs" if rounds > 1 else "one run"
    quickly = "; QUICK: shows that it works, not figures" if quick else ""
    return f"{time.strftime('%Y-%m-%d')}, {processor}, {python}, server and load a core each, {runs}{quickly}"


def as_json(rounds: int, quick: bool, rows: dict[str, list[Row]], measured: dict[str, Medians]) -> bytes:
    """The table and every run, for a machine."""
    stored = {
        "title": title(rounds, quick),
        "rows": {
            about: [{**msgspec.to_builtins(row), "met": row.verdict} for row in group] for about, group in rows.items()
        },
        "runs": {name: medians.runs for name, medians in measured.items()},
    }
    return msgspec.json.format(msgspec.json.encode(stored), indent=1)


if __name__ == "__main__":
    main()
