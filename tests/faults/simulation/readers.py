"""Dashboards: screens fed over a network that breaks, and one beside the server that misses nothing.

It must not know the engine; a screen knows docs/feed.md.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tests.faults.invariants import Screen, i8_screen_shows_the_state
from tests.faults.simulation.network import Line

if TYPE_CHECKING:
    from streamer.core.state import State
    from tests.faults.simulation.server import Server
    from tests.faults.simulation.world import World

SETTLED_FRAMES = 20
"""A snapshot may be ahead of the frame it is numbered like, until a commit: so many frames at most."""


def _different(mine: Screen, theirs: Screen) -> list[str]:
    """Drivers and open orders on which two screens disagree; one that came later lacks what ended long ago."""
    wrong = [name for name in {**mine.drivers, **theirs.drivers} if mine.drivers.get(name) != theirs.drivers.get(name)]
    for order_id in {**mine.orders, **theirs.orders}:
        one, other = mine.orders.get(order_id), theirs.orders.get(order_id)
        if one != other and ((one or other) or {})["ended_ms"] is None:
            wrong.append(order_id)
    return wrong


class Screens:
    """What one reader holds, by mall, and the frames since each mall's last snapshot."""

    def __init__(self) -> None:
        self.by_mall: dict[str, Screen] = {}
        self.frames: dict[str, list[Mapping[str, Any]]] = {}
        self.epoch = ""

    def take(self, frame: Mapping[str, Any]) -> None:
        """Fold one frame in; an AssertionError when it does not follow what is held."""
        mall_id = frame["mall_id"]
        if frame["frame"] == "snapshot":
            self.epoch = frame["epoch"]
            self.frames[mall_id] = []
        self.by_mall.setdefault(mall_id, Screen()).take(frame)
        self.frames[mall_id].append(frame)

    def judge(self, state: "State") -> None:
        """I8, at a moment when nothing is under way."""
        for frames in self.frames.values():
            i8_screen_shows_the_state(frames, state)


class Beside:
    """A reader in the server's own program: it has each frame the moment it leaves."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.screens = Screens()

    def ready(self) -> bool:
        return True

    def send(self, text: bytes) -> None:
        frame = msgspec.json.decode(text)
        self.world.checker.shown(frame)
        self.world.checker.ask(self.screens.take, frame)


class Subscription:
    """One dashboard's connection to one run of the server: what the feed sends to."""

    def __init__(self, dashboard: "Dashboard", line: Line) -> None:
        self.dashboard = dashboard
        self.line = line
        self.is_over = False

    def ready(self) -> bool:
        """Now and then a reader is behind, and is skipped."""
        return self.dashboard.world.is_over or self.dashboard.world.rng.random() > 0.02

    def send(self, text: bytes) -> None:
        if not self.is_over:
            self.line.carry(lambda: None if self.is_over else self.dashboard.heard(text))


class Dashboard:
    """A screen on somebody's desk. It resumes from what it holds, and is sometimes reloaded."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.screens = Screens()
        self._server: Server | None = None
        self._subscription: Subscription | None = None

    def begin(self) -> None:
        """Subscribe, or try again soon when there is nobody."""
        rng, server = self.world.rng, self.world.server
        if server is None:
            self.world.loop.call_later(rng.uniform(0.1, 1.0), self.begin)
            return
        if rng.random() < 0.1:
            self.screens = Screens()
        line = Line(self.world.loop, rng, rng.choice((0.01, 0.05, 0.4)))
        self._server, self._subscription = server, Subscription(self, line)
        since = {mall_id: screen.seq for mall_id, screen in self.screens.by_mall.items()}
        server.feed.join(self._subscription, server.feed.mall_ids, since, self.screens.epoch)

    def cut(self) -> None:
        """The connection breaks; what is under way is lost from some instant on."""
        server, subscription = self._server, self._subscription
        if server is None or subscription is None:
            return
        self._server = self._subscription = None
        subscription.is_over = True
        # The server may go on sending for a while into a connection that is no more.
        loop, rng = self.world.loop, self.world.rng
        loop.call_later(rng.uniform(0.0, 5.0), server.feed.leave, subscription)
        loop.call_later(rng.uniform(0.05, 3.0), self.begin)

    def heard(self, text: bytes) -> None:
        """One frame has come."""
        frame = msgspec.json.decode(text)
        self.world.note("screen", self.name, frame["mall_id"], frame["seq"], frame["frame"])
        self.world.checker.ask(self.screens.take, frame)
        self._compare(frame)

    def _compare(self, frame: Mapping[str, Any]) -> None:
        """At the same frame, this screen is the one beside the server."""
        mine = self.screens.by_mall[frame["mall_id"]]
        server = self.world.server
        theirs = server.beside.screens.by_mall.get(frame["mall_id"]) if server is not None else None
        if server is None or theirs is None or (server.feed.epoch, theirs.seq) != (self.screens.epoch, mine.seq):
            return
        if len(self.screens.frames[frame["mall_id"]]) > SETTLED_FRAMES:
            wrong = _different(mine, theirs)
            self.world.checker.require(not wrong, "I8", f"{self.name} differs at frame {mine.seq} in {wrong}")

    def orders(self) -> list[dict[str, Any]]:
        """The orders somebody may decide about: those that are not over, and now and then by mistake the others."""
        shown = [order for screen in self.screens.by_mall.values() for order in screen.orders.values()]
        return [order for order in shown if order["ended_ms"] is None or self.world.rng.random() < 0.05]

    def driver_ids(self) -> list[str]:
        """The drivers shown, as the screen lists them."""
        return sorted(driver_id for screen in self.screens.by_mall.values() for driver_id in screen.drivers)
