"""`mallard fork` and `mallard compare`: what if somebody, or the policy, had decided otherwise.

It must not know how a fork is lived, nor how figures are tested.
"""

import sys
from typing import Annotated, get_args

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from streamer.cli.laboratory import print_verdict
from streamer.cli.shown import MINUTE_MS, JsonOption, measuring, unit_of
from streamer.core.changes import Changes, LateStore, MoreDrivers, PolicyName, Reassignment
from streamer.core.comparison import Comparison, Lateness
from streamer.core.kpis import Kpis
from streamer.core.malls import Floor, parse_malls
from streamer.edge.lab.contract import Result, trials_of
from streamer.edge.recordings.fixtures import SUFFIX, FixtureReader, find_fixture
from streamer.edge.recordings.moments import instant_at

FixtureArgument = Annotated[str, typer.Argument(help="Name or path of the recording.")]
AtOption = Annotated[
    str, typer.Option("--at", metavar="MS|HH:MM", help="UTC epoch ms, ms since the play began, or the mall's clock.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of what is simulated.")]
EffortOption = Annotated[
    int | None, typer.Option("--effort", metavar="N", min=0, max=10_000, help="Rounds of improvement a plan.")
]
MinutesOption = Annotated[
    float | None, typer.Option("--minutes", min=0.1, help="Live on for so long; else to the end.")
]
SHOWN_ORDERS = 10
INTERRUPTED = 130
"""What a program that a Ctrl-C ended exits with: 128 and the number of the signal."""


