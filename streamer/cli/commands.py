"""The subcommands put together, and the one place where an error becomes a line.

It must not know how anything is done.
"""

import asyncio
import sys

import apsw
import typer

from streamer.cli import (
    accounts,
    calibrate,
    checks,
    evaluate,
    journals,
    privacy,
    recordings,
    run,
    tracks,
    whatif,
)  # fmt: skip
from streamer.core.errors import MallardError

app = typer.Typer(
    name="mallard",
    help="The dispatch floor for same-day delivery from shopping malls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run.demo)
app.command()(run.serve)
app.command()(recordings.replay)
app.command()(recordings.record)
app.command()(recordings.simulate)
app.command()(calibrate.calibrate)
app.command()(tracks.import_tracks)
app.command()(evaluate.evaluate)
app.command()(whatif.fork)
app.command()(whatif.compare)
app.add_typer(accounts.token_app, name="token")
app.add_typer(accounts.user_app, name="user")
app.command()(checks.doctor)
app.add_typer(checks.audit_app, name="audit")
app.command()(journals.backup)
app.command()(journals.restore)
app.add_typer(journals.quarantine_app, name="quarantine")
app.add_typer(privacy.privacy_app, name="privacy")


def run_app(application: typer.Typer, name: str) -> None:
    """Run a command line, wording what Mallard, or the system under it, raises."""
    try:
        application(prog_name=name)
    except (MallardError, OSError, apsw.Error) as error:
        print(f"{name}: {_one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)


def _one_line(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError) and not isinstance(error, MallardError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, apsw.Error):
        text = f"a database in the data directory cannot be used: {text}"
    return " ".join(text.split()) or type(error).__name__
