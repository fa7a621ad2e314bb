"""What is worth jumping to in a recording: alarms, decisions, the events of each order, and the curve of the figures.

It must not know files, clocks or the room: it watches an engine pass through the recording once.

An alarm is noted when its cause begins, not again while it lasts. There are at most as many figures as `CURVE`: where
a recording is longer, every second one is dropped and the distance doubled.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from streamer.core.commands import AUTOPILOT
from streamer.core.engine import Engine
from streamer.core.events import (
    CommandDone,
    DriverChanged,
    FenceCrossed,
    HandOver,
    Input,
    OrderChanged,
    OrderCommand,
    Output,
    Ping,
    PlanMade,
    Report,
    SetAutopilot,
    SetDuty,
    Undo,
)
from streamer.core.kpis import kpis
from streamer.core.state import Order
from streamer.edge.rooms.contract import AlarmKind, AlarmMark, CommandMark, KpiMark, Mark, Marks, NextMark

CURVE = 720
CURVE_MS = 60_000
MOST = 20_000
"""Alarms and decisions kept each: some megabytes. A day of a hundred drivers has a tenth of that."""
WAIT_LONG_MS = 300_000
"""A driver at a store longer than this, of an order that was promised by then, is kept waiting by the store."""
STREAK = 3
"""Offers a driver declines one after the other before somebody should hear of it."""
DWELL_LONG_MS = 1_200_000
"""In the mall with collected orders for so long; fetching several orders takes a quarter of an hour at most."""


class Watch:
    """Watches a recording pass and keeps its marks; `until_ms` is how far."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self.until_ms = 0
        self.alarms: list[AlarmMark] = []
        self.commands: list[CommandMark] = []
        self.curve: list[KpiMark] = []
        self._orders: dict[str, list[int]] = defaultdict(list)
        self._open: dict[tuple[str, ...], None] = {}
        self._declined: dict[str, int] = {}
        self._every_ms = CURVE_MS
        self._next_ms = start_ms

    def hear(self, engine: Engine, at_ms: int, item: Input, outputs: tuple[Output, ...]) -> None:
        """An input that took effect; what happened before the play began is no mark."""
        self.until_ms = at_ms
        if at_ms < self.start_ms:
            return
        if at_ms >= self._next_ms:
            self._sample(engine, at_ms)
        if type(item) is Ping and len(outputs) == 1:  # Nearly all are.
            return
        self._take_command(at_ms, item, outputs)
        for output in outputs:
            match output:
                case OrderChanged():
                    self._see_order(engine, at_ms, output)
                case DriverChanged():
                    self._see_driver(engine, at_ms, output.driver_id)
                case FenceCrossed(event="leave"):
                    self._close("dwell_too_long", output.driver_id, output.mall_id)
                case _:
                    pass
        if isinstance(item, PlanMade):
            self._see_plan(at_ms, item)
        elif isinstance(item, Report):
            self._see_report(engine, at_ms, item)

    # ------------------------------------------------------------ what is kept

    def marks(self, complete: bool) -> Marks:
        """All of it, as far as the recording has passed."""
        return Marks(complete, self.until_ms, tuple(self.alarms), tuple(self.commands), tuple(self.curve))

    def next(self, wanted: NextMark, complete: bool) -> Mark:
        """The first mark of a kind after an instant, or the last before it."""
        match wanted.kind:
            case "alarm":
                instants, texts = [mark.at_ms for mark in self.alarms], [mark.text for mark in self.alarms]
            case "command":
                people = [mark for mark in self.commands if mark.actor != AUTOPILOT]
                instants = [mark.at_ms for mark in people]
                texts = [f"{mark.actor}: {mark.action} {mark.order_id or mark.driver_id or ''}" for mark in people]
            case "order":
                instants = self._orders.get(wanted.order_id or "", [])
                texts = [f"{wanted.order_id} changed"] * len(instants)
        place = _place(instants, wanted.from_ms, wanted.back)
        if place is None:
            return Mark(None, complete)
        return Mark(instants[place], complete, texts[place].strip())

    # ------------------------------------------------------------ figures

    def _sample(self, engine: Engine, at_ms: int) -> None:
        figures = kpis(engine.state, None)
        self.curve.append(
            KpiMark(
                at_ms, figures.open, figures.unassigned, figures.at_risk, figures.late, figures.delivered,
                figures.free, figures.busy, figures.silent, figures.on_time, figures.orders_per_trip,
                figures.click_to_door_ms,
            )
        )  # fmt: skip
        if len(self.curve) > CURVE:
            self.curve = self.curve[::2]
            self._every_ms *= 2
        self._next_ms = at_ms - at_ms % self._every_ms + self._every_ms
        self._look_at_stores(engine, at_ms)

    # ------------------------------------------------------------ decisions

    def _take_command(self, at_ms: int, item: Input, outputs: tuple[Output, ...]) -> None:
        if len(self.commands) >= MOST:
            return
        match item:
            case OrderCommand(action="ready"):
                return
            case OrderCommand():
                mark = CommandMark(at_ms, item.actor, item.action, item.order_id, item.driver_id)
            case HandOver():
                mark = CommandMark(at_ms, item.actor, "hand_over", None, item.driver_id)
            case Undo():
                done = outputs[0] if outputs else None
                order_ids = done.order_ids if isinstance(done, CommandDone) else ()
                mark = CommandMark(at_ms, item.actor, "undo", order_ids[0] if order_ids else None)
            case SetDuty():
                mark = CommandMark(at_ms, item.actor, item.duty, None, item.driver_id)
            case SetAutopilot():
                mark = CommandMark(at_ms, item.actor, f"autopilot {item.rules.mode}")
            case _:
                return
        self.commands.append(mark)

    # ------------------------------------------------------------ alarms

    def _see_order(self, engine: Engine, at_ms: int, output: OrderChanged) -> None:
        order = engine.state.orders.get(output.order_id)
        if output.versioned:
            self._orders[output.order_id].append(at_ms)
        if order is None or order.ended_ms is not None:
            return
        if order.risk == "late":
            self._raise("late", at_ms, order.mall_id, f"{order.id} is late", (order.id,), order.id)
        elif order.risk == "at_risk":
            self._raise("will_be_late", at_ms, order.mall_id, f"{order.id} will be late", (order.id,), order.id)

    def _see_driver(self, engine: Engine, at_ms: int, driver_id: str) -> None:
        driver = engine.state.drivers[driver_id]
        if driver.state == "silent" and driver.order_ids:
            text = f"{driver.name or driver_id} is silent with {_count(len(driver.order_ids))} on board"
            self._raise("driver_silent", at_ms, driver.region, text, driver.order_ids, driver_id)
        elif driver.state != "silent":
            self._close("driver_silent", driver_id)

    def _see_plan(self, at_ms: int, plan: PlanMade) -> None:
        failed = {advice.order_id: advice for advice in plan.advice if advice.word == "failed"}
        for advice in plan.advice:
            if advice.word != "failed":
                self._close("unassignable", advice.order_id)
        new = tuple(order_id for order_id in failed if ("unassignable", order_id) not in self._open)
        for order_id in new:
            self._open["unassignable", order_id] = None
        if new:
            why = failed[new[0]].reason
            self._note(
                AlarmMark(
                    at_ms, "unassignable", plan.mall_id, f"nobody can take {_count(len(new))}: {why}".rstrip(": "), new
                )
            )

    def _see_report(self, engine: Engine, at_ms: int, report: Report) -> None:
        if report.report == "declined":
            declined = self._declined[report.driver_id] = self._declined.get(report.driver_id, 0) + 1
            if declined == STREAK:
                driver = engine.state.drivers[report.driver_id]
                text = f"{driver.name or driver.id} declined {STREAK} offers one after the other"
                self._note(AlarmMark(at_ms, "decline_streak", driver.region, text, report.order_ids))
        elif report.report == "accepted":
            self._declined[report.driver_id] = 0

    def _look_at_stores(self, engine: Engine, at_ms: int) -> None:
        """Once a sample: who is kept waiting, by store and by mall."""
        waiting: dict[tuple[str, ...], list[Order]] = {}
        for order in engine.state.orders.values():
            if order.status == "arrived_at_pickup" and order.arrived_pickup_ms is not None:
                since_ms = max(order.arrived_pickup_ms, order.ready_ms or 0)
                if at_ms - since_ms > WAIT_LONG_MS:
                    waiting.setdefault((order.mall_id, *order.stores), []).append(order)
        for key in [key for key in self._open if key[0] == "store_late" and key[1:] not in waiting]:
            del self._open[key]
        for (mall_id, *stores), orders in waiting.items():
            names = {place.id: place.name for place in engine.floor.malls[mall_id].places}
            text = f"{' and '.join(names.get(store, store) for store in stores)} late: {_count(len(orders))}"
            self._raise("store_late", at_ms, mall_id, text, tuple(order.id for order in orders), mall_id, *stores)
        self._look_at_dwell(engine, at_ms)

    def _look_at_dwell(self, engine: Engine, at_ms: int) -> None:
        for driver in engine.state.drivers.values():
            presence = driver.fences.get(driver.mall_id) if driver.mall_id is not None else None
            if presence is None or not presence.inside or at_ms - presence.since_ms < DWELL_LONG_MS:
                continue
            aboard = tuple(
                order_id for order_id in driver.order_ids
                if (order := engine.state.orders.get(order_id)) is not None and order.picked_up_ms is not None
                and at_ms - order.picked_up_ms > WAIT_LONG_MS
            )  # fmt: skip
            if aboard and driver.mall_id is not None:
                text = f"{driver.name or driver.id} has not left with {_count(len(aboard))} on board"
                self._raise("dwell_too_long", at_ms, driver.mall_id, text, aboard, driver.id, driver.mall_id)

    def _raise(
        self, kind: AlarmKind, at_ms: int, mall_id: str | None, text: str, order_ids: Sequence[str], *cause: str
    ) -> None:
        """Note an alarm, unless the one of this cause is open."""
        if (kind, *cause) not in self._open:
            self._open[kind, *cause] = None
            self._note(AlarmMark(at_ms, kind, mall_id, text, tuple(order_ids)))

    def _close(self, kind: AlarmKind, *cause: str) -> None:
        self._open.pop((kind, *cause), None)

    def _note(self, mark: AlarmMark) -> None:
        if len(self.alarms) < MOST:
            self.alarms.append(mark)


def _place(instants: Sequence[int], from_ms: int, back: bool) -> int | None:
    place = bisect_left(instants, from_ms) - 1 if back else bisect_right(instants, from_ms)
    return place if 0 <= place < len(instants) else None


def _count(orders: int) -> str:
    return "1 order" if orders == 1 else f"{orders} orders"
