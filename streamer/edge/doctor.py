"""Looks at the machine Mallard is to run on, and says for each thing whether it is right and how to mend it.

It must not mend anything itself, nor print: the command line does.
"""

import asyncio
import errno
import importlib.metadata
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw

from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge.finding import Finding, judged
from streamer.edge.journal import database, layout, quarantine
from streamer.edge.journal.database import JournalReader, apply_pragmas, require_sqlite
from streamer.edge.journal.layout import utc
from streamer.edge.journal.mark import read_mark
from streamer.edge.journal.recovery import first_state
from streamer.edge.posture import check_posture
from streamer.edge.recordings.fixtures import FixtureError, FixtureReader, find_fixture, fixture_names, read_companion
from streamer.edge.travel_http import RoutingRules, try_roads

DISTRIBUTION = "mallard-dispatch"
MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 1_000_000_000
"""A day of 5,000 drivers' pings is some 10 GB; below this the day may not be finished."""
MAX_WAL_BYTES = 67_108_864
RESTORE = "mallard restore BACKUP --data NEW_DIR; what came after the backup is lost"
SECRETS = (
    "accounts.db", "accounts.db-wal", "accounts.db-shm", "link.secret",
    "journal.db", "journal.db-wal", "journal.db-shm", "journal.mark",
)  # fmt: skip
DEMO_FIXTURES = ("saturday-rush", "two-malls", "bad-day")


def examine(directory: Path, ports: Sequence[int], host: str = "127.0.0.1") -> list[Finding]:
    """Everything there is to look at, in the order in which it should be mended."""
    running = database.is_held(directory)
    return [
        check_python(),
        *check_libraries(),
        check_sqlite(),
        check_database(directory),
        *check_journal(directory, running),
        check_disk(directory),
        *check_permissions(directory),
        *check_posture(directory),
        *check_fixtures(DEMO_FIXTURES),
        *(check_port(host, port, running) for port in ports),
    ]


def check_routing(rules: RoutingRules, lat: float, lng: float) -> list[Finding]:
    """Whether the routing server, if one is set, knows a way near a mall; without it plans go by the model."""
    if rules.kind == "model":
        return []
    status, is_road = asyncio.run(try_roads(rules, lat, lng))
    said = status.last_error or ("answers" if is_road else f"knows no way near {lat:.4f}, {lng:.4f}")
    fix = f"start {rules.kind} at {rules.url}, or take [routing] out of the configuration; plans go by the model until"
    return [judged("routing", is_road, f"{rules.kind} at {rules.url}: {said}", fix)]


def check_python(version: tuple[int, int] = (sys.version_info[0], sys.version_info[1])) -> Finding:
    """Whether this Python is new enough."""
    wanted, found = ".".join(map(str, MIN_PYTHON)), ".".join(map(str, version))
    return judged("python", version >= MIN_PYTHON, found, f"install Python {wanted} or later")


def check_libraries(requirements: Sequence[str] | None = None) -> list[Finding]:
    """Whether every library is there, and no older than Mallard declares.

    Args:
        requirements: like `websockets>=17.4`; those of the installed distribution if None.
    """
    if requirements is None:
        try:
            requirements = importlib.metadata.requires(DISTRIBUTION) or []
        except importlib.metadata.PackageNotFoundError:
            return [Finding("libraries", False, f"{DISTRIBUTION} is not installed", "pip install -e .")]
    needed = [requirement for requirement in requirements if "extra ==" not in requirement]
    return [_check_library(requirement) for requirement in needed]


def _check_library(requirement: str) -> Finding:
    match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?(?:\s*>=\s*([0-9.]+))?", requirement)
    if match is None:
        return Finding("libraries", False, f"cannot read the requirement {requirement!r}", "reinstall Mallard")
    name, lowest = match[1], match[2] or "0"
    fix = f"pip install --upgrade '{name}>={lowest}'"
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", fix)
    return judged(name, _numbers(found) >= _numbers(lowest), found, fix)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, which is all that lower bounds are about; 1.0 equals 1."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_sqlite() -> Finding:
    """Whether the SQLite inside apsw is free of the bug that corrupts journals."""
    try:
        require_sqlite()
    except ConfigurationError as error:
        return Finding("sqlite", False, str(error), "pip install --upgrade 'apsw>=3.51.3'")
    return Finding("sqlite", True, apsw.sqlite_lib_version())


def check_database(directory: Path) -> Finding:
    """Whether a database in `directory`, or where it would be made, takes the settings that an ack rests on."""
    place = _existing(directory)
    try:
        with tempfile.TemporaryDirectory(prefix=".mallard-doctor-", dir=place) as scratch:
            connection = apsw.Connection(str(Path(scratch) / "probe.db"))
            try:
                apply_pragmas(connection)
                connection.execute("CREATE TABLE probe (x)")
            finally:
                connection.close()
    except (OSError, apsw.Error) as error:
        return Finding("database", False, f"{place}: {error}", "choose a writable directory on a local disk (--data)")
    return Finding("database", True, f"{place}: WAL and synchronous=FULL read back")


def check_journal(directory: Path, running: bool) -> list[Finding]:
    """Whether the journal in `directory` is whole and looked after; `running` says that a floor holds it now."""
    path = directory / "journal.db"
    if not path.exists():
        return [Finding("journal", True, f"{path} is not made yet")]
    try:
        with closing(JournalReader(directory)) as reader:
            # One moment for all of it, though the floor goes on writing.
            reader.connection.execute("BEGIN")
            return [
                _check_header(reader),
                _check_settings(directory, reader.connection, running),
                _check_tail(directory, reader.connection, running),
                _check_wal(path),
                _check_snapshots(reader),
                _check_retention(reader),
                _check_quarantine(directory, reader.connection),
            ]
    except (ConfigurationError, StorageError, apsw.Error) as error:
        return [Finding("journal", False, str(error), RESTORE)]


