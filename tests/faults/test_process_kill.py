"""F1 and F29: a real streamer under load, killed or told to stop."""

import asyncio
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from tests.edge.floor_kit import a_header
from tests.faults.clients import Dispatcher, Fleet
from tests.faults.conftest import Start, a_data_folder, a_fleet
from tests.faults.evidence import Evidence
from tests.faults.invariants import Acked, check_all, i1_acknowledged_exactly_once, i2_seq_has_no_gap, lost_of, read_log
from tests.faults.scale import SCALE

CYCLES_A_JOURNAL = 20
"""Then a fresh one: each cycle reads all of it."""
YOUNG = 0.2
"""Before so many lives comes one that ends while it starts: recovery itself is killed."""
STOP_S = 5.0
GRACE_S = 1.0
"""On top of the promise: ending a process on a busy machine."""


class Crew:
    """A fleet and two dispatchers, over all restarts of one floor; their books are one."""

    def __init__(self, folder: Path) -> None:
        self.acked = Acked()
        self.fleet: Fleet = a_fleet(folder, self.acked)
        self.held: set[str] = set()
        self.unknown: list[tuple[str, dict[str, Any]]] = []

    async def work(self, port: int) -> None:
        """Until the streamer goes away; whatever was left unanswered last time comes first."""
        desks = [await Dispatcher(self.acked).open(port) for _ in range(2)]
        again, self.unknown = self.unknown, []
        await asyncio.gather(self.fleet.run(port), *(self._dispatch(desk, again) for desk in desks))

    async def _dispatch(self, desk: Dispatcher, unknown: list[tuple[str, dict[str, Any]]]) -> None:
        # Both repeat everything: two with the same key at once are still one.
        await desk.ask_again_until_cut(unknown)
        await desk.place_and_hold()
        await desk.close()
        self.unknown += desk.unknown
        self.held |= desk.held


@pytest.mark.timeout(60 + 10 * SCALE.kill_cycles)
async def test_f01_kill_9_under_load_loses_nothing_acknowledged(
    tmp_path: Path, start: Start, evidence: Evidence
) -> None:
    moments, cycles, acknowledged, commands, lost = random.Random(1), 0, 0, 0, 0
    while cycles < SCALE.kill_cycles:
        folder = a_data_folder(tmp_path / f"floor-{cycles}")
        crew = Crew(folder)
        for _ in range(min(CYCLES_A_JOURNAL, SCALE.kill_cycles - cycles)):
            await one_life(start, folder, crew, moments)
            cycles += 1
        program = start(folder=folder)
        assert await program.end(signal.SIGTERM) == 0, program.log()
        lost += len(lost_of(check_all(folder, crew.acked, nacks=crew.fleet.nacks), crew.acked))
        check_restart(folder, crew)
        acknowledged += len(crew.acked.pings)
        commands += len(crew.acked.commands)
    assert acknowledged > 200 * cycles, "too little was acknowledged to prove anything"
    assert commands > 10 * cycles
    evidence(
        "kill -9 cycles", cycles, lost=lost, acknowledged_pings=acknowledged, acknowledged_commands=commands
    )  # fmt: skip


async def one_life(start: Start, folder: Path, crew: Crew, moments: random.Random) -> None:
    """Start, work, die at a random moment; then what was acknowledged is on the disk, once."""
    if moments.random() < YOUNG:
        newborn = start(folder=folder, ready=False)
        await asyncio.sleep(0.2 + moments.random() * 0.6)
        await newborn.end(signal.SIGKILL)
    program = start(folder=folder)
    working = asyncio.create_task(crew.work(program.port))
    # There is at most one ack a second for a driver, so that a life has to be longer to have a second one.
    await asyncio.sleep(1.0 + moments.random() * 0.5)
    await program.end(signal.SIGKILL)
    await working
    log = read_log(folder)
    i1_acknowledged_exactly_once(log, crew.acked)
    i2_seq_has_no_gap(log)
    assert not crew.fleet.nacks, crew.fleet.nacks[0]


@pytest.mark.timeout(60)
async def test_f29_a_stop_under_load_drains_says_goodbye_and_exits_with_0(
    data: Path, start: Start, evidence: Evidence
) -> None:
    crew = Crew(data)
    program = start()
    working = asyncio.create_task(crew.work(program.port))
    await asyncio.sleep(1.5)
    began_s = time.monotonic()
    assert await program.end(signal.SIGTERM) == 0, program.log()
    took_s = time.monotonic() - began_s
    await working
    assert took_s < STOP_S + GRACE_S
    assert crew.fleet.closed in ([1001], [1012])
    assert "Traceback" not in program.log()
    assert len(crew.acked.pings) > 100
    log = check_all(data, crew.acked, nacks=crew.fleet.nacks)
    check_restart(data, crew)
    evidence("SIGTERM under load, seconds to exit 0", round(took_s, 2), lost=len(lost_of(log, crew.acked)))


def check_restart(folder: Path, crew: Crew) -> None:
    """After an orderly stop nothing needs replaying, and what was answered is in the state."""
    journal = SqliteJournal(folder, a_header())
    quick, full = recover(journal), recover(journal, use_snapshots=False)
    journal.close()
    assert quick.replayed == 0, "an orderly stop leaves a snapshot of everything"
    assert quick.engine.hash() == full.engine.hash()
    state = full.engine.state
    assert crew.acked.orders <= set(state.orders)
    assert crew.held
    assert all(state.orders[order_id].held for order_id in crew.held)
