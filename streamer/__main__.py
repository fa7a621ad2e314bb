"""`python -m streamer`: the streamer by itself, without a dashboard, from options or the environment.

It must not know the parts it runs.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from streamer.cli.commands import run_app
from streamer.cli.run import EVERYWHERE, require_secured
from streamer.cli.shown import DEFAULT_DATA, AutopilotOption, configure_logging
from streamer.edge.recordings.fixtures import FOLDERS
from streamer.edge.rooms.keeper import fixture_folder
from streamer.edge.server import LOOPBACK, LiveOptions, run_live

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def streamer(
    data: Annotated[Path, typer.Option(envvar="MALLARD_DATA", metavar="DIR")] = DEFAULT_DATA,
    malls: Annotated[Path | None, typer.Option(envvar="MALLARD_MALLS", metavar="FILE")] = None,
    ingest_port: Annotated[int, typer.Option(envvar="MALLARD_INGEST_PORT", min=0, max=65535)] = 8765,
    autopilot: AutopilotOption = None,
    fixtures: Annotated[Path | None, typer.Option(envvar="MALLARD_FIXTURES", metavar="DIR")] = None,
    public: Annotated[bool, typer.Option("--public", envvar="MALLARD_PUBLIC")] = False,
) -> None:
    """Journal, engine, driver gateway and dashboards' link, on one port."""
    configure_logging(logging.INFO)
    if public:
        require_secured()
    host = EVERYWHERE if public else LOOPBACK
    options = LiveOptions(
        data=data, malls=malls, host=host, port=ingest_port, autopilot=autopilot,
        fixtures=(fixture_folder(fixtures),) if fixtures is not None else FOLDERS,
    )  # fmt: skip
    uvloop.run(run_live(options))


if __name__ == "__main__":
    run_app(app, "streamer")
