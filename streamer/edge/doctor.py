"""Looks at the machine Mallard is to run on, and says for each thing whether it is right and how to mend it.

It must not mend anything itself, nor print: the command line does.
"""

import importlib.metadata
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import apsw
from msgspec import Struct

from streamer.core.errors import ConfigurationError
from streamer.edge.journal.database import apply_pragmas, require_sqlite
from streamer.edge.recordings.fixtures import FixtureError, FixtureReader, find_fixture, fixture_names, read_companion

DISTRIBUTION = "mallard-dispatch"
MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 1_000_000_000
"""A day of 5,000 drivers' pings is some 10 GB; below this the day may not be finished."""
SECRETS = ("accounts.db", "accounts.db-wal", "accounts.db-shm", "link.secret")
DEMO_FIXTURES = ("saturday-rush", "two-malls", "bad-day")


class Finding(Struct, frozen=True):
    """One thing looked at. `fix` is what to do about a fault, in one line."""

    check: str
    ok: bool
    detail: str
    fix: str = ""


def examine(directory: Path, ports: Sequence[int], host: str = "127.0.0.1") -> list[Finding]:
    """Everything there is to look at, in the order in which it should be mended."""
    return [
        check_python(),
        *check_libraries(),
        check_sqlite(),
        check_database(directory),
        check_disk(directory),
        *check_permissions(directory),
        *check_fixtures(DEMO_FIXTURES),
        *(check_port(host, port) for port in ports),
    ]


def check_python(version: tuple[int, int] = (sys.version_info[0], sys.version_info[1])) -> Finding:
    """Whether this Python is new enough."""
    wanted, found = ".".join(map(str, MIN_PYTHON)), ".".join(map(str, version))
    return _judged("python", version >= MIN_PYTHON, found, f"install Python {wanted} or later")


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
    return _judged(name, _numbers(found) >= _numbers(lowest), found, fix)


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


def check_disk(directory: Path, min_free_bytes: int = MIN_FREE_BYTES) -> Finding:
    """Whether there is room for the journal."""
    free = shutil.disk_usage(_existing(directory)).free
    detail = f"{free / 1e9:.1f} GB free"
    return _judged(
        "disk", free >= min_free_bytes, detail, f"free {min_free_bytes / 1e9:.1f} GB, or choose another disk"
    )


def check_permissions(directory: Path) -> list[Finding]:
    """Whether nobody else can read the directory's secrets. A directory that is not made yet will be made right."""
    if not directory.exists():
        return [Finding("secrets", True, f"{directory} is not made yet")]
    paths = [directory, *(directory / name for name in SECRETS)]
    return [_check_mode(path) for path in paths if path.exists()]


def _check_mode(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    wanted = "700" if path.is_dir() else "600"
    return _judged("secrets", not mode & 0o077, f"{path} has mode {mode:03o}", f"chmod {wanted} {path}")


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


def check_port(host: str, port: int) -> Finding:
    """Whether a server could listen on `port`."""
    if not 0 < port < 2**16:
        return Finding("port", False, f"{port} is no port", "choose one between 1 and 65535")
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        fix = "stop what listens there, or choose another with --port or --ingest-port"
        return Finding("port", False, f"{host}:{port}: {error.strerror}", fix)
    return Finding("port", True, f"{host}:{port} is free")


def _existing(directory: Path) -> Path:
    """The directory, or its nearest ancestor that is there."""
    return next(path for path in (directory.absolute(), *directory.absolute().parents) if path.is_dir())


def _judged(check: str, ok: bool, detail: str, fix: str) -> Finding:
    return Finding(check, ok, detail, "" if ok else fix)