def fork(
    fixture: FixtureArgument,
    at: AtOption = "0",
    reassign: Annotated[list[str] | None, typer.Option(metavar="ORDER=DRIVER", help="May be given again.")] = None,
    policy: Annotated[str | None, typer.Option(metavar="NAME", help="plan, no-hold or nearest.")] = None,
    hold: Annotated[
        bool | None, typer.Option("--hold/--no-hold", help="Whether orders may wait to share a trip.")
    ] = None,
    drivers: Annotated[list[str] | None, typer.Option(metavar="MALL=N", help="So many drivers more.")] = None,
    late: Annotated[list[str] | None, typer.Option(metavar="STORE=MIN", help="A store is so much later.")] = None,
    minutes: MinutesOption = None,
    simulate_all: Annotated[
        bool, typer.Option("--simulate-all", help="Simulate every driver, not only those who have to deviate.")
    ] = False,
    effort: EffortOption = None,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Run a recording on from a moment with something changed, and print both worlds side by side."""
    path = find_fixture(fixture)
    with FixtureReader(path) as opened:
        at_ms, floor = instant_at(opened.header, at), parse_malls(opened.header.malls)
    changes = Changes(
        decisions=tuple(Reassignment(*_pair("--reassign", text)) for text in reassign or ()),
        policy=policy_name(policy), hold_for_batch=hold,
        drivers=tuple(_more_drivers(text) for text in drivers or ()),
        stores=tuple(_late_store(text, floor) for text in late or ()),
    )  # fmt: skip
    # Here, since they bring scipy: `serve` begins in this program too, and would carry it for good.
    from streamer.edge.recordings.whatif import live, moment_of
    from streamer.sim.policy import EFFORT

    with measuring(f"forking {path.name}") as progress:
        moment = moment_of(path, at_ms)
        rounds = EFFORT if effort is None else effort
        found = live(moment, changes, seed, simulate_all, rounds, minutes, progress)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        _print_comparison(path.name.removesuffix(SUFFIX), found)


def compare(
    fixture: FixtureArgument,
    policy: Annotated[list[str], typer.Option(metavar="NAME", help="Twice: plan, no-hold or nearest.")],
    seeds: Annotated[
        int, typer.Option(min=2, max=1_000, help="So many runs of each, with drivers of other ways.")
    ] = 20,
    at: AtOption = "0",
    minutes: MinutesOption = None,
    effort: EffortOption = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes; else one a core.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Live a recording's day many times under two policies; print figures, intervals and a paired test.

    On Ctrl-C, those of the seeds that are over.
    """
    if len(policy) != 2 or policy[0] == policy[1]:
        raise typer.BadParameter("give --policy twice, with two names")
    first, second = (policy_name(name) or "plan" for name in policy)
    path = find_fixture(fixture)
    with FixtureReader(path) as opened:
        at_ms = instant_at(opened.header, at)
    from streamer.edge.lab.trials import Job, run_trials
    from streamer.edge.lab.verdict import verdict_of
    from streamer.sim.policy import EFFORT

    job = Job(path, at_ms, EFFORT if effort is None else effort, minutes)
    trials = trials_of((first, second), seeds)
    results: list[Result] = []
    stopped = False
    try:
        with measuring(f"living {len(trials)} days of {path.name}", len(trials)) as progress:
            for result in run_trials(job, trials, workers):
                results.append(result)
                progress(len(results))
    except KeyboardInterrupt:
        stopped = True
    verdict = verdict_of(path.name.removesuffix(SUFFIX), (first, second), results, not stopped)
    if as_json:
        print(msgspec.json.encode(verdict).decode())
    elif verdict.seeds > 1:
        print_verdict(verdict)
    if stopped:
        known = f"{verdict.seeds} of {seeds} seeds were over" + ("" if verdict.seeds > 1 else ": too few to compare")
        print(f"mallard: interrupted; partial: {known}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def policy_name(name: str | None) -> PolicyName | None:
    """The policy of that name.

    Raises:
        typer.BadParameter: there is none.
    """
    if name is None:
        return None
    known: PolicyName | None = next((one for one in get_args(PolicyName) if one == name), None)
    if known is None:
        raise typer.BadParameter(f"{name!r} is no policy: {', '.join(get_args(PolicyName))}")
    return known


def _pair(option: str, text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not (name and mark and value):
        raise typer.BadParameter(f"{option} wants NAME=VALUE, not {text!r}")
    return name, value


def _more_drivers(text: str) -> MoreDrivers:
    mall_id, number = _pair("--drivers", text)
    try:
        return msgspec.convert({"mall_id": mall_id, "number": number}, MoreDrivers, strict=False)
    except msgspec.ValidationError as error:
        raise typer.BadParameter(f"--drivers {text}: {error}") from None


def _late_store(text: str, floor: Floor) -> LateStore:
    store_id, minutes = _pair("--late", text)
    mall = next((mall for mall in floor.malls.values() for store in mall.stores if store.id == store_id), None)
    if mall is None:
        known = ", ".join(store.id for one in floor.malls.values() for store in one.stores)
        raise typer.BadParameter(f"there is no store {store_id}; known: {known}")
    try:
        late_ms = round(float(minutes) * 60_000)
        return msgspec.convert({"mall_id": mall.id, "store_id": store_id, "late_ms": late_ms}, LateStore)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--late {text}: {error}") from None


def _print_comparison(name: str, found: Comparison) -> None:
    table = Table("figure", "recorded", "forked", "difference", title=f"{name}, and its fork")
    for column in table.columns[1:]:
        column.justify = "right"
    for field in msgspec.structs.fields(Kpis):
        theirs, ours = getattr(found.recorded, field.name), getattr(found.forked, field.name)
        label, unit = unit_of(field.name)
        difference = "–" if theirs is None or ours is None else f"{(ours - theirs) / unit:+,.4g}"
        table.add_row(label, _number(theirs, unit), _number(ours, unit), difference)
    Console().print(table)
    if found.first_difference is None:
        print("no decision differs")
    else:
        since_min = (found.first_difference.at_ms - found.forked_at_ms) / 60_000
        print(f"the first decision that differs, {since_min:.1f} min after the fork: {found.first_difference.what}")
    moved = sorted(
        (row for row in found.orders if _moved_ms(row)), key=lambda row: (-abs(_moved_ms(row)), row.order_id)
    )
    print(f"{len(moved)} of {len(found.orders)} orders come a minute or more earlier or later")
    for row in moved[:SHOWN_ORDERS]:
        print(f"  {row.order_id:<8} {_late(row.recorded_late_ms)} -> {_late(row.forked_late_ms)}")


def _moved_ms(row: Lateness) -> int:
    if row.recorded_late_ms is None or row.forked_late_ms is None:
        return 0
    moved_ms = row.forked_late_ms - row.recorded_late_ms
    return moved_ms if abs(moved_ms) >= MINUTE_MS else 0


def _late(late_ms: int | None) -> str:
    if late_ms is None:
        return "never"
    return f"{abs(late_ms) / 60_000:.1f} min {'late' if late_ms > 0 else 'early'}"


def _number(value: float | None, unit: float) -> str:
    return "–" if value is None else f"{value / unit:,.4g}"
