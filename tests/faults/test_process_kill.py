"""F1 and F29: a real streamer under load, killed or told to stop."""

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from tests.edge.floor_kit import a_header
from tests.faults.clients import Dispatcher, Fleet
from tests.faults.conftest import Start
from tests.faults.evidence import Evidence
from tests.faults.invariants import Acked, Log, check_all
from tests.faults.scale import SCALE

STOP_S = 5.0
GRACE_S = 1.0
"""On top of the promise: starting and ending a process on a busy machine."""


@pytest.mark.timeout(60 + 10 * SCALE.kill_cycles)
async def test_f01_kill_9_under_load_loses_nothing_acknowledged(
    data: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    moments = random.Random(1)
    books, recovered_ms = Books(fleet.acked), []
    log: Log | None = None
    for _ in range(SCALE.kill_cycles):
        program = start()
        working = asyncio.create_task(under_load(program.port, fleet, books))
        # There is at most one ack a second for a driver, so a cycle has to be longer to have a second one.
        await asyncio.sleep(1.05 + moments.random() * 0.5)
        await program.end(signal.SIGKILL)
        await working
        before_s = time.perf_counter()
        log = check_all(data, fleet.acked, nacks=fleet.nacks)
        recovered_ms.append((time.perf_counter() - before_s) * 1000)
    assert log is not None
    assert not fleet.nacks
    assert min(fleet.highest.values()) > 20 * SCALE.kill_cycles, "too little was acknowledged to prove anything"
    assert len(books.held) > 5 * SCALE.kill_cycles
    check_restart(await stopped(start), data, books)
    evidence(
        "kill -9 cycles", SCALE.kill_cycles, lost=0, acknowledged_pings=len(fleet.acked.pings),
        acknowledged_commands=len(fleet.acked.commands) + len(fleet.acked.orders), inputs=len(log.entries),
    )  # fmt: skip


@pytest.mark.timeout(60)
async def test_f29_a_stop_under_load_drains_says_goodbye_and_exits_with_0(
    data: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    books = Books(fleet.acked)
    program = start()
    working = asyncio.create_task(under_load(program.port, fleet, books))
    await asyncio.sleep(1.5)
    began_s = time.monotonic()
    assert await program.end(signal.SIGTERM) == 0, program.log()
    took_s = time.monotonic() - began_s
    await working
    assert took_s < STOP_S + GRACE_S
    assert fleet.closed in ([1001], [1012])
    assert "Traceback" not in program.log()
    check_all(data, fleet.acked, nacks=fleet.nacks)
    check_restart(0, data, books)
    evidence("SIGTERM under load, seconds to exit 0", round(took_s, 2), lost=0)


class Books:
    """What dispatchers were answered, over all restarts."""

    def __init__(self, acked: Acked) -> None:
        self.acked = acked
        self.held: set[str] = set()


async def under_load(port: int, fleet: Fleet, books: Books) -> None:
    """A fleet and two dispatchers at work until the streamer goes away."""
    desks = [await Dispatcher(books.acked).open(port) for _ in range(2)]
    await asyncio.gather(fleet.run(port), *(desk.place_and_hold() for desk in desks))
    for desk in desks:
        await desk.close()
        books.held |= desk.held


async def stopped(start: Start) -> int:
    """The exit code of one more run that is stopped in order."""
    return await start().end(signal.SIGTERM)


def check_restart(code: int, data: Path, books: Books) -> None:
    """After an orderly stop nothing needs replaying, and what was answered is in the state."""
    assert code == 0
    journal = SqliteJournal(data, a_header())
    quick, full = recover(journal), recover(journal, use_snapshots=False)
    journal.close()
    assert quick.replayed == 0, "an orderly stop leaves a snapshot of everything"
    assert quick.engine.hash() == full.engine.hash()
    state = full.engine.state
    assert books.acked.orders <= set(state.orders)
    assert all(state.orders[order_id].held for order_id in books.held)
