"""`mallard calibrate`: the simulated world's parameters, fitted to a recording.

It must not know how they are fitted.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from streamer.cli.shown import JsonOption, counting
from streamer.core.errors import ConfigurationError
from streamer.edge.recordings.fixtures import find_fixture

if TYPE_CHECKING:
    from streamer.edge.simulation.calibrate import Calibrated

MOST_SHOWN = 6
"""Numbers of a longer parameter are left to --json and --out."""


def calibrate(
    source: Annotated[str, typer.Argument(metavar="FIXTURE|DIR", help="A recording, or a journal's directory.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the parameters, as JSON.")] = None,
    hold_out: Annotated[
        Literal["time", "drivers"], typer.Option("--hold-out", help="Judge by the last part, or by a third of drivers.")
    ] = "time",
    parameters: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Begin with these instead of the usual ones.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the simulated world to a recording, and judge the fit by what was held out."""
    if out is not None and not out.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no directory {out.absolute().parent}")
    path = Path(source)
    if not path.is_dir():
        path = find_fixture(source)
    elif not (path / "journal.db").exists():
        raise ConfigurationError(f"there is no journal in {path}")
    # Here, since they bring scipy: `serve` begins in this program too, and would carry it for good.
    from streamer.edge.simulation.calibrate import calibrate as fit_to
    from streamer.edge.simulation.parameters_file import read_parameters, write_parameters
    from streamer.sim.parameters import USUAL

    before = USUAL if parameters is None else read_parameters(parameters)
    with counting(f"reading {path.name}") as progress:
        found = fit_to(path, hold_out, before, progress)
    if out is not None:
        write_parameters(out, found.parameters)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        _print(found)


def _print(found: "Calibrated") -> None:
    table = Table("parameter", "before", "fitted", "n", title=found.source)
    for row in found.rows:
        table.add_row(row.name, _numbers(row.before), row.kept or _numbers(row.after), f"{row.n:,}")
    Console().print(table)
    table = Table("held out", "n", "median", "expected", "error", "KS", title=f"judged on {found.judged_on}")
    for one in found.checks:
        before, after = one.before, one.after
        error = (
            f"{before.error:.3g} → {after.error:.3g}" if before.error is not None and after.error is not None else ""
        )
        table.add_row(
            one.what, f"{one.n:,}", f"{one.median:.3g} {one.unit}", f"{before.median:.3g} → {after.median:.3g}", error,
            f"{before.ks:.3f} → {after.ks:.3f}",
        )  # fmt: skip
    Console().print(table)
    print("before → fitted; the error is the median one; n, median and KS are of what was held out")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values) if len(values) <= MOST_SHOWN else f"{len(values)} numbers"
