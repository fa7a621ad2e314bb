"""F6: a process that runs out of file descriptors."""

import asyncio
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from tests.faults.clients import Dispatcher, Fleet, open_socket, until_cut
from tests.faults.conftest import Start
from tests.faults.evidence import Evidence
from tests.faults.invariants import check_all, lost_of

DESCRIPTORS = 128
CALLERS = 200
NEVER_S = 5.0
"""A caller that has no answer by then was left waiting."""
AGAIN_S = 10.0


@pytest.mark.timeout(60)
async def test_f06_without_descriptors_the_open_sockets_go_on_and_it_recovers(
    data: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    program = start(prefix=("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh"))
    desk = await Dispatcher().open(program.port)
    working = asyncio.create_task(until_cut(fleet.run(program.port)))
    await fleet.heard(lambda: len(fleet.highest) == len(fleet.drivers))

    found = await asyncio.gather(*(knock(program.port, fleet.token) for _ in range(CALLERS)))
    let_in = [socket for socket in found if socket is not None]
    assert 0 < len(let_in) < CALLERS, "nobody was turned away, so nothing ran out"
    said = len(fleet.acked.pings)
    await fleet.heard(lambda: len(fleet.acked.pings) > said + 200)
    assert (await desk.call("ready"))["body"] == {"journal_writable": True}
    assert (await desk.call("drivers", state=[], limit=5))["status"] == 200
    assert (await desk.call("counters"))["body"]["handshakes_turned_away_total"] > 0

    await asyncio.gather(*(socket.close() for socket in let_in))
    again_s = await until_let_in(program.port, fleet.token)
    assert await program.end() == 0, program.log()
    await working
    assert "Traceback" not in program.log()
    assert not fleet.nacks
    log = check_all(data, fleet.acked)
    evidence(
        f"callers of a process with {DESCRIPTORS} descriptors", CALLERS, let_in=len(let_in),
        seconds_to_recover=round(again_s, 1), lost=len(lost_of(log, fleet.acked)),
    )  # fmt: skip


@pytest.mark.timeout(60)
async def test_f06_callers_that_say_nothing_take_every_descriptor_and_are_dropped_again(
    data: Path, start: Start, fleet: Fleet
) -> None:
    """They are no sockets of drivers yet, so no cap on those holds them off."""
    program = start(prefix=("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh"))
    working = asyncio.create_task(until_cut(fleet.run(program.port)))
    await fleet.heard(lambda: len(fleet.highest) == len(fleet.drivers))
    silent = [await asyncio.open_connection("127.0.0.1", program.port) for _ in range(CALLERS)]
    said = len(fleet.acked.pings)
    await fleet.heard(lambda: len(fleet.acked.pings) > said + 200)
    assert len(list(Path(f"/proc/{program.running.pid}/fd").iterdir())) == DESCRIPTORS
    assert "Traceback" not in program.log()
    for _, writer in silent:
        writer.close()
    await until_let_in(program.port, fleet.token)
    assert await program.end() == 0, program.log()
    await working
    assert not fleet.nacks
    check_all(data, fleet.acked)


async def knock(port: int, token: str) -> ClientConnection | None:
    """A socket, or None when it was turned away or left waiting."""
    try:
        return await asyncio.wait_for(open_socket(port, "/v1/drivers", token), NEVER_S)
    except (OSError, TimeoutError, WebSocketException):
        return None


async def until_let_in(port: int, token: str) -> float:
    """Seconds until a caller is let in again."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < AGAIN_S:
        if (socket := await knock(port, token)) is not None:
            await socket.close()
            return time.monotonic() - began_s
        await asyncio.sleep(0.2)
    raise AssertionError("nobody is let in any more")
