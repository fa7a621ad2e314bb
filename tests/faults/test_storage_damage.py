"""F3 and F4: a journal whose bytes were changed or cut, and a disk that does not take a sync."""

import asyncio
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from streamer.core.engine import Engine
from streamer.core.errors import MallardError, StorageError
from streamer.core.events import DriverRegistered, Output
from streamer.core.snapshot import load_state, state_hash
from streamer.edge.clock import ManualClock
from streamer.edge.journal import store
from streamer.edge.journal.contract import JournalDamagedError
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from tests.builders import T0, a_floor
from tests.edge.floor_kit import a_header
from tests.faults.broken_disk import SYNCS, TRIGGER
from tests.faults.clients import Fleet, until_cut
from tests.faults.conftest import Start
from tests.faults.evidence import Evidence
from tests.faults.history import History, a_history, batches
from tests.faults.invariants import Acked, check_all, lost_of
from tests.faults.power import a_power_disk
from tests.faults.scale import SCALE

KIB = 1024
LONG = SCALE.kill_cycles > 10
STEPS = {"journal.db": KIB if LONG else 5 * KIB, "journal.db-wal": KIB if LONG else 40 * KIB}
Harm = Literal["cut", "flipped"]
Fate = Literal["whole", "reported", "refused"]


@pytest.fixture(scope="module")
def history() -> History:
    return a_history(seed=7, rounds=150)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, history: History) -> Path:
    """The files of a journal in use: some of it checkpointed, the rest in the -wal."""
    folder = tmp_path_factory.mktemp("written")
    journal = SqliteJournal(folder / "live", a_header())
    journal.start(lambda _ticket: None, lambda _error: None)
    groups = list(batches(history, random.Random(7)))
    checkpointed = 2 * len(groups) // 3
    with pytest.MonkeyPatch.context() as patch:
        for number, group in enumerate(groups):
            patch.setattr(store, "CHECKPOINT_PAGES", 20 if number < checkpointed else 100_000)
            for record in group:
                journal.append(record)
            journal.flush()
        shutil.copytree(folder / "live", folder / "copy")
    journal.close()
    return folder / "copy"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("harm", ["cut", "flipped"])
@pytest.mark.parametrize("name", list(STEPS))
def test_f03_damage_anywhere_is_reported_and_never_served(
    written: Path, tmp_path: Path, history: History, harm: Harm, name: str, evidence: Evidence
) -> None:
    size = (written / name).stat().st_size
    assert size > 64 * KIB
    fates: Counter[Fate] = Counter()
    for offset in range(0, size, STEPS[name]):
        folder = tmp_path / "harmed"
        shutil.copytree(written, folder)
        (folder / "journal.db-shm").unlink(missing_ok=True)
        hurt(folder / name, offset, harm)
        try:
            fates[opened(folder, history)] += 1
        except AssertionError as error:
            error.add_note(f"{name} {harm} at {offset}")
            raise
        shutil.rmtree(folder)
    assert fates["reported"] + fates["refused"] > 0
    evidence(
        f"{name} {harm} at every {STEPS[name] // KIB} KiB", fates.total(),
        whole=fates["whole"], reported=fates["reported"], refused=fates["refused"],
    )  # fmt: skip


def hurt(path: Path, offset: int, harm: Harm) -> None:
    """Cut a file off, or flip one bit of it."""
    with path.open("r+b") as file:
        if harm == "cut":
            file.truncate(offset)
            return
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def opened(folder: Path, history: History) -> Fate:
    """Open it as a server does; what is served has to be a prefix of what was written, and a shorter one reported."""
    try:
        journal = SqliteJournal(folder, a_header())
    except MallardError:
        return "refused"
    try:
        engine = recover(journal).engine
        seq = engine.state.seq
        assert journal.header.malls == a_header().malls, "served other malls"
        assert seq == 0 or engine.hash() == hash_of(history, seq), "served a state that never was"
        assert journal.cut is not None or seq == history.entries[-1].seq, "served less, without a word"
        try:
            served = list(journal.entries())
        except JournalDamagedError:
            return "reported"
        assert served == history.entries[:seq], "read back what was not written"
        return "whole" if journal.cut is None else "reported"
    except MallardError:
        return "refused"
    finally:
        journal.close()


def hash_of(history: History, seq: int) -> str:
    return state_hash(load_state(history.dumps[seq - 1]))


async def test_f04_nothing_is_answered_or_tried_again_after_a_failed_sync(tmp_path: Path) -> None:
    with a_power_disk() as disk:
        journal = SqliteJournal(tmp_path / "data", a_header(), disk.name)
        runner = Runner(Engine(a_floor()), journal, ManualClock(T0))
        await runner.start()
        await runner.ask(DriverRegistered("d-1"))
        answered: list[Output] = []
        disk.failing_sync = 0
        runner.submit(DriverRegistered("d-2"), answered.extend)
        await asyncio.wait_for(runner.broken.wait(), 5)
        tried = disk.syncs
        runner.submit(DriverRegistered("d-3"), answered.extend)
        await asyncio.sleep(0.1)
        await runner.stop()
        assert not answered
        assert isinstance(runner.fault, StorageError)
        assert disk.syncs == tried, "a sync was tried again, and may have lied"
    engine = recover(SqliteJournal(tmp_path / "data", a_header())).engine
    assert "d-1" in engine.state.drivers


async def test_f04_a_streamer_whose_sync_fails_ends_at_once_and_acknowledges_nothing_more(
    data: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    program = start(module="tests.faults.broken_disk")
    working = asyncio.create_task(until_cut(fleet.run(program.port)))
    await fleet.heard(lambda: len(fleet.acked.pings) > 50)
    durable_before = Acked(pings=set(fleet.acked.pings))
    (data / TRIGGER).touch()
    code = await asyncio.to_thread(program.wait, 10)
    await working
    assert code == 1, program.log()
    last_line = program.log().splitlines()[-1]
    assert "journal" in last_line
    assert "EIO" in last_line
    assert "Traceback" not in program.log()
    assert len((data / SYNCS).read_text().splitlines()) == 1, "a sync was tried again"
    (data / TRIGGER).unlink()
    log = check_all(data, fleet.acked, nacks=fleet.nacks)
    assert durable_before.pings <= fleet.acked.pings
    evidence("acknowledged when a sync fails", len(fleet.acked.pings), lost=len(lost_of(log, fleet.acked)))


async def test_f04_a_stop_whose_last_sync_fails_ends_with_1_and_one_line(
    data: Path, start: Start, fleet: Fleet
) -> None:
    program = start(module="tests.faults.broken_disk")
    working = asyncio.create_task(until_cut(fleet.run(program.port)))
    await fleet.heard(lambda: len(fleet.acked.pings) > 50)
    (data / TRIGGER).touch()
    assert await program.end(signal.SIGTERM, 10) == 1
    await working
    log = program.log()
    assert "Traceback" not in log
    assert "EIO" in log.splitlines()[-1]


def test_f04_the_files_are_left_as_the_failed_sync_left_them(tmp_path: Path) -> None:
    """Closing must not checkpoint: that would sync again, and believe it."""
    with a_power_disk() as disk:
        journal = SqliteJournal(tmp_path / "data", a_header(), disk.name)
        journal.start(lambda _ticket: None, lambda _error: None)
        disk.failing_sync = 0
        for group in batches(a_history(seed=1, rounds=2), random.Random(1)):
            for record in group:
                journal.append(record)
        with pytest.raises(StorageError):
            journal.flush()
        tried = disk.operations
        journal.close()
        assert disk.operations == tried
