"""Looks at each mall every few seconds, has a plan made of it, and hands in what follows: commands, and advice.

It must not decide (`dispatch` does, by a mall's rules) nor wait on the floor's way: what it hands in is judged by the
engine like anybody's, and refused where the floor has moved on meanwhile. A replay has its plans in the journal.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from streamer.core.events import Output, PlanMade, Refused
from streamer.core.settings import AutopilotMode, AutopilotRules
from streamer.dispatch.decide import Decision, Look
from streamer.dispatch.floor import laid_out
from streamer.dispatch.ground import Ways, on_roads
from streamer.dispatch.problem import Plan, Problem
from streamer.edge.measures import Histogram
from streamer.edge.runner import Runner
from streamer.edge.solver import NoPlanError, Solver
from streamer.edge.travel_http import RoadTimes

log = structlog.get_logger("autopilot")

POLL_S = 0.25
"""How often it is looked whether a mall is due, or its rules have changed."""
TURN_S = 0.003
"""After so long at a stretch, everybody else on the loop has a turn."""
ON_LOOP_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25)
SEARCH_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Health(Struct):
    """How the looks at one mall go. `plan_ms` is what its last plan took; `message` says why there was none."""

    ok: bool = True
    last_look_ms: int | None = None
    plan_ms: float | None = None
    message: str | None = None
    road_share: float | None = None
    """Of the legs of its last plan, those that are of roads, 0-1; the rest is the model's. None: no server is set."""


class LookTally:
    """What all looks together came to; for `/metrics`.

    Attributes:
        looks: begun and ended with a plan.
        failed: begun, and ended without one.
        skipped: that were due while another was under way.
        given: commands that took effect; `refused` those that did not, by code.
        told: pieces of advice.
        build_s: seconds the loop was held up by making a problem; `decide_s` by each turn at what follows from a plan.
        search_s: seconds of the other process for a plan.
        orders: of the last problem; `drivers` likewise.
    """

    def __init__(self) -> None:
        self.looks = self.failed = self.skipped = self.given = self.told = 0
        self.refused: Counter[str] = Counter()
        self.build_s, self.decide_s = Histogram(ON_LOOP_BOUNDS_S), Histogram(ON_LOOP_BOUNDS_S)
        self.search_s = Histogram(SEARCH_BOUNDS_S)
        self.orders = self.drivers = 0


