"""The whole product on a recording: a floor that plays a fixture, people to log in as, and a dashboard.

It must not be reachable from other machines: its log-ins are printed.
"""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from msgspec import Struct

from streamer.core.errors import ConfigurationError
from streamer.core.snapshot import dump_state
from streamer.edge.accounts import Accounts, Role
from streamer.edge.child import DashboardChild, check_free
from streamer.edge.clock import PacedClock, WallClock
from streamer.edge.frames import Sign
from streamer.edge.journal.contract import SCHEMA, JournalHeader, MemoryJournal, Snapshot
from streamer.edge.lab.desk import LabDesk
from streamer.edge.link import link_secret
from streamer.edge.recordings.fixtures import FOLDERS, SUFFIX, FixtureError, FixtureReader
from streamer.edge.recordings.forking import ForkingSource
from streamer.edge.recordings.replay import Progress, floor_of
from streamer.edge.rooms.desk import RoomDesk
from streamer.edge.rooms.gallery import Gallery
from streamer.edge.rooms.keeper import Keeper
from streamer.edge.runner import Runner
from streamer.edge.server import LOOPBACK, Streamer, origins_of, run_until_stopped, shut_down, stop_while_starting

log = structlog.get_logger("demo")

PEOPLE: tuple[tuple[str, Role], ...] = (("vera", "viewer"), ("maya", "dispatcher"), ("olga", "ops-lead"))
DRIVER = "demo-driver"


class DemoOptions(Struct, frozen=True, kw_only=True):
    """How a demo is run. `data` None: a fresh directory, removed at the end."""

    fixture: Path
    speed: float = 1.0
    port: int = 8050
    ingest_port: int = 8765
    data: Path | None = None


class DemoCard(Struct, frozen=True):
    """What a presenter needs: where the floor is, and everybody's secret."""

    fixture: str
    story: str
    speed: float
    url: str
    socket_url: str
    passwords: tuple[tuple[str, Role, str], ...]
    api_token: str
    driver_id: str
    driver_token: str
    data: Path
    kept: bool


async def run_demo(options: DemoOptions, show: Callable[[DemoCard], None], progress: Progress | None = None) -> None:
    """Play a fixture on a floor of its own until a signal stops it; at the recording's end the floor stays open.

    Raises:
        ConfigurationError: the fixture, a port or the directory cannot be used, or the dashboard ended.
    """
    stop_while_starting()
    check_free(LOOPBACK, options.port)
    check_free(LOOPBACK, options.ingest_port)
    with FixtureReader(options.fixture) as fixture:
        async with _directory(options.data) as directory:
            await _run(options, fixture, directory, show, progress)


async def _run(
    options: DemoOptions, fixture: FixtureReader, directory: Path, show: Callable[[DemoCard], None],
    progress: Progress | None,
) -> None:  # fmt: skip
    header = fixture.header
    accounts = Accounts(directory)
    clock = PacedClock(WallClock().now_ms(), options.speed)
    engine = floor_of(header, clock.start_ms)
    journal = MemoryJournal(JournalHeader(SCHEMA, header.malls, header.settings, header.made_by, clock.start_ms))
    if engine.state.seq:
        journal.append(Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state)))
    runner = Runner(engine, journal, clock)
    source = ForkingSource(runner, fixture, clock)
    name = options.fixture.name.removesuffix(SUFFIX)
    sign = Sign("replay", options.speed, name, runner.clock_offset_ms)
    secret = link_secret(directory)
    gallery = Gallery((options.fixture.absolute().parent, *FOLDERS))
    rooms, lab = RoomDesk(runner, Keeper(secret), gallery), LabDesk(runner, gallery)
    streamer = Streamer(runner, accounts, secret, sign, origins_of(options.port), "suggest", rooms, lab=lab)
    source.on_fork = partial(_forked, sign, streamer)
    child: DashboardChild | None = None
    try:
        await runner.start()
        await source.warm_up(progress)
        await streamer.open(LOOPBACK, options.ingest_port)
        child = DashboardChild(f"ws://{LOOPBACK}:{streamer.port}/v1/link", secret, LOOPBACK, options.port)
        await child.start()
        passwords = tuple((name, role, _password(accounts, name, role)) for name, role in PEOPLE)
        show(_card(options, header.story, name, child.url, streamer.port, accounts, passwords, directory))
        await run_until_stopped(runner, asyncio.gather(child.run(), _play(source, sign)))
    finally:
        if child is not None:
            await child.end()
        await shut_down(streamer, runner, accounts)


def _forked(sign: Sign, streamer: Streamer, at_ms: int) -> None:
    """Somebody decided: say so on the badge; and where drivers obey, the floor's autopilot may decide too."""
    sign.forked_at_ms = at_ms
    streamer.autopilot.may_decide = True


async def _play(source: ForkingSource, sign: Sign) -> None:
    """Play to the end, or to where the recording is damaged; the floor stays open."""
    try:
        await source.play()
    except FixtureError as error:
        log.error("recording_damaged", reason=str(error))
    sign.ended = True
    log.info("recording_ended", forked_at_ms=sign.forked_at_ms)


def _password(accounts: Accounts, name: str, role: Role) -> str:
    password = secrets.token_urlsafe(9)
    accounts.add_user(name, password, role)
    return password


def _card(
    options: DemoOptions, story: str, name: str, url: str, ingest_port: int, accounts: Accounts,
    passwords: tuple[tuple[str, Role, str], ...], directory: Path,
) -> DemoCard:  # fmt: skip
    now_ms = WallClock().now_ms()
    accounts.register_driver(DRIVER, "You")
    return DemoCard(
        name, story, options.speed, url, f"ws://{LOOPBACK}:{ingest_port}/v1/drivers", passwords,
        accounts.mint_api_token("demo", "ops-lead", (), now_ms), DRIVER, accounts.mint_driver_token(DRIVER, now_ms),
        directory, options.data is not None,
    )  # fmt: skip


@asynccontextmanager
async def _directory(kept: Path | None) -> AsyncIterator[Path]:
    if kept is not None:
        if (kept / "journal.db").exists():
            raise ConfigurationError(f"{kept} holds the journal of a live floor: give the demo a directory of its own")
        yield kept
        return
    directory = Path(tempfile.mkdtemp(prefix="mallard-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
