"""Plays days of the public meal-delivery benchmark through the real dispatcher and prints what came of them.

It must not know the benchmark's rules, nor how a plan is made.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from streamer.cli.shown import measuring
from streamer.core.errors import ConfigurationError
from streamer.dispatch.nearest import nearest_idle
from streamer.dispatch.problem import Plan, PlanSettings, Problem
from streamer.dispatch.search import plan
from streamer.sim.mdrp.day import Day, Played
from streamer.sim.mdrp.instance import FILES, MINUTE_MS, Instance, parse
from streamer.sim.mdrp.metrics import Metrics, geometric_mean, measure
from streamer.sim.mdrp.solution import solution_files

POLICIES: dict[str, Callable[[Problem, int], Plan]] = {
    "plan": plan,
    "nearest": lambda problem, _seed: nearest_idle(problem),
}
NEAR_MS = 2 * MINUTE_MS
"""Restaurants that `--multi-pickup` lets share a trip are no further from its first: a walk through a large mall."""
TRIP_MS = 3 * MINUTE_MS
"""What a trip saved is worth with `--multi-pickup`, in a customer's waiting: a mall lives by how full trips are."""

FIGURES = (
    ("orders", "orders", "{:,}"),
    ("… of more, that nobody could deliver in time", "left_out", "{:,}"),
    ("delivered", "delivered_share", "{:.2%}"),
    ("XDT", "xdt_min", "{:.2f} min"),
    ("click to door, mean", "click_to_door_mean_min", "{:.2f} min"),
    ("click to door, p90", "click_to_door_p90_min", "{:.2f} min"),
    ("click to door, max", "click_to_door_max_min", "{:.2f} min"),
    ("click to door over target", "over_target_share", "{:.2%}"),
    ("ready to pick-up, mean", "ready_to_pickup_mean_min", "{:.2f} min"),
    ("ready to door, mean", "ready_to_door_mean_min", "{:.2f} min"),
    ("orders a driver hour", "orders_per_driver_hour", "{:.2f}"),
    ("orders a trip", "orders_per_trip", "{:.2f}"),
    ("cost an order", "cost_per_order", "{:.2f}"),
    ("driven an order", "km_per_order", "{:.2f} km"),
    ("calls", "calls", "{:,}"),
    ("a call, mean", "call_mean_ms", "{:,.1f} ms"),
    ("a call, p95", "call_p95_ms", "{:,.1f} ms"),
    ("a call, max", "call_max_ms", "{:,.1f} ms"),
)


class Evaluated(msgspec.Struct, frozen=True):
    """One instance's name and figures."""

    instance: str
    metrics: Metrics


class Evaluation(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    policy: str
    look_min: int
    multi_pickup: bool
    effort: int
    seed: int
    instances: tuple[Evaluated, ...]
    xdt_geometric_mean_min: float


def play_days(
    directories: Sequence[Path], policy: str, look_min: int, multi_pickup: bool, effort: int, seed: int,
    out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Play the days in these directories and print the figures of each, or all of them as JSON.

    Raises:
        ConfigurationError: a directory holds no instance.
    """
    instances = _read_all(directories)
    settings = PlanSettings(look_ms=look_min * MINUTE_MS, effort=effort)
    if multi_pickup:
        settings = replace(settings, multi_pickup_ms=NEAR_MS, trip_ms=TRIP_MS)
    evaluated: list[Evaluated] = []
    for instance in instances:
        played, metrics = _play(instance, settings, POLICIES[policy], seed)
        if out is not None:
            _write(out / instance.name, solution_files(instance, played))
        evaluated.append(Evaluated(instance.name, metrics))
        if not as_json:
            Console().print(_figures(evaluated[-1]))
    mean_min = geometric_mean([one.metrics.xdt_min for one in evaluated])
    if as_json:
        found = Evaluation(policy, look_min, multi_pickup, effort, seed, tuple(evaluated), mean_min)
        print(msgspec.json.encode(found).decode())
    elif len(evaluated) > 1:
        print(f"XDT of {len(evaluated)} instances, geometric mean: {mean_min:.2f} min")


def _read_all(directories: Sequence[Path]) -> list[Instance]:
    """All of them before any is played: a slip in the last name costs no time."""
    instances = [_read(directory) for directory in directories]
    names = [instance.name for instance in instances]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two instances are called {name}")
    return instances


def _read(directory: Path) -> Instance:
    if not directory.is_dir():
        raise ConfigurationError(f"there is no directory {directory}")
    texts: dict[str, str] = {}
    for file in FILES:
        path = directory / file
        if not path.is_file():
            raise ConfigurationError(f"{directory} is no instance: there is no {file} in it")
        try:
            texts[file] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path} is not text: {error}") from error
    return parse(directory.resolve().name, texts)


def _play(
    instance: Instance, settings: PlanSettings, policy: Callable[[Problem, int], Plan], seed: int
) -> tuple[Played, Metrics]:
    calls_ms: list[float] = []

    def timed(problem: Problem) -> Plan:
        begun_ns = time.perf_counter_ns()
        made = policy(problem, seed)
        calls_ms.append((time.perf_counter_ns() - begun_ns) / 1e6)
        return made

    day = Day(instance, timed, settings)
    with measuring(f"playing {instance.name}") as progress:
        for share in day.play():
            progress(share)
    return day.played, measure(instance, day.played, calls_ms)


def _write(directory: Path, texts: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (directory / file).write_text(text, encoding="utf-8")


def _figures(one: Evaluated) -> Table:
    table = Table("figure", "value", title=one.instance)
    table.columns[1].justify = "right"
    for label, field, shape in FIGURES:
        value = getattr(one.metrics, field)
        table.add_row(label, "–" if math.isnan(value) else shape.format(value))
    return table
