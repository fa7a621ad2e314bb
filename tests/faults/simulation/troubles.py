"""What goes wrong in a world, and when: crashes, restarts, disks, clocks and cables, as the seed has it.

It must not know what is checked, nor who is right.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
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
        """Decide what will happen within so many seconds."""
        rng = self.world.rng
        plan: list[tuple[Callable[[], None], int]] = [
            (self.crash, 4), (self.restart, 1), (self.fill_disk, 2), (self.break_disk, 1), (self.slow_disk, 3),
            (self.set_clock, 2), (self.cut_one, 12), (self.cut_all, 1), (self.cut_screen, 6),
        ]  # fmt: skip
        for trouble, most in plan:
            for _ in range(rng.randint(0, most)):
                self.world.loop.call_later(rng.uniform(0.5, troubled_s - 1.0), trouble)

    # ------------------------------------------------------------ the server

    def crash(self) -> None:
        """The server is killed, or its machine loses power; it comes back after a while."""
        world, server = self.world, self.world.server
        if server is None:
            return
        is_power = world.rng.random() < 0.5
        world.note("crash", "power" if is_power else "kill")
        world.server = None
        world.crashes += 1
        world.disk.breaks = False
        server.crash()
        for dashboard in world.dashboards:
            dashboard.cut()
        for end in server.ends:
            # After a kill the kernel says goodbye behind what was said; after a power cut nobody does.
            if is_power:
                end.cable.cut()
            else:
                end.cable.down.carry(partial(end.cable.over, HARD_LOSS))
        world.loop.call_later(world.rng.uniform(0.1, 3.0), world.boot)

    def restart(self) -> None:
        """Somebody stops the server in good order, and starts it again."""
        server = self.world.server
        if server is not None:
            self.world.note("restart")
            self.world.loop.create_task(self._stop(server))

    async def _stop(self, server: "Server") -> None:
        # A disk that fills up meanwhile: the program ends with an error, and what waited was not acknowledged.
        with suppress(StorageError):
            await server.stop()
        if self.world.server is server:
            self.crash()

    # ------------------------------------------------------------ the disk

    def fill_disk(self) -> None:
        """The disk is full for a while."""
        self.world.note("disk full")
        self.world.disk.is_full = True
        self.world.loop.call_later(self.world.rng.uniform(0.1, 4.0), self._free_disk)

    def _free_disk(self) -> None:
        self.world.note("disk free")
        self.world.disk.is_full = False

    def break_disk(self) -> None:
        """The next sync fails, and the program has to end."""
        self.world.note("disk breaks")
        self.world.disk.breaks = True

    def slow_disk(self) -> None:
        """Commits take another time from now on."""
        self.world.disk.slow_s = self.world.rng.choice((0.005, 0.03, 0.1, 0.4, 1.0))
        self.world.note("disk", self.world.disk.slow_s)

    # ------------------------------------------------------------ clock and cables

    def set_clock(self) -> None:
        """The machine's clock is set, forwards or back."""
        self.world.clock.wrong_ms = self.world.rng.choice((-3_600_000, 3_600_000, -5_000, 20_000, 0))
        self.world.note("clock", self.world.clock.wrong_ms)

    def cut_one(self) -> None:
        """One socket breaks."""
        whole = self._whole_cables()
        if whole:
            self.world.note("cut")
            self.world.rng.choice(whole).cut()

    def cut_all(self) -> None:
        """Every socket breaks at once."""
        self.world.note("cut all")
        for cable in self._whole_cables():
            cable.cut()

    def cut_screen(self) -> None:
        """A dashboard loses its connection."""
        self.world.rng.choice(self.world.dashboards).cut()

    def _whole_cables(self) -> list[Cable]:
        return [cable for cable in self.world.cables if not cable.is_over]
