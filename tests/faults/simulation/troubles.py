"""What goes wrong in a world, and when: crashes, restarts, disks, clocks and cables, as the seed has it.

It must not know what is checked, nor who is right.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from streamer.core.errors import StorageError
from tests.faults.simulation.network import HARD_LOSS, Cable

if TYPE_CHECKING:
    from tests.faults.simulation.server import Server
    from tests.faults.simulation.world import World


class Troubles:
    """Everything that can happen to a world."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def plan(self, troubled_s: float) -> None:
        rng = self.world.rng
        troubles: list[tuple[Callable[[], None], int]] = [
            (self.crash, rng.randint(0, 4)), (self.restart, rng.randint(0, 1)), (self.fill_disk, rng.randint(0, 2)),
            (self.break_disk, rng.randint(0, 1)), (self.slow_disk, rng.randint(0, 3)),
            (self.set_clock, rng.randint(0, 2)), (self.cut_some, rng.randint(0, 12)), (self.cut_all, rng.randint(0, 1)),
            (self.cut_screen, rng.randint(0, 6)),
        ]  # fmt: skip
        for trouble, times in troubles:
            for _ in range(times):
                self.world.loop.call_later(rng.uniform(0.5, troubled_s - 1.0), trouble)

    def crash(self) -> None:
        server = self.world.server
        if server is None:
            return
        self.world.server = None
        self.world.crashes += 1
        is_power = self.world.rng.random() < 0.5
        self.world.note("crash", "power" if is_power else "kill")
        server.crash()
        self.world.disk.breaks = False
        for dashboard in self.world.dashboards:
            dashboard.cut()
        for end in server.ends:
            # After a kill the kernel says goodbye behind what was said; after a power cut nobody does.
            cable = end.cable
            if is_power:
                cable.cut()
            else:
                cable.down.carry(lambda cable=cable: cable.over(HARD_LOSS))  # type: ignore[misc]
        self.world.loop.call_later(self.world.rng.uniform(0.1, 3.0), self.world.boot)

    def restart(self) -> None:
        server = self.world.server
        if server is not None:
            self.world.note("restart")
            self.world.loop.create_task(self.stop(server))

    async def stop(self, server: Server) -> None:
        # A disk that fills up meanwhile: the program ends with an error, and what waited was not acknowledged.
        with suppress(StorageError):
            await server.stop()
        if self.world.server is server:
            self.crash()

    def fill_disk(self) -> None:
        self.world.note("disk full")
        self.world.disk.is_full = True
        self.world.loop.call_later(self.world.rng.uniform(0.1, 4.0), self.free_disk)

    def free_disk(self) -> None:
        self.world.note("disk free")
        self.world.disk.is_full = False

    def break_disk(self) -> None:
        self.world.note("disk breaks")
        self.world.disk.breaks = True

    def slow_disk(self) -> None:
        self.world.disk.slow_s = self.world.rng.choice((0.005, 0.03, 0.1, 0.4, 1.0))
        self.world.note("disk", self.world.disk.slow_s)

    def set_clock(self) -> None:
        self.world.clock.wrong_ms = self.world.rng.choice((-3_600_000, 3_600_000, -5_000, 20_000, 0))
        self.world.note("clock", self.world.clock.wrong_ms)

    def cut_some(self) -> None:
        open_ones = [cable for cable in self.world.cables if not cable.is_over]
        if open_ones:
            self.world.note("cut")
            self.world.rng.choice(open_ones).cut()

    def cut_all(self) -> None:
        self.world.note("cut all")
        for cable in [cable for cable in self.world.cables if not cable.is_over]:
            cable.cut()

    def cut_screen(self) -> None:
        self.world.rng.choice(self.world.dashboards).cut()