def _check_header(reader: JournalReader) -> Finding:
    header = reader.header
    detail = f"schema {header.schema}, begun {utc(header.created_ms)} by {header.made_by}"
    return Finding("journal", True, detail)


def _check_settings(directory: Path, connection: apsw.Connection, running: bool) -> Finding:
    """Most settings are a connection's own, and a floor that runs refused to start unless it read its own back."""
    if running:
        mode = connection.pragma("journal_mode")
        detail = f"journal_mode={mode}; a floor is running on it, which read the others back when it began"
        return judged("settings", mode == "wal", detail, "stop the floor and start it again")
    try:
        with closing(apsw.Connection(str(directory / "journal.db"))) as own:
            database.apply_pragmas(own, database.JOURNAL_PRAGMAS)
    except (StorageError, apsw.Error) as error:
        return Finding("settings", False, str(error), "choose a writable directory on a local disk (--data)")
    named = ", ".join(f"{name}={expected}" for name, (_value, expected) in database.JOURNAL_PRAGMAS.items())
    return Finding("settings", True, f"read back: {named}")


def _check_tail(directory: Path, connection: apsw.Connection, running: bool) -> Finding:
    seq, notes = database.end(connection)
    torn = database.torn_tail(connection)
    if torn:
        return Finding("tail", False, f"{len(torn)} rows from seq {torn[0].first_seq} on are damaged", RESTORE)
    mark = None if running else read_mark(directory / "journal.mark")
    if mark is not None and (mark.seq, mark.notes) > (seq, notes):
        return Finding("tail", False, f"the journal ends at seq {seq}, and seq {mark.seq} was committed", RESTORE)
    return Finding("tail", True, f"whole up to seq {seq}, from the newest snapshot on")


def _check_wal(path: Path) -> Finding:
    size = database.size_of(database.wal_of(path))
    detail = f"WAL {size / 1e6:.1f} MB, database {database.size_of(path) / 1e6:.1f} MB"
    return judged("wal", size <= MAX_WAL_BYTES, detail, "end what has been reading the journal for so long")


def _check_snapshots(reader: JournalReader) -> Finding:
    seqs = [snapshot.seq for snapshot in reader.snapshots()]
    return Finding("snapshots", True, f"{len(seqs)}, the newest at seq {seqs[0]}" if seqs else "none yet")


def _check_retention(reader: JournalReader) -> Finding:
    recover_from = first_state(reader).seq
    tables = layout.ping_tables(reader.connection)
    kept = f"pings of {len(tables)} days, from {tables[0].removeprefix('pings_')} on" if tables else "no pings"
    base = reader.base()
    begins = "the first input" if base is None else f"seq {recover_from} of {utc(base.at_ms)}"
    return Finding("retention", True, f"{kept}; a replay begins at {begins}")


def _check_quarantine(directory: Path, connection: apsw.Connection) -> Finding:
    rows = quarantine.count(connection)
    return judged("quarantine", not rows, f"{rows} rows", f"mallard quarantine list --data {directory}")


def check_disk(directory: Path, min_free_bytes: int = MIN_FREE_BYTES) -> Finding:
    """Whether there is room for the journal."""
    free = shutil.disk_usage(_existing(directory)).free
    detail = f"{free / 1e9:.1f} GB free"
    return judged("disk", free >= min_free_bytes, detail, f"free {min_free_bytes / 1e9:.1f} GB, or choose another disk")


def check_permissions(directory: Path) -> list[Finding]:
    """Whether nobody else can read the directory's secrets. A directory that is not made yet will be made right."""
    if not directory.exists():
        return [Finding("secrets", True, f"{directory} is not made yet")]
    paths = [directory, *(directory / name for name in SECRETS)]
    return [_check_mode(path) for path in paths if path.exists()]


def _check_mode(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    wanted = "700" if path.is_dir() else "600"
    return judged("secrets", not mode & 0o077, f"{path} has mode {mode:03o}", f"chmod {wanted} {path}")


def check_fixtures(names: Sequence[str]) -> list[Finding]:
    """Whether the demo's recordings are there and begin like one."""
    return [_check_fixture(name) for name in sorted({*names, *fixture_names()})]


def _check_fixture(name: str) -> Finding:
    try:
        path = find_fixture(name)
        read_companion(path)
        with FixtureReader(path):
            pass
    except FixtureError as error:
        return Finding("fixture", False, str(error), "restore fixtures/ from the repository, or reinstall Mallard")
    return Finding("fixture", True, name)


def check_port(host: str, port: int, running: bool = False) -> Finding:
    """Whether a server could listen on `port`, or a floor that is `running` may be what does."""
    if not 0 < port < 2**16:
        return Finding("port", False, f"{port} is no port", "choose one between 1 and 65535")
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        if running and error.errno == errno.EADDRINUSE:
            return Finding("port", True, f"{host}:{port} is in use, and a floor is running on this data")
        fix = "stop what listens there, or choose another with --port or --ingest-port"
        return Finding("port", False, f"{host}:{port}: {error.strerror}", fix)
    return Finding("port", True, f"{host}:{port} is free")


def _existing(directory: Path) -> Path:
    """The directory, or its nearest ancestor that is there."""
    return next(path for path in (directory.absolute(), *directory.absolute().parents) if path.is_dir())
