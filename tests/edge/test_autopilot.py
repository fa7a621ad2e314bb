"""The autopilot on a real floor with a real planning process: it suggests, decides, stands back, and never disturbs."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Dropoff, Input, OrderCommand, PlanMade, SetAutopilot, SetDuty, Tick
from streamer.core.settings import AutopilotMode, AutopilotRules, TravelRules
from streamer.core.state import Order
from streamer.core.travel import Travel
from streamer.dispatch.problem import Plan, Problem
from streamer.dispatch.search import plan
from streamer.edge import solver as solving
from streamer.edge.autopilot import Autopilot, Health
from streamer.edge.clock import ManualClock
from streamer.edge.journal.contract import MemoryJournal
from streamer.edge.journal.sqlite import SqliteJournal
from streamer.edge.runner import Runner
from streamer.edge.solver import Solver
from streamer.edge.travel_http import FAILURES_ALLOWED, RoadTimes, RoutingRules
from tests.builders import MALL, MINUTE, T0, a_floor, a_ping, a_report, an_order
from tests.edge.floor_kit import a_header, replayed_hash
from tests.edge.routing_kit import Stub, stub

__all__ = ["stub"]

SOON_S = 20.0


def slow(problem: Problem, seed: int) -> Plan:
    """A search that takes its time."""
    time.sleep(1.0)
    return plan(problem, seed)


def stuck(problem: Problem, seed: int) -> Plan:
    """A search that never ends, and does not listen."""
    while True:
        pass


def broken(problem: Problem, seed: int) -> Plan:
    """A search with a fault."""
    raise ArithmeticError("a fault of the search")


class Floor:
    """A runner whose clock is set by hand, with drivers at the mall and orders that are ready to go."""

    def __init__(self, journal: Any = None, **fields: Any) -> None:
        self.clock = ManualClock(T0)
        self.runner = Runner(Engine(a_floor()), journal or MemoryJournal(a_header()), self.clock)
        self.autopilot = Autopilot(self.runner, **fields)
        self.inputs: list[Input] = []
        self.runner.hooks.append(lambda item, _: self.inputs.append(item))

    def do(self, item: Input) -> None:
        self.runner.submit(item)

    def driver(self, driver_id: str, **fields: Any) -> None:
        self.do(DriverRegistered(driver_id, driver_id, **fields))
        self.do(a_report("on_duty", driver_id, fix_ms=self.clock.at_ms))
        self.do(a_ping(driver_id, self.clock.at_ms, north=0.002))

    def order(self, **fields: Any) -> Order:
        self.do(an_order(placed_ms=self.clock.at_ms, due_ms=self.clock.at_ms + 90 * MINUTE, **fields))
        order = self.orders[f"o-{self.runner.engine.state.orders_placed}"]
        self.do(OrderCommand("ready", order.id, order.version, "macys"))
        return order

    def person(self, action: Any, order: Order, driver_id: str | None = None) -> None:
        self.do(OrderCommand(action, order.id, order.version, "maya", driver_id))

    def rules(self, mode: AutopilotMode, **fields: Any) -> None:
        self.do(SetAutopilot("plaza", AutopilotRules(mode, **fields), "olga"))

    async def look(self, after_ms: int = 0) -> None:
        self.clock.at_ms += after_ms
        self.do(Tick())
        await self.autopilot.look("plaza")

    @property
    def orders(self) -> dict[str, Order]:
        return self.runner.engine.state.orders

    def sent(self) -> list[OrderCommand]:
        """What the autopilot has decided and what took effect."""
        return [item for item in self.inputs if isinstance(item, OrderCommand) and item.actor == "autopilot"]


@asynccontextmanager
async def a_running(journal: Any = None, **fields: Any) -> AsyncIterator[Floor]:
    floor = Floor(journal, **fields)
    await floor.runner.start()
    floor.driver("d-1")
    floor.driver("d-2")
    try:
        yield floor
    finally:
        await floor.autopilot.close()
        await floor.runner.stop()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not happened():
            await asyncio.sleep(0.02)


# ---------------------------------------------------------------- modes


async def test_an_autopilot_that_is_off_starts_no_process() -> None:
    async with a_running() as floor:
        floor.order()
        running = asyncio.create_task(floor.autopilot.run())
        await asyncio.sleep(0.6)
        running.cancel()
        assert floor.autopilot.solver.pid is None
        assert not [item for item in floor.inputs if isinstance(item, PlanMade)]


async def test_suggesting_says_who_and_why_and_gives_nothing_out() -> None:
    async with a_running(mode="suggest") as floor:
        order = floor.order()
        await floor.look()
        advice = order.advice
        assert advice is not None
        assert (advice.word, advice.driver_id in {"d-1", "d-2"}, advice.trip) == ("suggested", True, (order.id,))
        assert advice.cost_min == pytest.approx(sum(advice.terms.values()), abs=0.011)
        assert (order.status, floor.sent()) == ("ready", [])
        health = floor.autopilot.health["plaza"]
        assert (health.ok, health.last_look_ms, health.message) == (True, T0, None)
        assert health.plan_ms is not None


async def test_advice_that_stays_the_same_is_not_said_again() -> None:
    async with a_running(mode="suggest") as floor:
        floor.order()
        await floor.look()
        await floor.look(2_000)
        assert len([item for item in floor.inputs if isinstance(item, PlanMade)]) == 1
        assert floor.autopilot.tally.looks == 2


async def test_deciding_gives_out_what_must_leave_and_says_so_by_versioned_commands() -> None:
    async with a_running(mode="auto") as floor:
        order = floor.order()
        seen = order.version
        await floor.look()
        assert (order.status, order.advice) == ("assigned", None)
        (command,) = floor.sent()
        assert (command.expected_version, command.actor, command.key) == (seen, "autopilot", None)
        assert command.reason
        assert floor.autopilot.tally.given == 1


async def test_what_people_hold_pin_or_touch_is_left_to_them() -> None:
    async with a_running(mode="auto") as floor:
        held, pinned, touched = floor.order(), floor.order(), floor.order()
        floor.person("hold", held)
        floor.person("assign", pinned, "d-1")
        floor.person("pin", pinned)
        floor.person("hold", touched)
        floor.person("release", touched)
        await floor.look()
        assert (held.status, pinned.driver_id, touched.status) == ("ready", "d-1", "ready")
        assert held.advice is not None
        assert held.advice.word == "left_to_people"
        await floor.look(61_000)
        assert (held.status, pinned.driver_id) == ("ready", "d-1")
        assert touched.status == "assigned"
        assert {command.order_id for command in floor.sent()} == {touched.id}


async def test_exceptions_are_left_to_people() -> None:
    async with a_running(mode="auto_with_exceptions") as floor:
        late = floor.order(dropoff=Dropoff(MALL[0] - 0.03, MALL[1] + 0.03))
        floor.clock.at_ms += 88 * MINUTE
        for driver_id in ("d-1", "d-2"):
            floor.do(a_ping(driver_id, floor.clock.at_ms, north=0.002))
        usual = floor.order()
        await floor.look()
        assert (late.status, usual.status) == ("ready", "assigned")
        assert late.advice is not None
        assert (late.advice.word, late.advice.driver_id is not None) == ("suggested", True)


async def test_rules_of_a_person_go_before_those_of_the_run() -> None:
    async with a_running(mode="auto") as floor:
        order = floor.order()
        floor.rules("suggest")
        await floor.look()
        assert order.status == "ready"
        assert floor.autopilot.mode("plaza") == "suggest"
        floor.rules("off")
        assert order.advice is None
        running = asyncio.create_task(floor.autopilot.run())
        await asyncio.sleep(0.4)
        running.cancel()
        assert order.advice is None


async def test_an_offer_nobody_answers_goes_to_somebody_else() -> None:
    async with a_running() as floor:
        floor.rules("auto", offer_ms=30_000)
        order = floor.order()
        await floor.look()
        first = order.driver_id
        assert order.offered_until_ms == T0 + 30_000
        await floor.look(30_000)
        assert order.driver_id not in {first, None}
        assert order.declined_by == [first]


# ---------------------------------------------------------------- the world moves on


async def test_what_moved_while_a_plan_was_made_is_left_alone_order_by_order() -> None:
    async with a_running(mode="auto", solver=Solver(slow)) as floor:
        taken, held, cancelled, still = (floor.order() for _ in range(4))
        looking = asyncio.create_task(floor.look())
        await until(lambda: floor.autopilot.solver.pid is not None)
        floor.person("assign", taken, "d-1")
        floor.person("hold", held)
        floor.person("cancel", cancelled)
        await looking
        assert (taken.driver_id, held.status, cancelled.status) == ("d-1", "ready", "cancelled")
        assert {command.order_id for command in floor.sent()} <= {still.id}
        assert "maya" not in {command.actor for command in floor.sent()}


async def test_a_driver_that_left_while_a_plan_was_made_gets_nothing() -> None:
    async with a_running(mode="auto", solver=Solver(slow)) as floor:
        order = floor.order()
        looking = asyncio.create_task(floor.look())
        await until(lambda: floor.autopilot.solver.pid is not None)
        for driver_id in ("d-1", "d-2"):
            floor.do(SetDuty(driver_id, "off_duty", "maya"))
        await looking
        assert order.status == "ready"


async def test_a_plan_that_comes_back_after_its_mall_was_turned_off_is_dropped() -> None:
    async with a_running(mode="auto", solver=Solver(slow)) as floor:
        order = floor.order()
        looking = asyncio.create_task(floor.look())
        await until(lambda: floor.autopilot.solver.pid is not None)
        floor.rules("off")
        await looking
        assert (order.status, order.advice) == ("ready", None)


async def test_what_the_engine_refuses_is_counted_by_its_code() -> None:
    async with a_running(mode="auto") as floor:
        order = floor.order()
        floor.autopilot.runner.submit(
            OrderCommand("assign", order.id, order.version + 1, "autopilot", "d-1"), floor.autopilot._came
        )
        assert floor.autopilot.tally.refused == {"version_conflict": 1}
        assert floor.autopilot.tally.given == 0


# ---------------------------------------------------------------- the process


async def test_the_loop_goes_on_while_a_plan_is_made() -> None:
    async with a_running(mode="suggest", solver=Solver(slow)) as floor:
        floor.order()
        looking = asyncio.create_task(floor.look())
        await until(lambda: floor.autopilot.solver.pid is not None)
        late_s = 0.0
        while not looking.done():
            began_s = time.perf_counter()
            await asyncio.sleep(0.005)
            late_s = max(late_s, time.perf_counter() - began_s)
        # Two busy cores may hold a timer up; a second of search on this loop would do so for a second.
        assert late_s < 0.5


async def test_a_killed_process_is_started_again() -> None:
    async with a_running(mode="auto") as floor:
        floor.order()
        await floor.look()
        pid = floor.autopilot.solver.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        order = floor.order()
        await until(lambda: not alive(pid))
        await floor.look(1_000)
        health = floor.autopilot.health["plaza"]
        assert (health.ok, health.message) == (False, "the planning process ended by itself")
        assert order.status == "ready"
        await floor.look(1_000)
        assert health.message == "the planning process ended by itself and is started again soon"
        await asyncio.sleep(solving.FIRST_REST_S)
        await floor.look(1_000)
        assert told(health) == (True, None)
        assert order.driver_id is not None
        assert floor.autopilot.solver.pid not in {pid, None}
        assert (floor.autopilot.solver.starts, floor.autopilot.tally.failed) == (2, 2)


async def test_a_search_that_never_ends_is_ended() -> None:
    async with a_running(mode="auto", solver=Solver(stuck, limit_s=1.5)) as floor:
        order = floor.order()
        looking = asyncio.create_task(floor.look())
        await until(lambda: floor.autopilot.solver.pid is not None)
        pid = floor.autopilot.solver.pid
        await looking
        assert floor.autopilot.health["plaza"].message == "the search took longer than 1.5 s"
        assert pid is not None
        await until(lambda: not alive(pid))
        assert order.status == "ready"


async def test_a_fault_of_the_search_is_no_fault_of_the_floor() -> None:
    async with a_running(mode="auto", solver=Solver(broken)) as floor:
        floor.order()
        await floor.look()
        health = floor.autopilot.health["plaza"]
        assert (health.ok, health.message) == (False, "the look failed; the log has the reason")
        assert floor.autopilot.tally.failed == 1


async def test_a_process_goes_behind_the_floor_and_ends_with_its_autopilot() -> None:
    async with a_running(mode="auto") as floor:
        floor.order()
        await floor.look()
        pid = floor.autopilot.solver.pid
        assert pid is not None
        assert os.getpriority(os.PRIO_PROCESS, pid) >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + solving.NICENESS)
    await until(lambda: not alive(pid))


PARENT = """
import asyncio, time
from streamer.core.settings import AutopilotRules
from streamer.dispatch.floor import problem_of
from streamer.edge.solver import Solver
from streamer.edge.travel_http import FAILURES_ALLOWED, RoadTimes, RoutingRules
from tests.builders import T0
from tests.edge.test_autopilot import Floor

