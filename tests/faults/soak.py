"""A floor under steady load, and how much memory it comes to need: `python -m tests.faults.soak --minutes 30`.

It must not know the server's code: it talks to its sockets, and asks the system how large it is.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct

from streamer.edge.accounts import Accounts
from tests.faults.clients import Dispatcher, Fleet, an_order_body, open_socket, until_cut
from tests.faults.invariants import check_all
from tests.faults.program import SECRET, Program

DRIVERS = 200
LONG_S = 600.0
PING_S, HURRIED_PING_S = 1.0, 0.1
"""Every driver pings once a second; in a short soak ten times, for the database's page cache to be full half-way."""
ORDERS_AT_ONCE = 60
ORDER_S = 0.25
READERS = 8
LONGEST_STAY = 12
"""Frames; the allocator has found its size after the first thousand connections, which should be half-way too."""
SAMPLE_S = 1.0
WARM_UP = 0.5
"""The share of the run after which memory has to be level: caches and rings are full by then."""
KIB_AN_ORDER = 16.0
"""An order that ended stays in memory for 36 hours, with its history, commands and keys, by design: some 10 KiB."""
NOISE_MIB = 4.0
"""What an allocator may keep or give back within minutes, whatever a program does."""


class Sample(Struct):
    """How large the program was at an instant, and how many orders it had been given."""

    at_s: float
    mib: float
    orders: int


class Outcome(Struct):
    """What a soak came to."""

    seconds: float
    samples: list[Sample]
    pings: int
    orders: int
    frames: int
    reconnects: int

    @property
    def level(self) -> list[Sample]:
        """The samples after the warm-up."""
        return [sample for sample in self.samples if sample.at_s >= WARM_UP * self.seconds]

    @property
    def slope_mib_an_hour(self) -> float:
        """The least-squares slope of memory after the warm-up."""
        count = len(self.level)
        mean_s = sum(sample.at_s for sample in self.level) / count
        mean_mib = sum(sample.mib for sample in self.level) / count
        spread = sum((sample.at_s - mean_s) ** 2 for sample in self.level)
        return 3600 * sum((sample.at_s - mean_s) * (sample.mib - mean_mib) for sample in self.level) / spread

    @property
    def grew_mib(self) -> float:
        """The slope, over the time it was measured in."""
        return self.slope_mib_an_hour * (self.level[-1].at_s - self.level[0].at_s) / 3600

    @property
    def bound_mib(self) -> float:
        """How much it may have grown."""
        return NOISE_MIB + KIB_AN_ORDER * (self.level[-1].orders - self.level[0].orders) / 1024

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s: {self.pings:,} pings acknowledged, {self.orders:,} orders carried out, "
            f"{self.frames:,} frames read over {self.reconnects:,} connections; memory {self.level[0].mib:.1f} MiB "
            f"after the warm-up, {self.level[-1].mib:.1f} at the end, slope {self.slope_mib_an_hour:+.1f} MiB/h, that "
            f"is {self.grew_mib:+.2f} MiB, allowed {self.bound_mib:.1f}"
        )


