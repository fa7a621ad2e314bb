"""The engine: one input at a time goes in, the facts that follow come out. Read this file to see the order of things.

It must not know the clock, the network, the disk, or whether the floor is live, replayed or simulated.

    Ping    duplicate? -> acceptable? -> believable? -> remember it -> hex -> fences -> marker -> indexes
    Report  repeat? -> whose order, which number? -> legal step? -> status, route, ETA, risk
    Order   key? -> mall, stores, drop-off -> number it -> ETA, risk
    Command key? -> version -> legal step? -> driver fit? -> assignment number, route, ETA, risk -> kept for undo
    Plan    advice on what is still in the queue
    Tick    dwell -> silence -> ETA, risk -> offers nobody answered -> forget what is long over
"""

from collections.abc import Iterator

from streamer.core import commands, intake, pings, reports
from streamer.core import drivers as driving
from streamer.core.assignments import Assignments
from streamer.core.cells import CellFinder
from streamer.core.events import (
    CommandDone,
    DriverChanged,
    DriverRegistered,
    FenceCrossed,
    HandOver,
    Input,
    OrderChanged,
    OrderCommand,
    OrderPlaced,
    Output,
    Ping,
    PingTaken,
    PlanMade,
    Refused,
    Report,
    ReportTaken,
    SetAutopilot,
    SetDuty,
    Tick,
    Undo,
    Verdict,
)
from streamer.core.fences import FenceEvent, FenceIndex, dwells, observe
from streamer.core.hexes import DriverIndex
from streamer.core.malls import Floor
from streamer.core.orders import ENDED, QUEUED
from streamer.core.routes import Planner
from streamer.core.settings import Settings
from streamer.core.snapshot import state_hash
from streamer.core.state import Driver, FencePresence, Order, State
from streamer.core.travel import Travel


