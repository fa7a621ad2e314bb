"""`mallard replay`, `record` and `simulate`: fixtures played, cut and made.

It must not know what is in a fixture.
"""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from streamer.cli.shown import DEFAULT_DATA, DataOption, JsonOption, MallsOption, counting, measuring
from streamer.core.changes import PolicyName
from streamer.core.errors import ConfigurationError
from streamer.core.lessons import Lessons
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.layout import utc
from streamer.edge.recordings.fixtures import SUFFIX, Companion, find_fixture, read_companion
from streamer.edge.recordings.record import Cut
from streamer.edge.recordings.record import record as cut_out
from streamer.edge.recordings.replay import Outcome, instant_of
from streamer.edge.recordings.replay import replay as play_through

if TYPE_CHECKING:
    from streamer.sim.stories import Script

DEFAULT_MALL = "fashion-show"


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 10_000:
        raise typer.BadParameter(f"{text!r} is neither a number above 0 nor max")
    return speed


def replay(
    fixture: Annotated[str, typer.Argument(help="Name or path of the recording.")],
    speed: Annotated[str, typer.Option(metavar="N|max", help="Recorded seconds a second.")] = "max",
    until: Annotated[
        int | None, typer.Option(metavar="MS", help="Stop here: UTC epoch ms, or ms since the play began.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Exit 1 unless the hash is the stored one.")] = False,
    learned: Annotated[bool, typer.Option("--learned", help="Also print what the floor learned.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a recording through the engine and print figures and state hash."""
    pace = _speed(speed)
    if verify and until is not None:
        raise typer.BadParameter("the stored hash is of the whole recording: --verify and --until exclude each other")
    path = find_fixture(fixture)
    companion = read_companion(path) if verify else None
    with counting(f"replaying {path.name}") as progress:
        outcome = play_through(path, pace, instant_of(path, until), progress)
    verified = None if companion is None else outcome.hash == companion.hash
    if as_json:
        fields = {"fixture": path.name.removesuffix(SUFFIX), **msgspec.structs.asdict(outcome), "verified": verified}
        print(msgspec.json.encode(fields).decode())
    else:
        _print_outcome(path, outcome)
        for mall in outcome.learned if learned else ():
            _print_learned(mall)
    if companion is not None and not verified:
        raise ConfigurationError(f"{path.name} replays to {outcome.hash}, and {companion.hash} is stored beside it")


def record(
    out: Annotated[Path, typer.Option(metavar="FILE", help=f"The fixture to write, NAME{SUFFIX}.")],
    data: DataOption = DEFAULT_DATA,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="INSTANT", help="UTC epoch ms, or 2026-11-14T14:00-08:00.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="Likewise; this one included.")] = None,
    mall: Annotated[str | None, typer.Option(metavar="ID", help="Only what belongs to this mall.")] = None,
    pseudonymise: Annotated[bool, typer.Option("--pseudonymise", help="Take people out.")] = False,
) -> None:
    """Cut a fixture out of a live journal."""
    check_out(out)
    from_ms, to_ms = instant_ms("--from", from_), instant_ms("--to", to)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise typer.BadParameter("--from is after --to")
    reader = JournalReader(data)
    try:
        if from_ms is None and (base := reader.base()) is not None:
            print(f"pings up to {utc(base.at_ms)} are past their retention: the recording begins there")
        with counting("reading the journal") as progress:
            companion = cut_out(reader, Cut(from_ms, to_ms, mall, pseudonymise), out, progress)
    finally:
        reader.close()
    _print_written(out, companion)


def instant_ms(option: str, text: str | None) -> int | None:
    """An instant as people type it, UTC epoch milliseconds.

    Raises:
        typer.BadParameter: it is neither a whole number nor ISO 8601 with an offset.
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 17:
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or at.timestamp() < 0:
        raise typer.BadParameter(f"{option} {text} is neither UTC epoch ms nor like 2026-11-14T14:00-08:00")
    return round(at.timestamp() * 1000)


def _policy_name(name: str) -> PolicyName:
    from streamer.sim.policy import POLICIES

    if name not in POLICIES:
        raise typer.BadParameter(f"{name!r} is no policy: {', '.join(POLICIES)}")
    return name


def simulate(
    mall: MallsOption = None,
    drivers: Annotated[int, typer.Option(min=1, help="How many drivers.")] = 40,
    orders: Annotated[int, typer.Option(help="How many orders.")] = 150,
    hours: Annotated[float, typer.Option(help="Length of play.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same day.")] = 1,
    story: Annotated[str | None, typer.Option(metavar="NAME", help="A fixture's story instead of numbers.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=f"Write a fixture, NAME{SUFFIX}.")] = None,
    connect: Annotated[str | None, typer.Option(metavar="URL", help="Drive a running floor: ws://HOST:8765.")] = None,
    token: Annotated[str, typer.Option(envvar="MALLARD_TOKEN", help="A gateway's token, for --connect.")] = "",
    api: Annotated[str, typer.Option(metavar="URL", help="The dashboard, for --connect.")] = "http://127.0.0.1:8050",
    api_token: Annotated[str, typer.Option(envvar="MALLARD_API_TOKEN", help="An API token, for --connect.")] = "",
    dispatch: Annotated[bool, typer.Option("--dispatch/--no-dispatch", help="With --connect, give orders out.")] = True,
    policy: Annotated[str, typer.Option(metavar="NAME", help="With --out: plan, no-hold or nearest.")] = "plan",
    parameters: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What the world is made of, as calibrate writes it.")
    ] = None,
) -> None:
    """Make a seeded synthetic day: a fixture, or real sockets against a running floor."""
    if (out is None) == (connect is None):
        raise typer.BadParameter("give one of --out FILE and --connect URL")
    if out is not None:
        check_out(out)
    elif not token or not api_token:
        raise typer.BadParameter("--connect needs --token (mallard token gateway) and --api-token (mallard token api)")
    # Here, since they bring scipy: `serve` begins in this program too, and would carry it for good.
    from streamer.edge.simulation.live import simulate_connect
    from streamer.edge.simulation.parameters_file import read_parameters
    from streamer.edge.simulation.to_file import simulate_to_file
    from streamer.sim.parameters import USUAL

    made_of = USUAL if parameters is None else read_parameters(parameters)
    script = _script(story, mall or [DEFAULT_MALL], drivers, orders, hours, seed)
    if out is not None:
        with measuring("simulating") as progress:
            companion = simulate_to_file(
                script, out, progress=progress, policy=_policy_name(policy), parameters=made_of
            )
        _print_written(out, companion)
        return
    assert connect is not None
    url = connect if connect.rstrip("/").endswith("/v1/drivers") else connect.rstrip("/") + "/v1/drivers"
    with measuring("driving") as bar:
        tally = uvloop.run(
            simulate_connect(
                script,
                url,
                token,
                api,
                api_token,
                dispatch=dispatch,
                progress=lambda done, _tally: bar(done),
                parameters=made_of,
            )
        )
    print(msgspec.json.encode(tally).decode())


def _script(story: str | None, malls: list[str], drivers: int, orders: int, hours: float, seed: int) -> "Script":
    from streamer.edge.simulation.worlds import named_script, plain_script

    if story is not None:
        return named_script(story)
    # Noon UTC of a fixed day, so that the same command makes the same file on any day.
    return plain_script(malls, drivers, orders, hours, seed, 1_794_693_600_000)


def check_out(out: Path) -> None:
    """Refuse a file that no fixture can be written to.

    Raises:
        typer.BadParameter: it is not called like a fixture, or there is no directory for it.
    """
    if not out.name.endswith(SUFFIX) or out.name == SUFFIX:
        raise typer.BadParameter(f"a fixture is called NAME{SUFFIX}, not {out.name}")
    if not out.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no directory {out.absolute().parent}")


def _print_written(out: Path, companion: Companion) -> None:
    counts = companion.counts
    print(
        f"{out}: {companion.length_ms / 60_000:.0f} min, {counts.drivers} drivers, {counts.orders} orders, "
        f"{counts.pings:,} pings, state {companion.hash}"
    )


def _print_outcome(path: Path, outcome: Outcome) -> None:
    table = Table("figure", "value", title=path.name.removesuffix(SUFFIX))
    for name, value in msgspec.structs.asdict(outcome.kpis).items():
        table.add_row(name, "–" if value is None else f"{value:,}")
    Console().print(table)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(outcome.at_ms / 1000))
    print(f"{outcome.inputs:,} inputs, {outcome.effective:,} took effect, until {until} UTC")
    print(f"state {outcome.hash}")


def _print_learned(mall: Lessons) -> None:
    """Errors without and with what was learned, each predicted before it was learned from."""
    table = Table("what", "n", "without", "with", title=f"learned at {mall.mall_id}")
    ready = mall.ready_promise_error_ms, mall.ready_learned_error_ms
    table.add_row("store ready, mean error", f"{mall.ready_scored}", *map(_minutes, ready))
    for store in mall.stores:
        if store.scored:
            both = store.promise_error_ms, store.learned_error_ms
            table.add_row(f"  {store.name}", f"{store.scored}", *map(_minutes, both))
    drive = mall.drive
    table.add_row("drive, mean error", f"{drive.scored}", *map(_share, (drive.model_error, drive.learned_error)))
    for when, eta in (("assigned", mall.eta_assigned), ("collected", mall.eta_aboard)):
        table.add_row(f"inside the interval said when {when}", f"{eta.scored}", "", _share(eta.inside_share))
        table.add_row("  its width, mean", "", "", _minutes(eta.width_ms))
        table.add_row("  ETA, mean error", "", "", _minutes(eta.error_ms))
    Console().print(table)


def _minutes(duration_ms: int | None) -> str:
    return "–" if duration_ms is None else f"{duration_ms / 60_000:.2f} min"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
