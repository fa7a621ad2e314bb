"""`mallard privacy export` and `mallard privacy erase`: what a person may ask of whoever runs a floor.

It must not know what belongs to whom, or where it lies: `edge.journal.erasure` does.
"""

import getpass
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from streamer.cli.shown import DEFAULT_DATA, DataOption
from streamer.core.errors import ConfigurationError
from streamer.edge.journal import database, erasure
from streamer.edge.journal.subjects import Subject

privacy_app = typer.Typer(help="What is held about a driver or a customer.", no_args_is_help=True)

DriverChoice = Annotated[str, typer.Option("--driver", metavar="ID", help="A driver.")]
CustomerChoice = Annotated[
    str, typer.Option("--customer", metavar="WHO", help="A phone number, an order's id, or the shop's number of it.")
]


@privacy_app.command()
def export(driver: DriverChoice = "", customer: CustomerChoice = "", data: DataOption = DEFAULT_DATA) -> None:
    """Print everything that is held about somebody, as JSON; also while the server runs."""
    print(msgspec.json.format(msgspec.json.encode(erasure.export(data, _subject(driver, customer)))).decode())


@privacy_app.command()
def erase(
    driver: DriverChoice = "",
    customer: CustomerChoice = "",
    data: DataOption = DEFAULT_DATA,
    backups: Annotated[
        list[Path] | None, typer.Option("--backup", metavar="DIR", help="A backup to erase in too; may be repeated.")
    ] = None,
) -> None:
    """Erase somebody for good, with the server stopped; exit 1 if any of it is left.

    The audit chain still verifies afterwards, and says that and when it was done. A replay begins anew here.
    """
    subject = _subject(driver, customer)
    if database.is_held(data):
        raise ConfigurationError(f"a floor is running on {data}: stop it first")
    at_ms, actor = time.time_ns() // 1_000_000, getpass.getuser()
    done = {data: erasure.erase(data, subject, at_ms, actor)}
    for folder in backups or ():
        done[folder] = erasure.erase_in_backup(folder, subject, at_ms, actor)
    for folder, erased in done.items():
        print(f"{folder}: {erased.orders} orders, {erased.rows} rows and {erased.ping_rows} rows of pings written anew")
        for text, name in erased.left:
            print(f"{folder}/{name} still holds {text!r}: it is also in what belongs to somebody else")
    if any(erased.left for erased in done.values()):
        raise typer.Exit(1)


def _subject(driver: str, customer: str) -> Subject:
    if bool(driver) == bool(customer):
        raise typer.BadParameter("give one of --driver and --customer")
    return Subject(driver, customer)