class Autopilot:
    """The autopilot of all malls of a runner. One look is under way at a time."""

    def __init__(
        self, runner: Runner, mode: AutopilotMode | None = None, may_decide: bool = True,
        solver: Solver | None = None, roads: RoadTimes | None = None,
    ) -> None:  # fmt: skip
        """`mode` is for malls where nobody has set one, in this run; None: that of the journal's settings. Unless it
        `may_decide`, it only ever suggests, as on a recording, which has its own decisions.
        Plans rest on the times of `roads`, where these answer.
        """
        self.runner = runner
        self.tally = LookTally()
        self.may_decide = may_decide
        self.solver = solver or Solver()
        self.health = {mall_id: Health() for mall_id in runner.engine.floor.malls}
        self._mode = mode
        self.roads = roads
        self._seen: dict[str, tuple[int, AutopilotRules]] = {}

    def rules(self, mall_id: str) -> AutopilotRules:
        """How it works at a mall: as a person has set it, else as this run and the settings have it."""
        engine = self.runner.engine
        rules = engine.state.autopilot.get(mall_id)
        if rules is None:
            rules = engine.settings.autopilot
            rules = rules if self._mode is None else replace(rules, mode=self._mode)
        return rules

    def mode(self, mall_id: str) -> AutopilotMode:
        """The mode of a mall."""
        return self.rules(mall_id).mode

    async def run(self) -> None:
        """Look at every mall that wants it, each `look_ms`, until cancelled."""
        loop = asyncio.get_running_loop()
        due_s: dict[str, float] = {}
        while True:
            for mall_id in self.health:
                if not self._works(self.rules(mall_id)):
                    due_s.pop(mall_id, None)
                    self.health[mall_id].ok, self.health[mall_id].message = True, None
                elif due_s.get(mall_id, 0.0) <= loop.time():
                    began_s, every_s = loop.time(), self.rules(mall_id).look_ms / 1000
                    await self.look(mall_id)
                    missed = int((loop.time() - began_s) / every_s)
                    self.tally.skipped += missed
                    due_s[mall_id] = began_s + (1 + missed) * every_s
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """End the planning process, and let go of the routing server."""
        await asyncio.to_thread(self.solver.close)
        if self.roads is not None:
            await self.roads.close()

    async def look(self, mall_id: str) -> None:
        """One look at one mall; whatever goes wrong is logged and counted, and the floor goes on."""
        if self.runner.full or not self._has_changed(mall_id):
            return
        health = self.health[mall_id]
        health.last_look_ms = self._at_ms()
        try:
            health.plan_ms = await self._look(mall_id)
        except NoPlanError as error:
            self._failed(mall_id, str(error))
        except Exception as error:
            log.error("look_failed", mall_id=mall_id, exc_info=error)
            self._failed(mall_id, "the look failed; the log has the reason")
        else:
            health.ok, health.message = True, None
            self.tally.looks += 1

    # ------------------------------------------------------------ one look

    async def _look(self, mall_id: str) -> float | None:
        """Returns the milliseconds its plan took; None when there was nothing to plan."""
        rules, took_s = self.rules(mall_id), None
        with _Timed(self.tally.build_s):
            problem, ways = laid_out(self.runner.engine, mall_id, self._at_ms(), rules)
        self.tally.orders, self.tally.drivers = len(problem.orders), len(problem.drivers)
        plan = Plan({}, (), 0.0)
        if problem.orders:
            if self.roads is not None:
                problem = await self._on_roads(mall_id, problem, ways, self.roads)
            plan, took_s = await self.solver.solve(problem)
            self.tally.search_s.add(took_s)
        # What is decided is decided about the floor as it is now, under the rules it now has.
        rules = self.rules(mall_id)
        if self._works(rules):
            decision = await self._decide(mall_id, problem, plan, rules)
            if rules == self.rules(mall_id) and not self.runner.full:
                self._hand_in(mall_id, rules, decision)
        return None if took_s is None else round(1000 * took_s, 1)

    async def _on_roads(self, mall_id: str, problem: Problem, ways: Ways, roads: RoadTimes) -> Problem:
        """The problem by roads, as far as the server says in time; the floor is not held up meanwhile."""
        wanted = ways.wanted()
        road_ms, is_road = await roads.road_ms(ways.points, wanted)
        self.health[mall_id].road_share = round(float(is_road.sum()) / max(1, int(wanted.sum())), 3)
        return on_roads(problem, ways, road_ms, is_road)

    async def _decide(self, mall_id: str, problem: Problem, plan: Plan, rules: AutopilotRules) -> Decision:
        """Costing some hundred orders takes a tenth of a second: so much in one piece would hold up every ping."""
        began_s = time.perf_counter()
        look = Look(self.runner.engine, mall_id, problem, plan, rules, self._at_ms())
        for _ in look.steps():
            if (held_s := time.perf_counter() - began_s) > TURN_S:
                self.tally.decide_s.add(held_s)
                await asyncio.sleep(0)
                began_s = time.perf_counter()
        self.tally.decide_s.add(time.perf_counter() - began_s)
        return look.decision()

    def _hand_in(self, mall_id: str, rules: AutopilotRules, decision: Decision) -> None:
        """Commands first: what they give out needs no advice any more."""
        if rules.mode != "suggest":
            for command in decision.commands:
                self.runner.submit(command, self._came)
        if decision.advice:
            self.tally.told += len(decision.advice)
            # Where a recording plays, its inputs tell the time.
            self.runner.submit(PlanMade(mall_id, decision.advice), at_ms=self._at_ms())

    def _came(self, outputs: Sequence[Output]) -> None:
        if outputs and isinstance(outputs[0], Refused):
            self.tally.refused[outputs[0].code] += 1
        else:
            self.tally.given += 1

    def _works(self, rules: AutopilotRules) -> bool:
        return rules.mode == "suggest" or (self.may_decide and rules.mode != "off")

    def _has_changed(self, mall_id: str) -> bool:
        """Whether anything happened since the last look; a recording that has ended needs no more of them."""
        seen = (self.runner.engine.state.seq, self.rules(mall_id))
        changed = self._seen.get(mall_id) != seen
        self._seen[mall_id] = seen
        return changed

    def _at_ms(self) -> int:
        return self.runner.now_ms() if self.may_decide else self.runner.engine.state.at_ms

    def _failed(self, mall_id: str, message: str) -> None:
        health = self.health[mall_id]
        if health.message != message:
            log.warning("no_plan", mall_id=mall_id, reason=message)
        health.ok, health.message = False, message
        self.tally.failed += 1
        self._seen.pop(mall_id, None)


class _Timed:
    """Adds to a histogram how long something held up the loop."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._began_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._histogram.add(time.perf_counter() - self._began_s)
