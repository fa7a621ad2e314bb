"""F25 and F28: dashboards that are cut off and come back, and a server whose loop stands still."""

import asyncio
import json
import random
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from streamer.core.events import Tick
from streamer.edge import feed as feeding
from streamer.edge.accounts import Accounts
from streamer.edge.journal.contract import MemoryJournal
from streamer.edge.runner import Runner
from tests.builders import T0, a_ping, an_order
from tests.edge.floor_kit import SECRET, a_header, a_streamer
from tests.faults.clients import Dispatcher, Fleet, open_socket
from tests.faults.conftest import DRIVERS, Start
from tests.faults.evidence import Evidence
from tests.faults.invariants import check_all, lost_of
from tests.faults.program import Program
from tests.faults.scale import SCALE

# ---------------------------------------------------------------- F25: dashboards that come back

FRAME_S = 0.01
"""Fifty times the real rate of frames."""


class Screen:
    """A dashboard whose connection is cut again and again; it names what it holds, and gets the rest."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.frames: list[dict[str, Any]] = []
        self.held: dict[str, int] = {}
        """The newest frame of each mall."""
        self.snapshots = self.resumed = 0
        self._epoch = ""
        self._random = random.Random(seed)

    async def session(self, frames: int) -> None:
        """Connects, resumes, reads some frames, and is cut off in the middle of something."""
        async with open_socket(self.port, "/v1/link", SECRET) as socket:
            resuming = bool(self.held)
            await self._subscribe(socket)
            for number in range(frames):
                frame = await self._next(socket)
                self.resumed += number == 0 and resuming and frame["frame"] == "delta"
            if self._random.random() < 0.7:
                socket.transport.abort()

    async def _subscribe(self, socket: ClientConnection) -> None:
        wanted = {"call": "subscribe", "malls": [], "since": self.held, "epoch": self._epoch}
        await socket.send(json.dumps(wanted))

    async def _next(self, socket: ClientConnection) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if frame["frame"] == "snapshot":
            self.snapshots += 1
            self._epoch = frame["epoch"]
        self.held[frame["mall_id"]] = frame["seq"]
        self.frames.append(frame)
        return frame

    async def to_the_end(self, seq: int) -> None:
        """One last session, until this frame."""
        async with open_socket(self.port, "/v1/link", SECRET) as socket:
            await self._subscribe(socket)
            while self.frames[-1]["seq"] < seq:
                await self._next(socket)


async def something_happens(runner: Runner) -> None:
    """Pings, orders and ticks, without end."""
    at_ms = runner.engine.state.at_ms
    number = 1_000
    while True:
        number += 1
        at_ms += 1_000
        driver = f"d-{number % 4 + 1}"
        runner.submit(a_ping(driver, at_ms, north=0.00002 * (number % 100), seq=number), at_ms=at_ms)
        if number % 10 == 0:
            runner.submit(an_order(external_id=f"n-{number}", placed_ms=T0, due_ms=T0 + 7_200_000), at_ms=at_ms)
            runner.submit(Tick(), at_ms=at_ms)
        await asyncio.sleep(0.004)


def out_of_order(frames: Sequence[Mapping[str, Any]]) -> int:
    """How many deltas do not follow the frame before them of their mall: gaps and repeats."""
    last: dict[str, int] = {}
    wrong = 0
    for frame in frames:
        wrong += frame["frame"] == "delta" and frame["seq"] != last.get(frame["mall_id"], -1) + 1
        last[frame["mall_id"]] = frame["seq"]
    return wrong


@pytest.mark.timeout(60 + SCALE.resumes)
async def test_f25_a_dashboard_cut_off_at_any_moment_resumes_without_gap_or_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    monkeypatch.setattr(feeding, "FRAME_S", FRAME_S)
    rng = random.Random(25)
    async with a_streamer(MemoryJournal(a_header()), tmp_path) as streamer:
        happening = asyncio.create_task(something_happens(streamer.runner))
        screen, other = Screen(streamer.port, 1), Screen(streamer.port, 2)
        for _ in range(SCALE.resumes):
            await screen.session(rng.randrange(4))
            # Mostly a moment; now and then longer than the frames that are kept.
            away_s = (feeding.KEPT_FRAMES + 40) * FRAME_S if rng.random() < 0.02 else rng.random() * 0.05
            await asyncio.sleep(away_s)
        await other.session(3)
        happening.cancel()
        await asyncio.sleep(5 * FRAME_S)
        last = max(mall.seq for mall in streamer.feed._malls.values()) + 1
        for each in (screen, other):
            await each.to_the_end(last)
            check_all(streamer.runner.journal, state=streamer.runner.engine.state, frames=each.frames)
    assert screen.resumed > SCALE.resumes / 2, "a cut of a moment needs no snapshot"
    assert screen.snapshots < SCALE.resumes * 0.2
    evidence(
        "dashboards cut off and resumed", SCALE.resumes, out_of_order=out_of_order(screen.frames),
        frames=len(screen.frames), snapshots=screen.snapshots,
    )  # fmt: skip


# ---------------------------------------------------------------- F28: a loop that stands still

STALL_S = 2.0


@pytest.mark.timeout(60)
async def test_f28_a_loop_that_stands_still_throws_nobody_out_and_says_so(
    data: Path, start: Start, fleet: Fleet, evidence: Evidence
) -> None:
    program = start()
    accounts = Accounts(data)
    tokens = [accounts.mint_driver_token(driver, 0) for driver in DRIVERS[10:]]
    accounts.close()
    fleet.drivers = DRIVERS[:10]
    working = asyncio.create_task(fleet.run(program.port))
    dispatcher = await Dispatcher(fleet.acked).open(program.port)
    phones = [await open_socket(program.port, "/v1/drivers", token) for token in tokens]
    await fleet.heard(lambda: len(fleet.highest) == 10)
    opened, before = await sockets_of(dispatcher), dict(fleet.highest)
    assert worst_lag_s((await dispatcher.call("counters"))["body"]) < STALL_S / 2
    await stall(program)
    await fleet.heard(lambda: all(fleet.highest[driver] > before[driver] + 20 for driver in fleet.drivers))
    after = await sockets_of(dispatcher)
    lag_s = worst_lag_s((await dispatcher.call("counters"))["body"])
    assert (opened, after) == ((11, 0), (11, 0)), "sockets open, and closed"
    assert not fleet.nacks
    assert lag_s >= STALL_S / 2
    for phone in phones:
        await phone.close()
    await dispatcher.close()
    assert await program.end(signal.SIGTERM) == 0
    await working
    log = check_all(data, fleet.acked)
    evidence(
        "seconds the loop stood still", STALL_S, disconnected=after[1] - opened[1], lost=len(lost_of(log, fleet.acked)),
        lag_counted_at_least_s=lag_s,
    )  # fmt: skip


async def stall(program: Program) -> None:
    """Nothing of the program runs for a while."""
    program.send(signal.SIGSTOP)
    await asyncio.sleep(STALL_S)
    program.send(signal.SIGCONT)


async def sockets_of(dispatcher: Dispatcher) -> tuple[int, int]:
    """How many driver sockets are open, and how many were closed, by the server's own count."""
    counters = (await dispatcher.call("counters"))["body"]
    closed = sum(count for name, count in counters.items() if name.startswith("sockets_closed_total"))
    return counters["sockets_open"], closed


def worst_lag_s(counters: dict[str, Any]) -> float:
    """What the slowest beat counted was later than."""
    lag = counters["loop_lag_seconds"]
    slowest = max(number for number, count in enumerate(lag["counts"]) if count)
    return float(([0.0, *lag["bounds"]])[slowest])