async def main():
    floor = Floor()
    floor.driver("d-1")
    floor.order()
    solver = Solver()
    await solver.solve(problem_of(floor.runner.engine, "plaza", T0, AutopilotRules()))
    print("worker", solver.pid, flush=True)
    time.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_a_process_whose_floor_was_killed_ends_itself(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, tmp_path / "parent.py", stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert parent.stdout is not None
    lines = [line async for line in _up_to(parent.stdout, b"worker")]
    pid = int(lines[-1].split()[1])
    assert alive(pid)
    parent.kill()
    await parent.wait()
    await until(lambda: not alive(pid))


async def _up_to(stream: asyncio.StreamReader, word: bytes) -> AsyncIterator[bytes]:
    async for line in stream:
        yield line
        if line.startswith(word):
            return


def told(health: Health) -> tuple[bool, str | None]:
    return health.ok, health.message


def alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------- rhythm


async def test_each_mall_is_looked_at_in_its_own_rhythm() -> None:
    async with a_running(mode="suggest") as floor:
        floor.rules("suggest", look_ms=1_000)
        floor.order()
        running = asyncio.create_task(floor.autopilot.run())

        async def ticking() -> None:
            while True:
                floor.do(Tick())
                await asyncio.sleep(0.05)

        beat = asyncio.create_task(ticking())
        await until(lambda: floor.autopilot.tally.looks == 1)
        began_s = time.monotonic()
        await until(lambda: floor.autopilot.tally.looks == 3)
        took_s = time.monotonic() - began_s
        running.cancel()
        beat.cancel()
        assert took_s > 1.0


# ---------------------------------------------------------------- replay


async def test_the_journal_replays_to_the_same_state_without_planning(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    async with a_running(journal) as floor:
        floor.rules("auto", offer_ms=20_000)
        orders = [floor.order() for _ in range(3)]
        floor.person("hold", orders[0])
        for _ in range(4):
            await floor.look(15_000)
        assert floor.sent()
        assert [item for item in floor.inputs if isinstance(item, PlanMade)]
        live = floor.runner.engine.hash()
    assert replayed_hash(tmp_path) == live


# ---------------------------------------------------------------- on a recording


async def test_on_a_recording_it_only_suggests_and_time_is_the_recordings() -> None:
    async with a_running(mode="suggest", may_decide=False) as floor:
        order = floor.order()
        floor.clock.at_ms += 5 * MINUTE
        await floor.autopilot.look("plaza")
        assert order.advice is not None
        assert floor.runner.engine.state.at_ms == T0
        floor.do(SetAutopilot("plaza", replace(floor.autopilot.rules("plaza"), mode="auto"), "olga"))
        running = asyncio.create_task(floor.autopilot.run())
        await asyncio.sleep(0.6)
        running.cancel()
        assert (order.status, floor.sent()) == ("ready", [])


async def test_a_recording_that_has_ended_needs_no_more_looks() -> None:
    async with a_running(mode="suggest", may_decide=False) as floor:
        floor.order()
        for _ in range(4):
            await floor.autopilot.look("plaza")
        assert floor.autopilot.tally.looks == 2


# ---------------------------------------------------------------- roads


async def test_plans_rest_on_roads_while_the_server_answers_and_on_the_model_when_it_does_not(stub: Stub) -> None:
    rules = RoutingRules(kind="osrm", url=stub.url, timeout_ms=5_000, cached_ms=0)
    roads = RoadTimes(rules, Travel(TravelRules()))
    async with a_running(mode="suggest", roads=roads) as floor:
        floor.order()
        stub.twist = lambda rows: [[3_000.0 for _ in row] for row in rows]
        await floor.look()
        by_roads = floor.orders["o-1"].advice
        assert by_roads is not None
        assert by_roads.eta_dropoff_ms is not None
        assert by_roads.eta_dropoff_ms - T0 > 2 * 3_000_000
        assert (roads.status.source, floor.autopilot.health["plaza"].road_share) == ("osrm", 1.0)

        stub.twist = lambda rows: (503, "down")
        for _ in range(FAILURES_ALLOWED):
            await floor.look(after_ms=10_000)
        by_model = floor.orders["o-1"].advice
        assert by_model is not None
        assert by_model.eta_dropoff_ms is not None
        assert by_model.eta_dropoff_ms - T0 < 3_000_000
        health = floor.autopilot.health["plaza"]
        assert (health.ok, health.road_share, roads.status.source) == (True, 0.0, "model")
        assert roads.counters()["routing_on_model"] == 1
