"""`mallard import-tracks`: a day from elsewhere, as GPX or CSV, made into a fixture.

It must not know the formats.
"""

import sys
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from streamer.cli.recordings import check_out, instant_ms
from streamer.cli.shown import counting
from streamer.edge.recordings.fixtures import demo_malls_path
from streamer.edge.server import read_malls
from streamer.edge.tracks.importing import Import, Imported
from streamer.edge.tracks.importing import import_tracks as make_of
from streamer.edge.tracks.table import NAMES, SPEEDS

BAD_SHOWN = 20


def import_tracks(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Tracks: .gpx, .csv or .tsv.", exists=True)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The fixture to write, NAME.ndjson.zst.")],
    mall: Annotated[str | None, typer.Option(metavar="ID", help="Whose floor; else the nearest one.")] = None,
    malls: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Malls as GeoJSON; else the four of the demo.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of times that do not say: America/Phoenix, UTC.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=NAME", help="A CSV's own name of a column; may be given again.")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="INSTANT", help="Leave out what comes before.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="INSTANT", help="Leave out what comes after.")] = None,
    swap: Annotated[bool, typer.Option("--swap", help="Latitude and longitude have changed places.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse all if a single row is bad.")] = False,
) -> None:
    """Make a fixture of recorded tracks, to be watched with mallard demo."""
    check_out(out)
    floor = read_malls(malls or demo_malls_path())
    wanted = Import(
        files=tuple(files), mall_id=mall, zone=_zone(timezone), columns=_columns(column or []), swap=swap,
        strict=strict, from_ms=instant_ms("--from", from_), to_ms=instant_ms("--to", to),
    )  # fmt: skip
    with counting("reading tracks") as progress:
        made = make_of(wanted, floor, out, progress)
    _print(out, made)


def _zone(name: str | None) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(f"there is no time zone {name}; one is called like America/Phoenix") from None


def _columns(words: list[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    fields = (*NAMES, *SPEEDS)
    for word in words:
        name, mark, called = word.partition("=")
        if not mark or not called or name not in fields:
            raise typer.BadParameter(f"--column {word} is not FIELD=NAME with a field of {', '.join(fields)}")
        columns[name] = called
    return columns


def _print(out: Path, made: Imported) -> None:
    for row in made.bad[:BAD_SHOWN]:
        print(f"skipped {row}", file=sys.stderr)
    if made.bad_count > BAD_SHOWN:
        print(f"skipped {made.bad_count - BAD_SHOWN:,} more rows", file=sys.stderr)
    counts = made.companion.counts
    left_out = [
        f"{count:,} {what}"
        for count, what in (
            (made.bad_count, "bad rows"), (made.repeats, "fixes at the instant of another"),
            (made.outside, "fixes outside --from and --to"),
        )
        if count
    ]  # fmt: skip
    print(
        f"{out}: {made.mall.name}, {made.companion.length_ms / 60_000:.0f} min, {counts.drivers} drivers, "
        f"{counts.pings:,} pings{'; left out: ' if left_out else ''}{', '.join(left_out)}"
    )
    print(f"watch it: mallard demo {out if out.parent != Path() else './' + str(out)}")
