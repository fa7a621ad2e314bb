"""The frames of docs/feed.md: one delta per tick and mall, a snapshot for whoever joins, 60 s kept for resuming.

It must not know sockets: a reader is anything that says whether it has room and takes a text. Nothing leaves here
before the inputs it shows are durable: each frame waits at a barrier of the runner.

Of a mall that nobody has read for as long as frames are kept, none are built; while that is so of every mall, the feed
does not even hear of pings. Who joins then gets a snapshot, and the frames begin again behind it.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from streamer.core.events import DriverChanged, Hex, OrderChanged, PingTaken, RouteChanged
from streamer.core.hexes import HexGrid, HexLayers
from streamer.core.kpis import Kpis, count, kpis
from streamer.core.settings import AutopilotMode
from streamer.core.state import Driver, Order
from streamer.core.views import order_view
from streamer.edge.frames import DeltaFrame, Sign, SnapshotFrame, driver_columns, hex_columns
from streamer.edge.runner import Heard, Runner

FRAME_S = 0.5
KEPT_FRAMES = 120
"""60 s of frames, for readers that come back."""
SHOWN_AFTER_END_MS = 3_600_000
"""Ended orders stay in snapshots for so long."""


class Reader(Protocol):
    """Somebody a feed is sent to."""

    def ready(self) -> bool:
        """Whether there is room for more; a reader without is skipped, and sent a snapshot later."""

    def send(self, text: bytes) -> None:
        """Take one frame, as JSON; never waits."""


class Feed:
    """The feeds of all malls, in step. `epoch` names this run: a `seq` means nothing in another."""

    def __init__(
        self, runner: Runner, sign: Sign | None = None, mode_of: Callable[[str], AutopilotMode] = lambda _: "off"
    ) -> None:
        """`mode_of` tells the autopilot's mode at a mall."""
        self.runner = runner
        self.sign = sign or Sign()
        self._mode_of = mode_of
        self.epoch = secrets.token_hex(8)
        self._encode = msgspec.json.Encoder().encode
        self._dirty_drivers: dict[str, None] = {}
        self._home: dict[str, str | None] = {}
        self._rebuilt = runner.rebuilt
        self._malls = {mall.id: _MallFeed(mall.id, HexGrid(mall)) for mall in runner.engine.floor.malls.values()}
        self._hears = False

    @property
    def mall_ids(self) -> tuple[str, ...]:
        """Every mall there are frames of."""
        return tuple(self._malls)

    async def run(self) -> None:
        """Build frames at 2 Hz until cancelled."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            self.tick()
            next_s = max(next_s + FRAME_S, loop.time())
            await asyncio.sleep(next_s - loop.time())

    def tick(self) -> None:
        """Build one delta for each mall; it is sent when what it shows is durable."""
        for mall in self._malls.values():
            mall.count_unread()
        watched = [mall for mall in self._malls.values() if not mall.rests]
        if not watched:
            self._rest()
            return
        if self._rebuilt != self.runner.rebuilt:
            self._start_afresh()
        self._sort_drivers()
        state = self.runner.engine.state
        floor_kpis = kpis(state, None)
        # One walk through the fleet for all malls, not one for each.
        drivers: dict[str | None, list[Driver]] = {mall.id: [] for mall in watched}
        orders: dict[str, list[Order]] = {mall.id: [] for mall in watched}
        for driver in state.drivers.values():
            if driver.region in drivers:
                drivers[driver.region].append(driver)
        for order in state.orders.values():
            if order.mall_id in orders:
                orders[order.mall_id].append(order)
        for mall in watched:
            layers = mall.grid.count(drivers[mall.id], orders[mall.id], state.at_ms)
            tallies = [state.tallies[mall.id]] if mall.id in state.tallies else []
            figures = count(drivers[mall.id], orders[mall.id], tallies)
            self._build_delta(mall, layers, figures, floor_kpis)
            for reader in [reader for reader in mall.stale if reader.ready()]:
                self._greet(mall, reader)

    def join(
        self, reader: Reader, mall_ids: Collection[str], since: Mapping[str, int] | None = None, epoch: str = ""
    ) -> None:
        """Send `reader` each mall from now on: what it missed since the `seq` it names, or else a snapshot first."""
        for mall_id in mall_ids:
            mall = self._malls[mall_id]
            if mall.rests:
                self._wake(mall)
            held = (since or {}).get(mall_id) if epoch == self.epoch else None
            missed = mall.after(held) if held is not None else None
            if missed is None:
                self._greet(mall, reader)
            else:
                mall.live[reader] = None
                mall.send(reader, missed)

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        for mall in self._malls.values():
            mall.live.pop(reader, None)
            mall.stale.pop(reader, None)
            mall.greeting.pop(reader, None)

    # ------------------------------------------------------------ rest

    def _rest(self) -> None:
        """Nobody watches: hear of nothing."""
        if self._hears:
            self._hears = False
            self.runner.unlisten(self._hear)

    def _wake(self, mall: "_MallFeed") -> None:
        """Somebody will watch a mall that rested: what it is like now is what the next frame will differ from."""
        if not self._hears:
            self._hears = True
            self._rebuilt = self.runner.rebuilt
            self._dirty_drivers.clear()
            self._mirror_all()
            self.runner.listen(self._hear)
        mall.wake(mall.grid.layers(self.runner.engine.state))

    # ------------------------------------------------------------ what changed

    def _hear(self, heard: Sequence[Heard]) -> None:
        dirty = self._dirty_drivers
        for _, outputs in heard:
            for output in outputs:
                if type(output) is PingTaken:  # Nearly all are.
                    dirty[output.driver_id] = None
                    continue
                match output:
                    case DriverChanged() | RouteChanged():
                        dirty[output.driver_id] = None
                    case OrderChanged():
                        self._malls[output.mall_id].dirty_orders.add(output.order_id)
                    case _:
                        pass

    def _sort_drivers(self) -> None:
        """Put changed drivers on the floor they are shown on, and take them off the one they left."""
        drivers = self.runner.engine.state.drivers
        for driver_id in self._dirty_drivers:
            driver = drivers.get(driver_id)
            region, home = driver.region if driver else None, self._home.get(driver_id)
            if home != region:
                self._home[driver_id] = region
                if home is not None:
                    self._malls[home].gone.append(driver_id)
            if driver is not None and region is not None:
                self._malls[region].changed.append(driver)
        for mall in self._malls.values():
            if mall.rests:
                mall.changed, mall.gone, mall.dirty_orders = [], [], set()
        self._dirty_drivers.clear()

    def _mirror_all(self) -> None:
        self._home = {driver.id: driver.region for driver in self.runner.engine.state.drivers.values()}

    def _start_afresh(self) -> None:
        """The engine was rebuilt, so what was built may never have been: everybody gets a snapshot."""
        self._rebuilt = self.runner.rebuilt
        self._dirty_drivers.clear()
        self._mirror_all()
        for mall in self._malls.values():
            mall.forget()

    # ------------------------------------------------------------ frames

    def _at_ms(self) -> int:
        return self.runner.engine.state.at_ms if self.sign.ended else self.runner.now_ms()

    def _build_delta(
        self, mall: "_MallFeed", layers: Mapping[Hex, HexLayers], mall_kpis: Kpis, floor_kpis: Kpis
    ) -> None:
        state = self.runner.engine.state
        orders = [order for order_id in sorted(mall.dirty_orders) if (order := state.orders.get(order_id))]
        hexes = mall.changed_hexes(layers)
        mall.seq += 1
        frame = DeltaFrame(
            mall.id, mall.seq, self._at_ms(), self.sign, self._mode_of(mall.id), mall_kpis, floor_kpis,
            driver_columns(mall.changed) if mall.changed else None, mall.gone,
            [order_view(order) for order in orders], hex_columns(hexes) if hexes else None,
        )  # fmt: skip
        text = self._encode(frame)
        mall.changed, mall.gone, mall.dirty_orders = [], [], set()
        seq = mall.seq
        self.runner.barrier(lambda: mall.publish(seq, text), mall.forget)

    def _snapshot(self, mall: "_MallFeed") -> bytes:
        state, at_ms = self.runner.engine.state, self._at_ms()
        shown = [
            order_view(order)
            for order in state.orders.values()
            if order.mall_id == mall.id and (order.ended_ms is None or order.ended_ms >= at_ms - SHOWN_AFTER_END_MS)
        ]
        # Whose floor a driver is on, and the cells, are those of the frame this is numbered like: a change that is
        # taken back before the next frame would not be in it.
        drivers = [driver for driver in state.drivers.values() if self._home.get(driver.id) == mall.id]
        frame = SnapshotFrame(
            self.epoch, mall.id, mall.seq, at_ms, self.sign, self._mode_of(mall.id), driver_columns(drivers), [],
            shown, hex_columns(mall.layers), kpis(state, (mall.id,)), kpis(state, None),
        )  # fmt: skip
        return self._encode(frame)

    def _greet(self, mall: "_MallFeed", reader: Reader) -> None:
        """Send a snapshot numbered like the last frame built, then the frames after it.

        It may show more than that frame did; the next delta then repeats it, which changes nothing.
        """
        if not reader.ready():
            # Whoever joins again and again and never reads would else be sent the whole floor each time.
            mall.stale[reader] = None
            return
        mall.stale.pop(reader, None)
        text = mall.greeting[reader] = self._snapshot(mall)

        def deliver() -> None:
            # Not if the engine was rebuilt meanwhile: then a newer snapshot is on its way.
            if mall.greeting.get(reader) is text:
                del mall.greeting[reader]
                mall.live[reader] = None
                reader.send(text)

        self.runner.barrier(deliver, mall.forget)


class _MallFeed:
    """One mall's frames and readers. Readers are `live`, or `stale` (behind, to be greeted), or being greeted."""

    def __init__(self, mall_id: str, grid: HexGrid) -> None:
        self.id = mall_id
        self.grid = grid
        self.seq = 0
        self.changed: list[Driver] = []
        self.gone: list[str] = []
        self.dirty_orders: set[str] = set()
        # Dictionaries as ordered sets: readers are served in the order they came.
        self.live: dict[Reader, None] = {}
        self.stale: dict[Reader, None] = {}
        self.greeting: dict[Reader, bytes] = {}
        self._published = 0
        self._unread = KEPT_FRAMES
        """Ticks since somebody read; so many, and there is nothing to resume any more."""
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=KEPT_FRAMES)
        self.layers: dict[Hex, HexLayers] = {}

    @property
    def rests(self) -> bool:
        """Whether no frames are built, because nobody reads them or can still come back for them."""
        return self._unread >= KEPT_FRAMES

    def count_unread(self) -> None:
        """One more tick: with readers, or without."""
        self._unread = 0 if self.live or self.stale or self.greeting else self._unread + 1

    def wake(self, layers: dict[Hex, HexLayers]) -> None:
        """Frames are built again, from the next tick on; the numbers that rested are missing to everybody."""
        self._unread = 0
        self.forget()
        # Who comes to hold this number has it from a snapshot made now, and can go on from it.
        self._published = self.seq
        self.layers = layers

    def after(self, seq: int) -> list[bytes] | None:
        """The frames published after `seq`, or None when some of them are not kept."""
        if seq == self._published:
            return []
        if not self._ring or not self._ring[0][0] - 1 <= seq < self._published:
            return None
        return [text for number, text in self._ring if number > seq]

    def publish(self, seq: int, text: bytes) -> None:
        """A frame is durable: keep it and send it."""
        self._published = seq
        self._ring.append((seq, text))
        for reader in list(self.live):
            self.send(reader, (text,))

    def send(self, reader: Reader, texts: Iterable[bytes]) -> None:
        """Send frames that follow what the reader holds, or mark it stale."""
        for text in texts:
            if not reader.ready():
                del self.live[reader]
                self.stale[reader] = None
                return
            reader.send(text)

    def changed_hexes(self, layers: Mapping[Hex, HexLayers]) -> dict[Hex, HexLayers]:
        """The cells that differ from the frame before; those that became empty as zeros."""
        before, self.layers = self.layers, dict(layers)
        changed = {cell: layer for cell, layer in layers.items() if before.get(cell) != layer}
        changed.update({cell: HexLayers() for cell in before if cell not in layers})
        return changed

    def forget(self) -> None:
        """Frames were lost or the engine is another: nobody's copy can be continued."""
        self.changed, self.gone, self.dirty_orders = [], [], set()
        # A number nobody gets: else the next frame would seem to follow the last one, and a reader that comes back
        # holding that would miss what was forgotten here.
        self.seq += 1
        self._ring.clear()
        self._published = -1
        self.stale.update(dict.fromkeys(self.greeting))
        self.stale.update(self.live)
        self.greeting.clear()
        self.live.clear()
