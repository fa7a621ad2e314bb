"""How the command line shows things: progress on stderr, results on stdout, and the options several commands share.

It must not know what the commands do.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from streamer.core.settings import AutopilotMode

DEFAULT_DATA = Path("mallard-data")
DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Directory of the journal and the accounts.")]
MallsOption = Annotated[list[str] | None, typer.Option("--mall", metavar="ID", help="A mall; may be given again.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the dashboard.")]
IngestPortOption = Annotated[int, typer.Option("--ingest-port", min=1, max=65535, help="Port of the sockets.")]
AutopilotOption = Annotated[
    AutopilotMode | None,
    typer.Option("--autopilot", envvar="MALLARD_AUTOPILOT", help="Of malls where nobody has set it; of this run only."),
]

_console = Console(stderr=True)
MINUTE_MS = 60_000


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """A spinner with a count, for work of unknown length; nothing where stderr is no terminal."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} inputs"),
        console=_console, transient=True, disable=not _console.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task(what, total=None)
        yield lambda count: progress.update(task, completed=count)


@contextmanager
def measuring(what: str, total: float = 1.0) -> Iterator[Callable[[float], None]]:
    """A bar towards `total`; nothing where stderr is no terminal."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn(),
        console=_console, transient=True, disable=not _console.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def unit_of(figure: str) -> tuple[str, float]:
    """What a KPI is called for people, and what to divide it by: durations are read in minutes."""
    if figure.endswith("_ms"):
        return figure.removesuffix("_ms").replace("_", " ") + ", min", MINUTE_MS
    return figure.replace("_", " "), 1


class Stderr:
    """Writes log lines to whatever stderr is now. A terminal that went away must not end the sockets that log to it."""

    def msg(self, line: str) -> None:
        """Prints one line, if anybody can still read it."""
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)

    log = debug = info = warning = warn = error = critical = exception = fatal = msg


def configure_logging(level: int) -> None:
    """Log from `level` on, to stderr: words for a terminal, one JSON object a line for anything else."""
    readable = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            # Plain, because the usual one prints local variables, in which people's addresses are.
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if readable
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: Stderr(),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
