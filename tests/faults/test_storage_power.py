"""F2: power cuts at any moment of writing, to a journal at FULL; and at NORMAL, which must lose what it promised."""

import random
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from msgspec import Struct

from streamer.core.errors import StorageError
from streamer.core.snapshot import load_state, state_hash
from streamer.edge.journal import database, store
from streamer.edge.journal.contract import Entry, Note, PingRun, Record
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from tests.edge.floor_kit import a_header
from tests.faults.evidence import Evidence
from tests.faults.history import History, a_history, batches
from tests.faults.invariants import check_all
from tests.faults.power import a_power_disk
from tests.faults.scale import SCALE

CONTROL_SHARE = 0.2
"""At NORMAL at least so many of the cuts have to lose acknowledged records, or this test sees nothing."""


class Cut(Struct):
    """What one power cut left: of what was acknowledged, and of what was found afterwards."""

    acked_inputs: int = 0
    acked_notes: int = 0
    found_inputs: int = 0
    found_notes: int = 0
    sound: bool = True
    """SQLite's own check of the file."""
    noticed: bool = False
    """The journal itself said that its tail is missing."""
    retained: bool = False
    """Some pings were past their retention already."""

    @property
    def lost(self) -> int:
        return max(0, self.acked_inputs - self.found_inputs) + max(0, self.acked_notes - self.found_notes)


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [a_history(seed) for seed in range(4)]


@pytest.mark.timeout(60 + SCALE.power_cuts)
def test_f02_a_power_cut_loses_nothing_acknowledged(
    tmp_path: Path, histories: list[History], monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    cuts = [one_cut(tmp_path / str(seed), histories, seed, monkeypatch) for seed in range(SCALE.power_cuts)]
    assert not [seed for seed, cut in enumerate(cuts) if cut.lost], "acknowledged and lost"
    assert not [seed for seed, cut in enumerate(cuts) if cut.noticed], "the journal missed what never was committed"
    assert all(cut.sound for cut in cuts), "a journal is corrupt"
    in_flight = sum(
        cut.found_inputs < histories[seed % len(histories)].entries[-1].seq for seed, cut in enumerate(cuts)
    )
    assert in_flight > len(cuts) // 2, "the power was mostly cut when all was written"
    assert any(cut.retained for cut in cuts)
    evidence(
        "power cuts", len(cuts), lost=sum(cut.lost for cut in cuts), corrupt=sum(not cut.sound for cut in cuts),
        acknowledged=sum(cut.acked_inputs for cut in cuts),
    )  # fmt: skip


@pytest.mark.timeout(60 + SCALE.power_cuts)
def test_f02_the_same_cuts_at_normal_lose_acknowledged_inputs(
    tmp_path: Path, histories: list[History], monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    """The negative control: without it, a disk that never loses anything would prove the promise, too."""
    monkeypatch.setitem(database.JOURNAL_PRAGMAS, "synchronous", ("normal", 1))
    seeds = max(20, SCALE.power_cuts // 10)
    cuts = [one_cut(tmp_path / str(seed), histories, seed, monkeypatch) for seed in range(seeds)]
    losers = sum(cut.lost > 0 for cut in cuts)
    assert losers > CONTROL_SHARE * seeds
    evidence("control: power cuts at NORMAL", seeds, that_lost=losers, records_lost=sum(cut.lost for cut in cuts))


def one_cut(folder: Path, histories: list[History], seed: int, monkeypatch: pytest.MonkeyPatch) -> Cut:
    """Write a history, cut the power at a random moment of it, and see what a journal opened afterwards has."""
    draw = random.Random(seed)
    history = histories[seed % len(histories)]
    monkeypatch.setattr(store, "CHECKPOINT_PAGES", draw.choice([4, 30, 1000]))
    cut = write_until_cut(folder / "before", history, draw, retention_days=draw.choice([None, 1]))
    try:
        if draw.random() < 0.3:
            open_until_cut(folder, draw)
        check_after(folder / "after", history, cut)
    except Exception as error:
        error.add_note(f"after the power cut of seed {seed}")
        raise
    return cut


def write_until_cut(folder: Path, history: History, draw: random.Random, retention_days: int | None) -> Cut:
    """Append batches as a runner does; leaves what the platter held in the folder `after`."""
    durable: list[int] = [0]
    records: list[Record] = []
    with a_power_disk(draw.randrange(1 << 30)) as disk:
        journal = SqliteJournal(folder, a_header(), disk.name, retention_days)
        journal.start(lambda ticket: durable.append(ticket) if disk.image is None else None, lambda _error: None)
        groups = list(batches(history, draw))
        moment = draw.randrange(len(groups))
        for number, group in enumerate(groups):
            if number == moment:
                disk.cut_after(draw.randrange(60))
            records += group
            for record in group:
                journal.append(record)
            try:
                if draw.random() < 0.7:
                    journal.flush()
            except StorageError:
                break
        marks = (folder / "journal.mark").read_bytes()
        acked = records[: durable[-1]] if disk.image is not None else []
        close_quietly(journal)
        image = disk.cut()
    if not acked:
        acked = records[: durable[-1]]
    restore(folder.parent / "after", image, marks if draw.random() < 0.5 else b"")
    return Cut(inputs_of(acked), sum(isinstance(record, Note) for record in acked))


def open_until_cut(folder: Path, draw: random.Random) -> None:
    """Cut the power once more, while the journal is being opened again."""
    with a_power_disk(draw.randrange(1 << 30)) as disk:
        disk.cut_after(draw.randrange(40))
        with suppress(StorageError):
            close_quietly(SqliteJournal(folder / "after", a_header(), disk.name))
        image = disk.cut()
    marks = (folder / "after" / "journal.mark").read_bytes()
    restore(folder / "after", image, marks)


def restore(folder: Path, image: dict[str, bytes], mark: bytes) -> None:
    """A folder as it is found after the cut. What SQLite only shares between programs is gone."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in {**image, "journal.mark": mark}.items():
        if not name.endswith("-shm"):
            (folder / name).write_bytes(content)


def check_after(folder: Path, history: History, cut: Cut) -> None:
    """Open it as a server does: whole, verified, and a prefix of what was written."""
    journal = SqliteJournal(folder, a_header())
    try:
        cut.noticed = journal.cut is not None
        recovered = recover(journal)
        cut.found_inputs = recovered.engine.state.seq
        if cut.found_inputs == 0:
            return
        assert recovered.engine.hash() == state_hash_of(history, cut.found_inputs)
        log = check_all(journal, state=recovered.engine.state)
        assert log.entries == history.entries[cut.found_inputs - len(log.entries) : cut.found_inputs]
        cut.retained = len(log.entries) < cut.found_inputs
    finally:
        journal.close()
    connection = apsw.Connection(str(folder / "journal.db"))
    cut.sound = connection.pragma("integrity_check") == "ok"
    ((cut.found_notes,),) = connection.execute("SELECT count(*) FROM entry WHERE note > 0 AND kind = 'login'")
    connection.close()


def state_hash_of(history: History, seq: int) -> str:
    """The hash of the state after `seq`, as the engine that lived it had it."""
    return state_hash(load_state(history.dumps[seq - 1]))


def inputs_of(records: list[Record]) -> int:
    """The last sequence number among records."""
    for record in reversed(records):
        if isinstance(record, Entry):
            return record.seq
        if isinstance(record, PingRun):
            return record.last_seq
    return 0


def close_quietly(journal: SqliteJournal) -> None:
    """Close a journal whose disk may be gone."""
    with suppress(apsw.Error, OSError):
        journal.close()
