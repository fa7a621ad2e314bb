"""The engine as a whole: the same history gives the same state, and its invariants hold whatever comes."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamer.core.engine import Engine
from streamer.core.errors import StorageError
from streamer.core.events import Advice, Input, OrderPlaced, PlanMade, SetAutopilot, Tick
from streamer.core.orders import ENDED, QUEUED
from streamer.core.settings import AutopilotRules
from streamer.core.snapshot import dump_state, load_state, state_hash
from streamer.core.views import driver_view, order_view
from tests.builders import MINUTE, T0, Bench, a_floor, a_ping, a_report, refusal

HISTORY = """
from tests.core.test_engine import a_history
from tests.builders import Bench
bench = Bench()
a_history(bench)
print(bench.engine.hash())
"""


def a_history(bench: Bench) -> None:
    """A bit of everything."""
    for n in range(6):
        bench.driver(f"d-{n}", north=0.004 * n - 0.01)
    for n in range(12):
        order = bench.place(external_id=f"x-{n}", key=f"k-{n}", due_in=(30 + 5 * n) * MINUTE)
        bench.command("assign", order, f"d-{n % 5}")
        if n % 3 == 0:
            bench.report("accepted", order)
            bench.report("arrived_at_pickup", order)
        if n % 6 == 0:
            bench.report("picked_up", order, 3 * MINUTE)
        if n % 4 == 3:
            bench.command("reassign", order, "d-5")
            bench.undo(bench.last_command())
        for driver in range(6):
            bench.do(a_ping(f"d-{driver}", bench.at_ms, 0.004 * driver - 0.01 + n * 1e-4, seq=n), 1000)
        bench.do(Tick(), 5000)


def test_same_history_gives_the_same_state_under_any_hash_seed() -> None:
    root = Path(__file__).parent.parent.parent
    hashes = set()
    for hash_seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        ran = subprocess.run(
            [sys.executable, "-c", HISTORY], capture_output=True, text=True, env=environment, check=True
        )
        hashes.add(ran.stdout.strip())
    assert len(hashes) == 1
    assert len(hashes.pop()) == 32


def test_state_survives_being_written_and_read(bench: Bench) -> None:
    a_history(bench)
    again = Engine(a_floor(), state=load_state(dump_state(bench.engine.state)))
    assert again.hash() == bench.engine.hash()
    assert again.free.cells == bench.engine.free.cells
    assert again.everyone.cells == bench.engine.everyone.cells


def test_snapshot_and_tail_equal_the_whole_history(bench: Bench) -> None:
    a_history(bench)
    again = Engine(a_floor(), state=load_state(dump_state(bench.engine.state)))
    tail: list[Input] = [Tick(), a_ping("d-1", bench.at_ms, -0.0061, seq=99), Tick()]
    for item in tail:
        assert again.handle(bench.at_ms + 9000, item) == bench.engine.handle(bench.at_ms + 9000, item)
    assert again.hash() == bench.engine.hash()


@pytest.mark.parametrize("damage", [b"", b"\x00" * 40, b"\xff\xfe"])
def test_damaged_snapshot_is_refused(damage: bytes) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        load_state(damage)


def test_time_never_runs_backwards(bench: Bench) -> None:
    bench.do(Tick(), 10_000)
    bench.do(Tick(), -50_000)
    assert bench.engine.state.at_ms == T0 + 10_000


def test_old_orders_and_keys_are_forgotten(bench: Bench) -> None:
    order = bench.place(external_id="x", key="k")
    bench.command("cancel", order)
    bench.do(Tick(), 49 * 3_600_000)
    state = bench.engine.state
    assert (state.orders, state.external, state.keys, state.commands) == ({}, {}, {}, {})


def test_stuck_order_keeps_no_later_one_in_memory(bench: Bench) -> None:
    """Thirty days of an order an hour, beside one that is never ended."""
    stuck = bench.place(external_id="stuck")
    state, most = bench.engine.state, 0
    for hour in range(30 * 24):
        bench.command("cancel", bench.place(external_id=f"x-{hour}", key=f"k-{hour}"))
        bench.do(Tick(), 3_600_000)
        most = max(most, len(state.orders))
    kept = bench.engine.settings.history_kept_ms // 3_600_000
    assert most == len(state.orders) == kept + 1
    assert next(iter(state.orders)) == stuck.id
    assert set(state.external.values()) == set(state.orders)
    assert (len(state.commands), len(state.keys)) == (kept, bench.engine.settings.keys_kept_ms // 3_600_000)


def test_forgotten_order_takes_no_other_orders_number_with_it(bench: Bench) -> None:
    bench.command("cancel", bench.place())
    named = bench.place(external_id="None")
    bench.do(Tick(), 49 * 3_600_000)
    assert bench.engine.state.external == {"plaza/None": named.id}


def test_views_carry_what_the_protocol_names(bench: Bench) -> None:
    a_history(bench)
    order = json.loads(msgspec.json.encode(order_view(bench.engine.state.orders["o-1"])))
    assert {
        "external_id", "mall_id", "stores", "items", "dropoff", "placed_ms", "ready_ms", "due_ms", "priority", "id",
        "status", "version", "driver_id", "assignment", "held", "pinned", "risk", "eta_pickup_ms", "eta_dropoff_ms",
        "updated_ms",
    } <= set(order)  # fmt: skip
    driver = json.loads(msgspec.json.encode(driver_view(bench.engine.state.drivers["d-1"], bench.at_ms)))
    assert {
        "id", "name", "state", "lat", "lng", "fix_ms", "received_ms", "age_ms", "accuracy_m", "heading_deg",
        "speed_mps", "hex", "mall_id", "verdict", "order_ids", "assignment", "last_seq",
    } <= set(driver)  # fmt: skip
    assert len(driver["hex"]) == 15


DRIVERS = [f"d-{n}" for n in range(4)]
REPORTS = ["on_duty", "off_duty", "on_break", "accepted", "declined", "arrived_at_pickup", "picked_up",
           "arrived_at_dropoff", "delivered", "failed", "returned"]  # fmt: skip


class Floor(RuleBasedStateMachine):
    """Dispatchers, drivers and time in any order. No order with two drivers, nothing reopened, no marker set back."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.ended: dict[str, str] = {}
        self.shown: dict[str, int] = {}
        self.log: list[tuple[int, Input]] = []

    @initialize()
    def drivers_come(self) -> None:
        handle = self.bench.engine.handle

        def logged(at_ms: int, item: Input) -> tuple[object, ...]:
            before = dump_state(self.bench.engine.state)
            kept = self.kept_by_people(at_ms) if self.is_of_nobody(item) else {}
            outputs = handle(at_ms, item)
            for order_id, driver_id in kept.items():
                now = self.bench.engine.state.orders[order_id]
                assert now.driver_id == driver_id, f"the autopilot moved {order_id}, which a person had decided about"
            if refusal(outputs):
                assert dump_state(self.bench.engine.state) == before, "a refusal changed something"
            self.log.append((at_ms, item))
            return outputs

        self.bench.engine.handle = logged  # type: ignore[method-assign, assignment]
        for driver_id in DRIVERS:
            self.bench.driver(driver_id, capacity=3)

    def is_of_nobody(self, item: Input) -> bool:
        return isinstance(item, Tick | PlanMade) or getattr(item, "actor", None) == "autopilot"

    def kept_by_people(self, at_ms: int) -> dict[str, str | None]:
        """Who has the orders that a person holds, has pinned, or has touched just now."""
        state = self.bench.engine.state
        rules = state.autopilot.get("plaza", self.bench.engine.settings.autopilot)
        since_ms = max(at_ms, state.at_ms) - rules.stand_down_ms
        return {
            order.id: order.driver_id
            for order in state.orders.values()
            if order.held or order.pinned or order.touched_ms > since_ms
        }

    @rule(offer_s=st.integers(0, 90), stand_down_s=st.integers(0, 120), mode=st.sampled_from(["off", "auto"]))
    def set_autopilot(self, offer_s: int, stand_down_s: int, mode: str) -> None:
        rules = AutopilotRules(mode, offer_ms=offer_s * 1000, stand_down_ms=stand_down_s * 1000)  # type: ignore[arg-type]
        self.bench.do(SetAutopilot("plaza", rules, "olga"))

    @rule(draw=st.data())
    def plan(self, draw: st.DataObject) -> None:
        order_id = self.order(draw)
        if order_id is not None:
            self.bench.do(PlanMade("plaza", (Advice(order_id, "planned", driver_id="d-1", cost_min=3.0),)))

    @rule(due=st.integers(5, 120))
    def place(self, due: int) -> None:
        self.bench.place(due_in=due * MINUTE)

    def order(self, draw: st.DataObject) -> str | None:
        orders = list(self.bench.engine.state.orders)
        return draw.draw(st.sampled_from(orders)) if orders else None

    @rule(
        draw=st.data(),
        action=st.sampled_from(["assign", "reassign", "unassign", "hold", "release", "pin", "ready", "cancel"]),
        driver_id=st.sampled_from(DRIVERS), stale=st.booleans(), actor=st.sampled_from(["maya", "autopilot"]),
        position=st.none() | st.integers(0, 4),
    )  # fmt: skip
    def command(
        self, draw: st.DataObject, action: str, driver_id: str, stale: bool, actor: str, position: int | None
    ) -> None:
        order_id = self.order(draw)
        if order_id is not None:
            order = self.bench.engine.state.orders[order_id]
            seen = order.version - 1 if stale else order.version
            outputs = self.bench.command(
                action, order, driver_id, expected_version=seen, actor=actor, position=position
            )
            assert not stale or refusal(outputs) == "version_conflict"

    @rule(
        draw=st.data(),
        report=st.sampled_from(REPORTS),
        driver_id=st.sampled_from(DRIVERS),
        number=st.none() | st.integers(0, 40),
    )
    def report(self, draw: st.DataObject, report: str, driver_id: str, number: int | None) -> None:
        order_id = self.order(draw)
        if order_id is not None:
            order = self.bench.engine.state.orders[order_id]
            given = order.assignment if number is None else number
            self.bench.report(report, order, driver_id=order.driver_id or driver_id, assignment=given)

    @rule(draw=st.data())
    def undo(self, draw: st.DataObject) -> None:
        commands = list(self.bench.engine.state.commands)
        if commands:
            self.bench.undo(draw.draw(st.sampled_from(commands)))

    @rule(
        driver_id=st.sampled_from(DRIVERS),
        seq=st.integers(0, 30),
        north=st.floats(-0.02, 0.02),
        back_ms=st.integers(-40_000, 90_000),
    )
    def ping(self, driver_id: str, seq: int, north: float, back_ms: int) -> None:
        self.bench.do(a_ping(driver_id, self.bench.at_ms - back_ms, north, seq=seq), 1000)

    @rule(after_s=st.integers(1, 400))
    def tick(self, after_s: int) -> None:
        self.bench.do(Tick(), after_s * 1000)

    @invariant()
    def no_order_has_two_drivers(self) -> None:
        state = self.bench.engine.state
        carried = Counter(order_id for driver in state.drivers.values() for order_id in driver.order_ids)
        assert all(times == 1 for times in carried.values()), carried
        for driver in state.drivers.values():
            assert {stop.order_id for stop in driver.route} == set(driver.order_ids)
            for order_id in driver.order_ids:
                assert state.orders[order_id].driver_id == driver.id
        for order in state.orders.values():
            held_by = [d.id for d in state.drivers.values() if order.id in d.order_ids]
            active = order.driver_id is not None and order.status not in ENDED
            assert held_by == ([order.driver_id] if active else [])

    @invariant()
    def only_what_waits_has_advice_and_only_what_is_unanswered_lapses(self) -> None:
        for order in self.bench.engine.state.orders.values():
            assert order.advice is None or order.status in QUEUED
            assert order.offered_until_ms is None or order.status == "assigned"

    @invariant()
    def load_never_exceeds_capacity(self) -> None:
        assert all(len(driver.order_ids) <= driver.capacity for driver in self.bench.engine.state.drivers.values())

    @invariant()
    def ended_orders_stay_ended(self) -> None:
        for order in self.bench.engine.state.orders.values():
            if order.id in self.ended and self.ended[order.id] != "cancelled":
                assert order.status == self.ended[order.id]
            if order.status in ENDED:
                self.ended[order.id] = order.status
                assert order.ended_ms is not None

    @invariant()
    def marker_is_never_older_than_it_was(self) -> None:
        for driver in self.bench.engine.state.drivers.values():
            if driver.ping is not None:
                assert driver.ping.fix_ms >= self.shown.get(driver.id, 0)
                self.shown[driver.id] = driver.ping.fix_ms

    def indexes_are_what_the_state_says(self) -> None:
        rebuilt = Engine(self.bench.engine.floor, state=self.bench.engine.state)
        assert rebuilt.free.cells == self.bench.engine.free.cells
        assert rebuilt.everyone.cells == self.bench.engine.everyone.cells

    def teardown(self) -> None:
        self.indexes_are_what_the_state_says()
        again = Engine(a_floor())
        for at_ms, item in self.log:
            again.handle(at_ms, item)
        assert state_hash(again.state) == self.bench.engine.hash()


Floor.TestCase.settings = settings(max_examples=30, stateful_step_count=40)
TestFloor = Floor.TestCase


def test_order_body_of_the_protocol_decodes() -> None:
    body = b"""{"type":"order","external_id":"113-44556","mall_id":"fashion-show","stores":["fs-macys"],"items":2,
     "dropoff":{"name":"...","phone":"+17025550123","address":"3355 Spring Mountain Rd","lat":36.126,"lng":-115.192,
     "notes":"leave at door"},"placed_ms":1794560000000,"ready_ms":1794560900000,"due_ms":1794567200000,"priority":0}"""
    order = msgspec.json.decode(body, type=Input)
    assert isinstance(order, OrderPlaced)
    assert order.ready_ms == 1_794_560_900_000


def test_report_of_duty_is_heard(bench: Bench) -> None:
    bench.driver("d-1")
    bench.do(a_report("on_break"))
    assert bench.engine.state.drivers["d-1"].state == "on_break"