class Soak:
    """One floor, its fleet, its dispatcher and its dashboards."""

    def __init__(self, program: Program, fleet: Fleet, seconds: float, seed: int = 30) -> None:
        self.program, self.fleet, self.seconds = program, fleet, seconds
        self.orders = self.frames = self.reconnects = 0
        self._random = random.Random(seed)
        self._dispatcher = Dispatcher(fleet.acked)

    async def run(self, progress: Callable[[float, float], None] = lambda _seconds, _mib: None) -> Outcome:
        """Load it for so long; `progress` gets the seconds and the MiB of each sample."""
        await self._dispatcher.open(self.program.port)
        pace_s = PING_S if self.seconds >= LONG_S else HURRIED_PING_S
        work = [self.fleet.run(self.program.port, pace_s), self._dispatch(), *(self._read() for _ in range(READERS))]
        tasks = [asyncio.create_task(each) for each in work]
        samples = await self._sample(tasks, progress)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        await self._dispatcher.close()
        assert await self.program.end(signal.SIGTERM) == 0, self.program.log()
        await tasks[0]
        return Outcome(self.seconds, samples, len(self.fleet.acked.pings), self.orders, self.frames, self.reconnects)

    async def _sample(self, tasks: list[asyncio.Task[None]], progress: Callable[[float, float], None]) -> list[Sample]:
        samples: list[Sample] = []
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < self.seconds:
            await asyncio.sleep(SAMPLE_S)
            for task in tasks:
                if task.done():
                    raise AssertionError(f"the load ended before the soak: {task!r}; {self.program.log()[-2_000:]}")
            samples.append(Sample(passed_s, memory_mib(self.program), self.orders))
            progress(passed_s, samples[-1].mib)
        return samples

    async def _dispatch(self) -> None:
        """Orders are placed, given to a driver, then to another, and cancelled in the end."""
        waiting: list[str] = []
        number = 0
        while True:
            number += 1
            placed = await self._dispatcher.call("place", order=an_order_body(f"soak-{number}"), key=f"k-{number}")
            waiting.append(placed["body"]["id"])
            version = placed["body"]["version"]
            for action in ("assign", "reassign"):
                driver = self._random.choice(self.fleet.drivers)
                given = await self._command(action, waiting[-1], version, driver)
                version = given["body"]["version"] if given["status"] == 200 else version
            if len(waiting) > ORDERS_AT_ONCE:
                await self._cancel(waiting.pop(0))
            self.orders += 1
            await asyncio.sleep(ORDER_S)

    async def _command(self, action: str, order_id: str, version: int, driver: str | None = None) -> dict[str, Any]:
        named = {} if driver is None else {"driver_id": driver}
        return await self._dispatcher.call(
            "command", action=action, order_id=order_id, expected_version=version, **named
        )

    async def _cancel(self, order_id: str) -> None:
        shown = await self._dispatcher.call("order", order_id=order_id)
        assert (await self._command("cancel", order_id, shown["body"]["version"]))["status"] == 200

    async def _read(self) -> None:
        """A dashboard that stays for some frames, goes, and comes back."""
        while True:
            async with open_socket(self.program.port, "/v1/link", SECRET) as socket:
                self.reconnects += 1
                await socket.send(json.dumps({"call": "subscribe", "malls": [], "since": {}, "epoch": ""}))
                for _ in range(self._random.randrange(1, LONGEST_STAY)):
                    await until_cut(self._count(socket))
                if self._random.random() < 0.5:
                    socket.transport.abort()

    async def _count(self, socket: Any) -> None:
        await socket.recv()
        self.frames += 1


def memory_mib(program: Program) -> float:
    """The program's resident memory now."""
    status = Path(f"/proc/{program.running.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def soak(directory: Path, seconds: float, progress: Callable[[float, float], None]) -> Outcome:
    """Start a floor in a directory, load it, stop it, and check that nothing acknowledged is missing."""
    data = directory / "data"
    accounts = Accounts(data)
    drivers = [f"d-{number}" for number in range(DRIVERS)]
    for driver in drivers:
        accounts.register_driver(driver)
    token = accounts.mint_gateway_token("fleet", (), 0)
    accounts.close()
    fleet = Fleet(token, drivers)
    with Program(data) as program:
        outcome = await Soak(program, fleet, seconds).run(progress)
        assert "Traceback" not in program.log()
    check_all(data, fleet.acked, nacks=fleet.nacks)
    assert not fleet.nacks, fleet.nacks[:3]
    return outcome


def main() -> int:
    """The soak as a program: a line now and then, the outcome at the end, 1 when memory grew beyond its bound."""
    parser = argparse.ArgumentParser(description="load a real streamer and watch its memory")
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes: float = parser.parse_args().minutes

    def progress(seconds: float, mib: float) -> None:
        if int(seconds) % 60 == 0:
            print(f"{seconds:6.0f} s  {mib:7.1f} MiB", flush=True)

    with tempfile.TemporaryDirectory() as directory:
        outcome = asyncio.run(soak(Path(directory), minutes * 60, progress))
    print(outcome)
    return int(outcome.grew_mib > outcome.bound_mib)


if __name__ == "__main__":
    sys.exit(main())
