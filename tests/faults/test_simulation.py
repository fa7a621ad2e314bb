"""The seeded simulation: nothing may fail, whatever a seed does to people, cables, clocks, disks and the server.

`python -m tests.faults.simulation --start SEED --seeds 1` runs a failing seed again; it then belongs in seeds.txt.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.evidence import Evidence
from tests.faults.scale import SCALE
from tests.faults.simulation.__main__ import outcomes, told
from tests.faults.simulation.loop import SimulatedLoop, StalledError
from tests.faults.simulation.world import World, simulate

KEPT = [
    int(line.split()[0]) for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines() if line[0] != "#"
]
JOBS = 2 if SCALE.seeds > 100 else 1
"""Programs that share the seeds; below, starting a second one would take longer than it saves."""


@pytest.mark.timeout(60 + SCALE.seeds)
def test_nothing_acknowledged_is_lost_whatever_the_seed(evidence: Evidence) -> None:
    totals: Counter[str] = Counter()
    failed = []
    for outcome in outcomes(0, SCALE.seeds, JOBS):
        totals.update(inputs=outcome.entries, acknowledged=outcome.acked, crashes=outcome.crashes)
        if not outcome.passed:
            failed.append(told(outcome))
    evidence("simulated seeds", SCALE.seeds, **totals, failed=len(failed))
    assert not failed, failed[0]
    assert totals["crashes"] > SCALE.seeds, "these seeds were too gentle"


@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_once_failed_passes(seed: int) -> None:
    outcome = simulate(seed)
    assert outcome.passed, told(outcome)


def test_a_seed_is_one_history() -> None:
    assert simulate(3).trace == simulate(3).trace
    assert simulate(3).trace != simulate(4).trace


@pytest.mark.parametrize("seed", [1, 3])
def test_a_seed_is_one_history_under_any_hash_seed(seed: int) -> None:
    program = f"from tests.faults.simulation.world import simulate; print(simulate({seed}).trace)"
    traces = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True, text=True,
            capture_output=True, cwd=Path(__file__).parents[2],
        ).stdout
        for hash_seed in ("0", "1", "12345")
    }  # fmt: skip
    assert traces == {simulate(seed).trace + "\n"}


def test_seeds_reach_the_corners() -> None:
    """A simulation that never fills a disk in the middle of a bulk proves less than it seems to."""
    seen: Counter[str] = Counter()
    for seed in range(12):
        world = World(seed)
        assert world.run().passed
        seen.update(f"operation {operation.outcome}" for operation in world.checker.history.operations.values())
        seen.update(str(nack["code"]) for nack in world.checker.nacks)
        seen.update(order.status for order in world.checker.durable.state.orders.values())
        seen.update(type(entry.input).__name__ for entry in world.checker.entries)
        seen.update(f"ping {entry.verdict}" for entry in world.checker.entries)
    wanted = {
        "operation ok", "operation refused", "storage_full", "stale_assignment", "off_duty", "future", "bad_transition",
        "cancelled", "delivered", "HandOver", "Undo", "SetDuty", "ping late", "ping jump", "ping inaccurate",
    }  # fmt: skip
    assert not wanted - set(seen), f"never met: {sorted(wanted - set(seen))}"


def test_simulated_time_jumps_to_the_next_timer_and_stands_still_without_one() -> None:
    loop, told_s = SimulatedLoop(), []
    for delay_s in (3600.0, 0.5):
        loop.call_later(delay_s, lambda: told_s.append(loop.time()))
    with pytest.raises(StalledError):
        loop.run_forever()
    loop.close()
    assert told_s == [0.5, 3600.0]
