"""A person is exported whole, and erased from database, WAL, snapshots and backups; the audit chain still holds."""

import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from streamer.core.errors import ConfigurationError
from streamer.core.events import DriverRegistered, Dropoff, Input, OrderCommand
from streamer.edge.accounts import Accounts
from streamer.edge.journal import audit, layout
from streamer.edge.journal.audit import AuditError
from streamer.edge.journal.backup import back_up, restore, verify
from streamer.edge.journal.contract import Quarantined, Snapshot
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.erasure import erase, erase_in_backup, export, search
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.journal.subjects import Subject
from tests.builders import MINUTE, T0, a_floor, a_ping, a_report, an_order
from tests.edge.floor_kit import a_header, live_through, write_journal

ANN = Dropoff(36.1403217, -115.1907654, "Ann Example", "+1 702 555 0123", "3355 Private Lane", "the code is 4711")
BEN = Dropoff(36.1503217, -115.1807654, "Ben Other", "+17025550199", "9 Other Road", "ring twice")
SECRETS = {ANN.name, ANN.phone, ANN.address, ANN.notes, "Ann asked for it", "shop-77"}
AT_HOME = a_ping("d-1", T0 + 6_000, north=0.0071234, seq=2)


def a_day_with_ann() -> Iterator[tuple[int, Input]]:
    """Two drivers, an order of Ann's that was cancelled, one of Ben's that is open, and pings of both drivers."""
    for number in (1, 2):
        yield T0, DriverRegistered(f"d-{number}", f"Driver Name {number}")
        yield T0, a_report("on_duty", f"d-{number}", id=f"on-{number}", fix_ms=T0)
    yield T0 + 1_000, an_order(dropoff=ANN, external_id="shop-77", due_ms=T0 + 90 * MINUTE, actor="shop", key="k-1")
    yield T0 + 2_000, an_order(dropoff=BEN, external_id="shop-78", due_ms=T0 + 90 * MINUTE, actor="shop")
    yield T0 + 3_000, OrderCommand("hold", "o-1", 1, "maya", reason="Ann asked for it")
    yield T0 + 4_000, OrderCommand("cancel", "o-1", 2, "maya", reason="Ann asked for it")
    yield T0 + 5_000, a_ping("d-2", T0 + 5_000, north=0.002, seq=1)
    yield T0 + 6_000, AT_HOME
    yield T0 + 7_000, a_report("off_duty", "d-1", id="off-1", fix_ms=T0 + 7_000, reason="Driver Name 1 is ill")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A floor's files after that day, with a snapshot of everything and a backup in `backup`."""
    folder = tmp_path / "data"
    from streamer.core.engine import Engine
    from streamer.core.snapshot import dump_state

    engine = Engine(a_floor())
    entries = live_through(engine, a_day_with_ann())
    snapshot = Snapshot(engine.state.seq, engine.state.at_ms, dump_state(engine.state))
    write_journal(folder, entries, snapshot, Quarantined(T0, "KeyError('x')", an_order(dropoff=ANN)))
    with closing(Accounts(folder)) as accounts:
        accounts.register_driver("d-1", "Driver Name 1")
        accounts.mint_driver_token("d-1", T0)
    back_up(folder, tmp_path / "backup")
    return folder


def everything(folder: Path) -> bytes:
    """All bytes of all files, and what is compressed in them."""
    with closing(JournalReader(folder)) as reader:
        states = b"".join(snapshot.body for snapshot in reader.snapshots())
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file()) + states


def verified(folder: Path) -> audit.Head:
    with closing(JournalReader(folder)) as reader:
        return audit.verify(reader.connection)


def of_customer(who: str = ANN.phone) -> Subject:
    return Subject(customer=who)


def test_nothing_of_a_customer_is_left_and_the_chain_holds(data: Path) -> None:
    before, other = everything(data), verified(data)
    assert all(text.encode() in before for text in SECRETS), "the search finds what is there"
    erased = erase(data, of_customer(), T0, "root")
    after = everything(data)
    assert [text for text in SECRETS if text.encode() in after] == []
    assert struct.pack(">d", ANN.lat) not in after
    assert str(ANN.lat).encode() not in after
    assert (erased.orders, erased.left) == (1, ())
    head = verified(data)
    assert head.links == other.links + 1
    assert BEN.name.encode() in after, "nobody else is erased"


def test_the_floor_goes_on_from_where_it_was(data: Path) -> None:
    with closing(JournalReader(data)) as reader:
        state = recover(reader).engine.state
    erase(data, of_customer(), T0, "root")
    with closing(JournalReader(data)) as reader:
        again = recover(reader).engine.state
    assert (again.seq, again.at_ms, again.orders_placed, again.tallies) == (
        state.seq, state.at_ms, state.orders_placed, state.tallies,
    )  # fmt: skip
    assert again.orders["o-2"] == state.orders["o-2"]
    assert (again.orders["o-1"].status, again.orders["o-1"].dropoff) == ("cancelled", Dropoff(36.14, -115.19))
    with closing(SqliteJournal(data, a_header())) as journal:
        from streamer.core.engine import Engine
        from streamer.edge.journal.contract import Entry

        engine = Engine(a_floor(), journal.header.settings, again)
        engine.handle(again.at_ms + 1, OrderCommand("hold", "o-2", again.orders["o-2"].version, "maya"))
        item = OrderCommand("hold", "o-2", 1, "maya")
        journal.commit_now([Entry(engine.state.seq, again.at_ms + 1, item)])
    assert verified(data).links > 0


