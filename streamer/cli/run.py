"""`mallard demo` and `mallard serve`: the whole product on a recording, and live.

It must not know how the parts fit together: `edge.demo` and `edge.server` do.
"""

import logging
import os
import shlex
import tomllib
import webbrowser
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from msgspec import Meta, Struct

from streamer.cli.shown import (
    DEFAULT_DATA,
    AutopilotOption,
    IngestPortOption,
    PortOption,
    configure_logging,
    counting,
)
from streamer.core.errors import ConfigurationError
from streamer.core.settings import AutopilotMode, Settings
from streamer.edge.child import DashboardChild, check_free
from streamer.edge.demo import DemoCard, DemoOptions, run_demo
from streamer.edge.journal.retention import DAYS, MAX_DAYS
from streamer.edge.link import link_secret
from streamer.edge.recordings.fixtures import FOLDERS, find_fixture
from streamer.edge.rooms.keeper import fixture_folder
from streamer.edge.server import LOOPBACK, LiveOptions, Streamer, origins_of, run_live
from streamer.edge.travel_http import RoutingRules

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only with --public
MIN_SECRET = 32
"""Characters. The link's port is open to the same network as the drivers'."""
DEFAULT_FIXTURE = "saturday-rush"
Port = Annotated[int, Meta(ge=1, le=65535)]
Origin = Annotated[str, Meta(pattern=r"^https?://[^/\s]+$")]


class ServeFile(Struct, frozen=True, forbid_unknown_fields=True):
    """What `serve --config FILE` (TOML) may say; an option on the command line goes before it."""

    data: str | None = None
    malls: str | None = None
    port: Port | None = None
    ingest_port: Port | None = None
    origins: tuple[Origin, ...] = ()
    """Pages, besides the dashboard's own, that may open driver sockets: `https://drivers.example`."""
    retention_days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] | None = None
    autopilot: AutopilotMode | None = None
    """Its mode where nobody has set one."""
    settings: Settings | None = None
    fixtures: str | None = None
    """A directory of recordings that can be replayed beside the floor."""
    routing: RoutingRules = RoutingRules()
    """Where the autopilot's driving times come from: `kind = "osrm"` or `"valhalla"` and `url`; else the model."""


def demo(
    fixture: Annotated[str, typer.Argument(help="Name or path of the recording.")] = DEFAULT_FIXTURE,
    speed: Annotated[float, typer.Option(min=0.1, max=60, help="Recorded seconds a second.")] = 1.0,
    port: PortOption = 8050,
    ingest_port: IngestPortOption = 8765,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep accounts here, not in a fresh place.")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the floor in a browser.")] = False,
) -> None:
    """Run the whole product on a recording. Loopback only; no keys, no network."""
    configure_logging(logging.WARNING)
    options = DemoOptions(fixture=find_fixture(fixture), speed=speed, port=port, ingest_port=ingest_port, data=data)

    def show(card: DemoCard) -> None:
        print_card(card)
        if open_page:
            webbrowser.open(card.url)

    with counting("warming up") as progress:
        uvloop.run(run_demo(options, show, progress))


