"""`mallard backup`, `mallard restore` and `mallard quarantine`: care of a floor's files.

It must not know how anything lies in them.
"""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from streamer.cli.shown import DEFAULT_DATA, DataOption, JsonOption, measuring
from streamer.core.errors import ConfigurationError
from streamer.edge.journal import quarantine
from streamer.edge.journal.backup import Verified, back_up
from streamer.edge.journal.backup import restore as put_back
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.layout import utc
from streamer.edge.journal.sqlite import SqliteJournal

quarantine_app = typer.Typer(help="Inputs that were set aside because they could not be handled.", no_args_is_help=True)


def backup(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new directory to write.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Copy journal and accounts, also while the server runs, and verify the copy."""
    with measuring("copying") as progress:
        verified = back_up(data, out, progress)
    _print_verified(f"{out}: backed up", verified)


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A directory that `mallard backup` wrote.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Verify a backup and put it in place as a new data directory."""
    with measuring("restoring") as progress:
        verified = put_back(source, data, progress)
    _print_verified(f"{data}: restored", verified)


def _print_verified(what: str, verified: Verified) -> None:
    print(
        f"{what} up to seq {verified.seq} ({', '.join(verified.sha256)}); "
        f"{verified.rows:,} rows and {verified.links:,} links of the audit chain are whole; state {verified.hash}"
    )


@quarantine_app.callback()
def _quarantine() -> None:
    """Inputs that were set aside because they could not be handled."""


@quarantine_app.command("list")
def list_rows(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Say what was set aside, when, and why."""
    with closing(JournalReader(data)) as reader:
        rows = list(quarantine.read(reader.connection))
    if as_json:
        print(msgspec.json.encode(rows).decode())
        return
    for row in rows:
        print(f"{row.id:>6}  {utc(row.at_ms)}  {row.type or 'torn bytes'}, {row.bytes} bytes: {row.reason}")
    print(f"{len(rows)} in quarantine")


@quarantine_app.command()
def retry(
    row_id: Annotated[int | None, typer.Argument(metavar="[ID]", help="One of `quarantine list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every one, oldest first.")] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Submit again what was set aside, with the server stopped; exit 1 if any of it stays."""
    if (row_id is None) == (not everything):
        raise typer.BadParameter("give one of ID and --all")
    with closing(JournalReader(data)) as reader, closing(SqliteJournal(data, reader.header)) as journal:
        ids = [row_id] if row_id is not None else [row.id for row in quarantine.read(reader.connection)]
        stays = 0
        for outcome in quarantine.retry(journal, reader.connection, ids, time.time_ns() // 1_000_000):
            stays += outcome.fate != "taken"
            print(f"{outcome.id:>6}  {outcome.fate}{': ' if outcome.detail else ''}{outcome.detail}")
    if stays:
        raise ConfigurationError(f"{stays} of {len(ids)} stay in quarantine")
