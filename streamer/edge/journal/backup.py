"""Copies a floor's files while it runs, puts such a copy back, and believes neither before it was read through.

It must not know the command line. A backup is a directory with `journal.db`, `accounts.db` and `backup.json`, which has
their digests: `accounts.db` has no checksums of its own. High-water mark and link secret are made anew by a restore.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge.journal import audit, database, layout
from streamer.edge.journal.contract import JournalDamagedError
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.store import sync_folder

FILES = ("journal.db", "accounts.db")
MANIFEST = "backup.json"
STEP_PAGES = 2_560
"""10 MiB at a time, so that a Ctrl-C is heard and the bar moves."""
Progress = Callable[[float], None]
"""Called now and then with the share done, 0 to 1."""


class Verified(Struct, frozen=True):
    """What a copy was found to hold. `hash` is that of the state a floor on it starts from; `sha256` is by file."""

    sha256: dict[str, str]
    seq: int
    rows: int
    links: int
    hash: str


def back_up(data: Path, out: Path, progress: Progress | None = None) -> Verified:
    """Copy the floor in `data` to the new directory `out`, beside the server that writes it, and verify the copy.

    All is of one moment in each file. While it lasts, the server's WAL cannot begin anew and grows.

    Raises:
        ConfigurationError: `out` exists, or the directory it is to be in does not.
        StorageError: `data` holds no journal, there is no room for the copy, or it is not whole.
        OSError: a file cannot be written.
    """
    if out.exists():
        raise ConfigurationError(f"{out} exists: a backup needs a new directory")
    # Opened first: what is no journal is not copied.
    JournalReader(data).close()
    with _built(out, data, progress) as (partial, verified):
        _write_private(partial / MANIFEST, msgspec.json.encode(verified))
    return verified


def restore(backup: Path, data: Path, progress: Progress | None = None) -> Verified:
    """Put a backup in place as `data`, once it is verified; all at once, or not at all.

    Raises:
        ConfigurationError: `data` is not empty, the directory it is to be in is missing, or `backup` is no backup.
        StorageError: the backup is damaged, or there is no room for it.
        OSError: a file cannot be written.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise ConfigurationError(f"{data} is not empty: restore into a new directory, or move it away")
    try:
        told = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Verified)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{backup} is no backup: {MANIFEST} in it cannot be read: {error}") from error
    for name, digest in told.sha256.items():
        if _sha256(backup / name) != digest:
            raise JournalDamagedError(f"{backup / name} is not as it was backed up: use another backup")
    with _built(data, backup, progress) as (_partial, verified):
        if (verified.seq, verified.hash) != (told.seq, told.hash):
            raise JournalDamagedError(
                f"{backup} leads to state {verified.hash}, and {told.hash} was backed up: "
                "restore it with the version of Mallard that wrote it"
            )
    return verified


def verify(folder: Path) -> Verified:
    """Read everything: the file's structure, each row's checksum, the audit chain, and the state it leads to.

    Raises:
        StorageError: something is not as it was written; the message says what.
    """
    with closing(JournalReader(folder)) as reader:
        _check_structure(reader.connection, folder / FILES[0])
        rows = sum(1 for _ in map(layout.checked, layout.rows(reader.connection, 0)))
        head = audit.verify(reader.connection)
        engine = recover(reader).engine
        last_seq, _notes = database.end(reader.connection)
    if engine.state.seq < last_seq:
        raise JournalDamagedError(f"{folder} recovers to seq {engine.state.seq} of {last_seq}")
    accounts = folder / FILES[1]
    if accounts.exists():
        with closing(database.open_to_read(accounts)) as connection:
            _check_structure(connection, accounts)
    digests = {name: _sha256(folder / name) for name in FILES if (folder / name).exists()}
    return Verified(digests, engine.state.seq, rows, head.links, engine.hash())


@contextmanager
def _built(folder: Path, source: Path, progress: Progress | None) -> Iterator[tuple[Path, Verified]]:
    """Copy and verify beside `folder`, let the caller look, and only then give it its name."""
    if not folder.parent.is_dir():
        raise ConfigurationError(f"there is no directory {folder.parent}: make it, or name another place")
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(mode=0o700)
    try:
        for name in FILES:
            if (source / name).exists():
                _copy(source / name, partial / name, progress if name == FILES[0] else None)
        yield partial, verify(partial)
        sync_folder(partial)
        # Takes the place of an empty directory, and of nothing else.
        partial.rename(folder)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path, progress: Progress | None) -> None:
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with closing(database.open_to_read(source)) as reader, closing(apsw.Connection(str(target))) as writer:
            # A read that lasts through all steps: else each commit of the server would begin the copy anew.
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            with writer.backup("main", reader, "main") as steps:
                while not steps.done:
                    steps.step(STEP_PAGES)
                    if progress is not None:
                        progress(1 - steps.remaining / max(1, steps.page_count))
            # One file that needs no -wal beside it.
            writer.pragma("journal_mode", "delete")
        os.fsync(descriptor)
    except apsw.FullError as error:
        # SQLite says of it "not an error". The target's own folder has a name for the meantime only.
        raise StorageError(f"cannot copy {source}: there is no room for it in {target.parent.parent}") from error
    except apsw.Error as error:
        raise StorageError(f"cannot copy {source}: {_reason(error)}") from error
    finally:
        os.close(descriptor)


def _reason(error: apsw.Error) -> str:
    """What SQLite says; the kind of error where that is nothing, as after a step of a copy."""
    text = str(error)
    return type(error).__name__ if text in ("", "not an error") else text


def _check_structure(connection: apsw.Connection, path: Path) -> None:
    try:
        found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except apsw.Error as error:
        raise JournalDamagedError(f"{path} is damaged: {error}") from error
    if found != [("ok",)]:
        raise JournalDamagedError(f"{path} is damaged: {found[0][0]}")