def serve(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML with the options below.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Journal and accounts.")] = None,
    malls: Annotated[Path | None, typer.Option(metavar="FILE", help="GeoJSON; else the demo malls.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the dashboard [8050].")] = None,
    ingest_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the sockets [8765].")] = None,
    retention_days: Annotated[
        int | None, typer.Option(min=1, max=MAX_DAYS, help=f"Days that raw pings are kept [{DAYS}].")
    ] = None,
    autopilot: AutopilotOption = None,
    fixtures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Recordings to replay beside the floor; else the demo's.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Listen on all addresses, behind a TLS proxy.")] = False,
) -> None:
    """Run the whole product live."""
    configure_logging(logging.INFO)
    file = read_config(config) if config is not None else ServeFile()
    if public:
        require_secured()
    host = EVERYWHERE if public else LOOPBACK
    dashboard_port = port or file.port or 8050
    options = LiveOptions(
        data=data or Path(file.data or DEFAULT_DATA),
        malls=malls or (Path(file.malls) if file.malls else None),
        settings=file.settings,
        host=host,
        port=ingest_port or file.ingest_port or 8765,
        origins=(*origins_of(dashboard_port), *file.origins),
        retention_days=retention_days or file.retention_days or DAYS,
        autopilot=autopilot or file.autopilot,
        routing=file.routing,
        fixtures=(fixture_folder(Path(named)),) if (named := fixtures or file.fixtures) else FOLDERS,
    )
    check_free(host, options.port)
    check_free(host, dashboard_port)

    async def beside(streamer: Streamer) -> None:
        url = f"ws://{LOOPBACK}:{streamer.port}/v1/link"
        child = DashboardChild(url, link_secret(options.data), host, dashboard_port)
        try:
            await child.start()
            print(f"Mallard is live: floor {child.url}, sockets ws://{LOOPBACK}:{streamer.port}/v1/drivers", flush=True)
            add = f"mallard user add NAME --role ops-lead --data {shlex.quote(str(options.data))}"
            print(f"data in {options.data}; add people with: {add}", flush=True)
            await child.run()
        finally:
            await child.end()

    uvloop.run(run_live(options, beside))


def read_config(path: Path) -> ServeFile:
    """Read the TOML of `--config`.

    Raises:
        ConfigurationError: it cannot be read, or says something that is not an option.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), ServeFile)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def require_secured() -> None:
    """Check what has to be set before other machines may connect.

    Raises:
        ConfigurationError: naming what is missing.
    """
    wanted = {
        "MALLARD_LINK_SECRET": "a long random text, the same for both processes",
        "MALLARD_HOSTS": "the names people reach the floor by",
        "MALLARD_SECURE": "1, once a proxy with TLS stands in front",
        "MALLARD_PROXIES": "the addresses of that proxy: log-ins are counted by the address it says they come from",
    }
    for name, meaning in wanted.items():
        if not os.environ.get(name):
            raise ConfigurationError(f"--public needs {name} in the environment: {meaning}")
    if len(os.environ["MALLARD_LINK_SECRET"]) < MIN_SECRET:
        raise ConfigurationError(f"MALLARD_LINK_SECRET has fewer than {MIN_SECRET} characters: take random ones")


def print_card(card: DemoCard) -> None:
    """Print what a presenter needs."""
    lines = [
        f"Mallard demo: {card.fixture} at speed {card.speed:g}",
        f"  {card.story}",
        "",
        f"  floor       {card.url}",
    ]
    lines += [f"  {role:<11} {name} / {password}" for name, role, password in card.passwords]
    lines += [
        "",
        f"  API token   {card.api_token}  (ops-lead, REST at {card.url}/api/docs)",
        f"  driver      {card.driver_id}, token {card.driver_token}, socket {card.socket_url}",
        f"  accounts    {card.data}  ({'kept' if card.kept else 'removed at the end'})",
        "  drive it    " + hint(card),
        "",
        "It plays as recorded until somebody decides something; from there it is a fork, and drivers obey.",
        "Ctrl-C stops it.",
    ]
    print("\n".join(lines), flush=True)


def hint(card: DemoCard) -> str:
    """One line for a terminal that puts the demo's driver on duty and on the map."""
    code = (
        "import json,time;from websockets.sync.client import connect;"
        f"s=connect('{card.socket_url}',subprotocols=['mallard.v1','bearer.{card.driver_token}']).__enter__();"
        "now=int(time.time()*1000);"
        "s.send(json.dumps(dict(type='report',id=str(now),report='on_duty',fix_ms=now)));"
        "s.send(json.dumps(dict(type='ping',seq=now,fix_ms=now,lat=36.1275,lng=-115.1716,accuracy_m=8)));"
        "[print(s.recv()) for _ in range(4)]"
    )
    return f'python -c "{code}"'
