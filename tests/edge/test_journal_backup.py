"""Backup and restore: a copy taken while the floor writes is whole, and nothing damaged is put in place."""

import threading
import time
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge.accounts import Accounts
from streamer.edge.journal import backup
from streamer.edge.journal.backup import back_up, restore
from streamer.edge.journal.contract import Entry
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from tests.builders import T0, a_floor
from tests.edge.floor_kit import a_header, write_journal
from tests.edge.test_journal import a_history, change, read_back


def a_live_folder(folder: Path, entries: list[Entry]) -> None:
    write_journal(folder, entries)
    folder.chmod(0o700)
    accounts = Accounts(folder)
    accounts.add_user("maya", "correct horse battery", "ops-lead", ())
    accounts.close()


def test_a_backup_restores_to_the_same_state_and_the_same_people(tmp_path: Path) -> None:
    engine, entries = a_history()
    a_live_folder(tmp_path / "floor", entries)
    said = back_up(tmp_path / "floor", tmp_path / "copy")
    assert (said.seq, said.hash) == (len(entries), engine.hash())
    assert set(said.sha256) == {"journal.db", "accounts.db"}
    again = restore(tmp_path / "copy", tmp_path / "new")
    assert (again.seq, again.hash, again.rows, again.links) == (said.seq, said.hash, said.rows, said.links)
    journal = SqliteJournal(tmp_path / "new", a_header())
    assert journal.cut is None
    assert recover(journal).engine.hash() == engine.hash()
    journal.close()
    accounts = Accounts(tmp_path / "new")
    assert accounts.login("maya", "correct horse battery", T0)[1].name == "maya"
    accounts.close()


def test_a_backup_taken_while_the_floor_writes_is_a_prefix_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "STEP_PAGES", 1)
    _, entries = a_history(60)
    journal = SqliteJournal(tmp_path / "floor", a_header())
    begun, done = threading.Event(), threading.Event()
    committed = 0

    def write() -> None:
        nonlocal committed
        for entry in entries:
            journal.commit_now([entry])
            time.sleep(0.001)
            committed = entry.seq
            if entry.seq == 100:
                begun.set()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(10)
    shares: list[float] = []

    def between_steps(share: float) -> None:
        """Let the floor commit something before the next step."""
        shares.append(share)
        seen = committed
        until_s = time.monotonic() + 1
        while committed == seen and not done.is_set() and time.monotonic() < until_s:
            time.sleep(0.0005)

    said = back_up(tmp_path / "floor", tmp_path / "copy", between_steps)
    while_writing = not done.is_set() or committed > said.seq
    writer.join()
    journal.close()
    assert while_writing
    engine = Engine(a_floor())
    for entry in entries[: said.seq]:
        engine.handle(entry.at_ms, entry.input)
    assert said.hash == engine.hash()
    assert read_back(tmp_path / "copy") == entries[: said.seq]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) > 5


def test_nobody_else_can_read_a_backup_or_what_is_restored(tmp_path: Path) -> None:
    _, entries = a_history()
    a_live_folder(tmp_path / "floor", entries)
    back_up(tmp_path / "floor", tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new")
    for folder in (tmp_path / "copy", tmp_path / "new"):
        assert folder.stat().st_mode & 0o777 == 0o700
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
        expected = {"journal.db", "accounts.db"} | ({"backup.json"} if folder.name == "copy" else set())
        assert modes == dict.fromkeys(expected, 0o600)


def test_restore_touches_no_directory_that_has_something_in_it(tmp_path: Path) -> None:
    _, entries = a_history()
    a_live_folder(tmp_path / "floor", entries)
    back_up(tmp_path / "floor", tmp_path / "copy")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(tmp_path / "copy", tmp_path / "full")
    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(tmp_path / "copy", tmp_path / "floor")
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "copy", tmp_path / "empty")
    assert read_back(tmp_path / "empty") == entries
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["note"]