@pytest.mark.parametrize("who", ["+1 (702) 555-0123", "o-1", "shop-77"])
def test_a_customer_is_found_by_phone_order_or_the_shop_s_number(data: Path, who: str) -> None:
    assert erase(data, of_customer(who), T0, "root").orders == 1
    assert ANN.name.encode() not in everything(data)


def test_nothing_of_a_driver_is_left_but_the_id(data: Path) -> None:
    lat = struct.pack(">d", AT_HOME.lat)
    assert lat in everything(data)
    erased = erase(data, Subject("d-1"), T0, "root")
    with closing(Accounts(data)) as accounts:
        assert accounts.driver("d-1") is None
    assert erased.left == ()
    after = everything(data)
    assert b"Driver Name 1" not in after
    assert lat not in after
    assert erased.ping_rows >= 1
    with closing(SqliteJournal(data, a_header())) as journal:
        assert journal.track("d-1", 0, T0 + MINUTE, 0, 100).items == ()
        assert len(journal.track("d-2", 0, T0 + MINUTE, 0, 100).items) == 1
    assert verify(data).rows > 0


def test_a_backup_is_erased_too_and_still_restores(data: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    erase_in_backup(backup, of_customer(), T0, "root")
    erase_in_backup(backup, Subject("d-1"), T0, "root")
    assert [text for text in (*SECRETS, "Driver Name 1") if text.encode() in everything(backup)] == []
    restored = restore(backup, tmp_path / "again")
    assert restored.links == verified(tmp_path / "again").links


def test_an_erasure_may_be_done_again(data: Path) -> None:
    erase(data, of_customer("o-1"), T0, "root")
    erase(data, of_customer("o-1"), T0, "root")
    assert verified(data).links > 0


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (Subject("d-2"), "driver d-2 is on duty"),
        (of_customer(BEN.phone), "order o-2 is not ended yet"),
        (of_customer("+15550000000"), "nothing is known"),
        (Subject("d-99"), "nothing is known"),
    ],
)
def test_who_is_at_work_waits_or_is_unknown_is_not_erased(data: Path, subject: Subject, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        erase(data, subject, T0, "root")


def test_a_running_floor_is_left_alone(data: Path) -> None:
    with closing(SqliteJournal(data, a_header())), pytest.raises(ConfigurationError, match="another program"):
        erase(data, of_customer(), T0, "root")


def test_a_text_that_is_also_somebody_else_s_is_told(data: Path) -> None:
    assert search(data, {BEN.address, "no such text", "o"}) == [(BEN.address, "journal.db"), (BEN.address, "snapshots")]


FORGERIES: dict[str, Callable[[apsw.Connection], object]] = {
    "another body in the place of an erased one": lambda db: db.execute(
        "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '36.14', '36.99') AS BLOB)"
        " WHERE kind = 'order' AND (seq, note) IN (SELECT seq, note FROM redacted)"
    ),
    "an erasure nobody wrote down": lambda db: db.execute(
        "INSERT INTO redacted SELECT seq, note, zeroblob(32) FROM entry WHERE kind = 'driver' LIMIT 1"
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_erasure_is_no_way_to_change_the_past(data: Path, forgery: str) -> None:
    erase(data, of_customer(), T0, "root")
    with closing(apsw.Connection(str(data / "journal.db"))) as connection:
        FORGERIES[forgery](connection)
        assert connection.changes() > 0
        rows = list(connection.execute("SELECT seq, note, at_ms, kind, body FROM entry WHERE kind = 'order'"))
        for seq, note, at_ms, kind, body in rows:
            crc = layout.crc_of((seq, note, at_ms, kind), bytes(body))
            connection.execute("UPDATE entry SET crc = ? WHERE seq = ? AND note = ?", (crc, seq, note))
    with pytest.raises(AuditError):
        verified(data)


def test_an_erased_body_cannot_be_guessed_from_its_digest(data: Path) -> None:
    """Two equal orders have different digests: each body carries a salt of its own."""
    with closing(JournalReader(data)) as reader:
        bodies = [row.body for row in layout.rows(reader.connection, 0) if getattr(row, "kind", "") == "order"]
    assert len({body.partition(b'"salt":"')[2] for body in bodies}) == len(bodies) == 2


def test_an_export_holds_all_of_it_and_nothing_of_others(data: Path) -> None:
    import msgspec

    customer = msgspec.json.encode(export(data, of_customer())).decode()
    assert all(text in customer for text in SECRETS)
    assert BEN.name not in customer
    driver = msgspec.json.encode(export(data, Subject("d-1"))).decode()
    assert "Driver Name 1" in driver
    assert str(AT_HOME.lat) in driver
    assert "Driver Name 2" not in driver