class Engine:
    """The truth about drivers, orders and assignments, moved only by `handle`."""

    def __init__(
        self, floor: Floor, settings: Settings | None = None, state: State | None = None,
        fences: FenceIndex | None = None,
    ) -> None:  # fmt: skip
        """`fences` are those of another engine on the same floor: making them takes longer than all the rest."""
        self.floor = floor
        self.settings = settings or Settings()
        self.state = state or State()
        self.planner = Planner(floor, Travel(self.settings.travel))
        self.assignments = Assignments(self.state, self.planner, self.settings)
        self.fences = fences or FenceIndex(floor, self.settings.fences)
        self._is_usual = pings.usual(self.settings.pings)
        self._cell_of = CellFinder().cell_of
        self.everyone = DriverIndex()
        self.free = DriverIndex()
        for driver in self.state.drivers.values():
            self._index(driver)

    def handle(self, at_ms: int, item: Input) -> tuple[Output, ...]:
        """Takes one input at `at_ms` (UTC epoch milliseconds; a step back in time counts as no step).

        Returns what follows, in order. A refusal is the single output `Refused`, and then nothing changed; the same
        holds for repeats (`duplicate` pings, `repeated` reports and commands). All else has raised `state.seq` by one.
        """
        at_ms = max(at_ms, self.state.at_ms)
        if type(item) is Ping:  # Nearly all inputs are, so they do not go down the list.
            return self._ping(at_ms, item)
        match item:
            case Report():
                outputs = reports.take(self.assignments, at_ms, item)
            case OrderPlaced() | OrderCommand() | HandOver() | Undo() | SetDuty() | SetAutopilot():
                outputs = self._decide(at_ms, item)
            case Tick():
                outputs = self._tick(at_ms)
            case DriverRegistered():
                outputs = self._register(item)
            case PlanMade():
                outputs = self._advise(item)
        if is_effective(outputs):
            self.state.seq += 1
            self.state.at_ms = at_ms
            for output in outputs:
                if type(output) is DriverChanged:
                    self._index(self.state.drivers[output.driver_id])
        return outputs

    def nearest(self, lat: float, lng: float, k: int, free_only: bool = True) -> list[tuple[str, float]]:
        """The `k` nearest (free) drivers as (driver id, metres), nearest first, ties by id."""
        return (self.free if free_only else self.everyone).nearest(lat, lng, k)

    def twin(self, state: State) -> "Engine":
        """Another engine on the same floor, in another state: for trying what would follow."""
        return Engine(self.floor, self.settings, state, self.fences)

    def hash(self) -> str:
        """The hash of the whole state."""
        return state_hash(self.state)

    # ------------------------------------------------------------ steps

    def _ping(self, at_ms: int, ping: Ping) -> tuple[Output, ...]:
        """The steps of a ping; on the way of every one of them, so it is written for speed: see `make bench`."""
        state, rules = self.state, self.settings.pings
        driver = state.drivers.get(ping.driver_id)
        if driver is None:
            return (Refused("not_yours", f"there is no driver {ping.driver_id!r}"),)
        if self._is_usual(driver, ping, at_ms):
            verdict: Verdict = "ok"
            driver.last_seq += 1
            if driver.jumps:
                driver.jumps = ()
        else:
            if pings.is_duplicate(driver, ping):
                return (PingTaken(driver.id, ping.seq, "duplicate"),)
            refused = pings.refusal(driver, ping, at_ms, rules)
            if refused is not None:
                return (refused,)
            verdict = pings.judge(driver, ping, rules)
            pings.note_identity(driver, ping)
        state.seq += 1
        state.at_ms = at_ms
        verdicts = state.verdicts
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
        driver.verdict = verdict
        taken = PingTaken(driver.id, ping.seq, verdict)
        if verdict != "ok":
            return (taken,)
        lat, lng = ping.lat, ping.lng
        cell = self._cell_of(driver.cell, lat, lng)
        holding = self.fences.holding(cell, lat, lng)
        driver.ping, driver.received_ms = ping, at_ms
        moved = cell != driver.cell
        if moved:
            driver.cell = cell
        news: tuple[Output, ...] = ()
        if holding:
            driver.mall_id = self.fences.mall_of(holding)
            news = self._cross_fences(driver, holding, at_ms)
            if driver.mall_id is not None:
                driver.region = driver.mall_id
        else:
            driver.mall_id = None
            if driver.fences:
                news = self._cross_fences(driver, holding, at_ms)
        if driver.region is None:
            mall = self.floor.nearest_mall(lat, lng)
            driver.region = mall.id if mall else None
        if driver.state == "silent":
            driver.state = driving.state_of(driver, state.orders, at_ms, self.settings)
            moved = True
        if moved:
            self._index(driver)
        return (taken, *news) if news else (taken,)

    def _cross_fences(self, driver: Driver, holding: tuple[str, ...], at_ms: int) -> tuple[Output, ...]:
        rules, ping, known = self.settings.fences, driver.ping, driver.fences
        if ping is None or (ping.accuracy_m is not None and ping.accuracy_m > rules.max_accuracy_m):
            return ()
        outputs: list[Output] = []
        for fence_id in sorted({*holding, *known}) if known.keys() - holding else holding:
            presence = known.get(fence_id)
            if presence is None:
                presence = known[fence_id] = FencePresence()
            event = observe(presence, fence_id in holding, at_ms, rules)
            if not presence.inside and not presence.against:
                del known[fence_id]
            if event is not None:
                outputs.extend(self._crossed(driver, fence_id, event, at_ms))
        return tuple(outputs)

    def _crossed(self, driver: Driver, fence_id: str, event: FenceEvent, at_ms: int) -> Iterator[Output]:
        fence = self.fences.fences[fence_id]
        yield FenceCrossed(driver.id, fence.mall_id, fence_id, event, at_ms)
        if event == "leave" and fence.kind == "mall":
            departed = self.assignments.depart(driver, fence.mall_id, at_ms)
            yield from (OrderChanged(order_id, fence.mall_id) for order_id in departed)

    def _decide(
        self, at_ms: int, item: OrderPlaced | OrderCommand | HandOver | Undo | SetDuty | SetAutopilot
    ) -> tuple[Output, ...]:
        known = commands.repeated(self.assignments, item)
        if known is not None:
            return (known,)
        command_id = f"c-{self.state.seq + 1}"
        if isinstance(item, OrderPlaced):
            outputs = intake.place(self.assignments, at_ms, item, command_id)
        else:
            outputs = commands.run(self.assignments, at_ms, item, command_id)
        if isinstance(outputs[0], CommandDone) and not outputs[0].repeated:
            commands.remember_key(self.assignments, at_ms, item, outputs[0])
        return outputs

    def _register(self, item: DriverRegistered) -> tuple[Output, ...]:
        for mall_id in item.mall_ids:
            if mall_id not in self.floor.malls:
                return (Refused("bad_field", f"mall_ids: there is no mall {mall_id!r}"),)
        driver = self.state.drivers.get(item.driver_id)
        if driver is None:
            self.state.drivers[item.driver_id] = driving.registered(item)
        else:
            driver.name, driver.capacity = item.name or driver.name, item.capacity
            driver.mall_ids, driver.shift_end_ms = item.mall_ids, item.shift_end_ms
        return (DriverChanged(item.driver_id),)

    def _advise(self, item: PlanMade) -> tuple[Output, ...]:
        """Keeps the advice on orders of the mall that are still in the queue; the floor may have moved on meanwhile."""
        outputs: list[Output] = []
        for advice in item.advice:
            order = self.state.orders.get(advice.order_id)
            if order is not None and order.mall_id == item.mall_id and order.status in QUEUED:
                order.advice = advice
                outputs.append(OrderChanged(order.id, order.mall_id, versioned=False))
        return tuple(outputs)

    def _tick(self, at_ms: int) -> tuple[Output, ...]:
        outputs: list[Output] = []
        silent_from_ms = at_ms - self.settings.silent_ms
        for driver in self.state.drivers.values():
            waits_for_nothing = driver.state == "free" and not driver.fences and not driver.route
            if waits_for_nothing and driver.received_ms > silent_from_ms:
                continue  # Time alone changes nothing of it; in a large fleet most are like this.
            if driver.duty == "on_duty":
                outputs.extend(self._tick_driver(driver, at_ms))
        over: list[Order] = []
        lapsed: list[Order] = []
        over_before_ms = at_ms - self.settings.history_kept_ms
        for order in self.state.orders.values():
            if order.status in QUEUED:
                if self.assignments.refresh_queued(order, at_ms):
                    outputs.append(OrderChanged(order.id, order.mall_id, versioned=False))
            elif order.offered_until_ms is not None and order.offered_until_ms <= at_ms:
                lapsed.append(order)
            elif order.updated_ms < over_before_ms and order.status in ENDED:
                over.append(order)
        for order in lapsed:
            outputs.extend(self.assignments.lapse(order, at_ms, commands.AUTOPILOT))
        self._forget(at_ms, over)
        return tuple(outputs)

    def _tick_driver(self, driver: Driver, at_ms: int) -> list[Output]:
        outputs: list[Output] = []
        for fence_id, presence in driver.fences.items():
            if dwells(presence, at_ms, self.settings.fences):
                mall_id = self.fences.fences[fence_id].mall_id
                outputs.append(FenceCrossed(driver.id, mall_id, fence_id, "dwell", at_ms))
        outputs.extend(self.assignments.refresh(driver, at_ms))
        state = driving.state_of(driver, self.state.orders, at_ms, self.settings)
        if state != driver.state:
            driver.state = state
            outputs.append(DriverChanged(driver.id))
        return outputs

    def _forget(self, at_ms: int, over: list[Order]) -> None:
        """Drops the orders that are long over, and the oldest keys and commands.

        Orders end in any order. Keys and commands are in the order of their time: after a young one comes no old one.
        """
        state = self.state
        for order in over:
            del state.orders[order.id]
            if order.external_id is not None:
                state.external.pop(f"{order.mall_id}/{order.external_id}", None)
        before_ms = at_ms - self.settings.keys_kept_ms
        while state.keys and (first := next(iter(state.keys.items())))[1].at_ms < before_ms:
            del state.keys[first[0]]
        before_ms = at_ms - self.settings.history_kept_ms
        while state.commands and (oldest := next(iter(state.commands.values()))).at_ms < before_ms:
            del state.commands[oldest.id]

    def _index(self, driver: Driver) -> None:
        """Keeps both look-up indexes true to the driver's cell and state."""
        if driver.cell and driver.duty == "on_duty":
            self.everyone.put(driver)
        else:
            self.everyone.drop(driver.id)
        if driver.cell and driver.state == "free":
            self.free.put(driver)
        else:
            self.free.drop(driver.id)


def is_effective(outputs: tuple[Output, ...]) -> bool:
    """Whether an input changed anything, and so belongs in the journal."""
    if not outputs:
        return True
    match outputs[0]:
        case Refused():
            return False
        case ReportTaken(repeated=repeated) | CommandDone(repeated=repeated):
            return not repeated
    return True