def test_a_backup_needs_a_new_directory_and_a_journal(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    a_live_folder(tmp_path / "floor", [])
    with pytest.raises(ConfigurationError, match="exists: a backup needs a new directory"):
        back_up(tmp_path / "floor", tmp_path / "there")
    with pytest.raises(StorageError, match="there is no readable journal"):
        back_up(tmp_path / "nothing", tmp_path / "copy")
    with pytest.raises(ConfigurationError, match="is no backup"):
        restore(tmp_path / "there", tmp_path / "new")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE entry SET body = zeroblob(4) WHERE seq = 1", "damaged at seq 1"),
        ("DELETE FROM entry WHERE seq = 1", "audit chain breaks"),
        ("UPDATE entry SET link = zeroblob(32) WHERE seq = 1", "audit chain breaks at seq 1"),
        ("UPDATE pings_20261113 SET crc = crc + 1", "damaged at seq"),
    ],
)
def test_a_damaged_floor_is_not_backed_up(tmp_path: Path, sql: str, said: str) -> None:
    _, entries = a_history()
    a_live_folder(tmp_path / "floor", entries)
    change(tmp_path / "floor", sql)
    with pytest.raises(StorageError, match=said):
        back_up(tmp_path / "floor", tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["floor"]


@pytest.mark.parametrize("name", ["journal.db", "accounts.db"])
def test_a_backup_with_one_bit_flipped_is_never_put_in_place(tmp_path: Path, name: str) -> None:
    _, entries = a_history()
    a_live_folder(tmp_path / "floor", entries)
    back_up(tmp_path / "floor", tmp_path / "copy")
    path = tmp_path / "copy" / name
    good = path.read_bytes()
    for place in range(0, len(good), len(good) // 20):
        content = bytearray(good)
        content[place] ^= 0x10
        path.write_bytes(content)
        with pytest.raises(StorageError, match="is not as it was backed up"):
            restore(tmp_path / "copy", tmp_path / "new")
    path.write_bytes(good)
    restore(tmp_path / "copy", tmp_path / "new")


def test_a_backup_that_leads_to_another_state_is_not_put_in_place(tmp_path: Path) -> None:
    _, entries = a_history()
    a_live_folder(tmp_path / "floor", entries)
    told = back_up(tmp_path / "floor", tmp_path / "copy")
    other = msgspec.json.encode(msgspec.structs.replace(told, hash="0" * 32))
    (tmp_path / "copy" / "backup.json").write_bytes(other)
    with pytest.raises(StorageError, match=f"leads to state {told.hash}, and 0000"):
        restore(tmp_path / "copy", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "floor"]


def test_an_old_copy_of_the_database_alone_is_noticed_by_the_mark(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path / "floor", entries[:50])
    old = (tmp_path / "floor" / "journal.db").read_bytes()
    write_journal(tmp_path / "floor", entries[50:])
    (tmp_path / "floor" / "journal.db").write_bytes(old)
    with closing(SqliteJournal(tmp_path / "floor", a_header())) as journal:
        assert journal.cut is not None
        assert (journal.cut.from_seq, journal.cut.to_seq) == (51, len(entries))


def test_a_full_disk_is_named_as_such_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, entries = a_history()
    a_live_folder(tmp_path / "floor", entries)

    def no_room(connection: apsw.Connection) -> None:
        connection.pragma("max_page_count", 2)

    monkeypatch.setattr(apsw, "connection_hooks", [no_room])
    with pytest.raises(StorageError) as caught:
        back_up(tmp_path / "floor", tmp_path / "copy")
    assert (
        str(caught.value) == f"cannot copy {tmp_path / 'floor' / 'journal.db'}: there is no room for it in {tmp_path}"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["floor"]


def test_a_directory_that_is_missing_above_the_copy_is_named(tmp_path: Path) -> None:
    a_live_folder(tmp_path / "floor", [])
    missing = tmp_path / "none"
    with pytest.raises(ConfigurationError, match=f"^there is no directory {missing}: "):
        back_up(tmp_path / "floor", missing / "copy")
    back_up(tmp_path / "floor", tmp_path / "copy")
    with pytest.raises(ConfigurationError, match=f"^there is no directory {missing}: "):
        restore(tmp_path / "copy", missing / "new")
