"""F30: memory does not creep."""

from pathlib import Path

import pytest

from tests.faults.evidence import Evidence
from tests.faults.scale import SCALE
from tests.faults.soak import Outcome, Sample, soak


@pytest.mark.timeout(120 + 2 * SCALE.soak_s)
async def test_f30_memory_is_level_under_steady_load(tmp_path: Path, evidence: Evidence) -> None:
    if not SCALE.soak_s:
        pytest.skip("a soak takes minutes: `make prove`, or `python -m tests.faults.soak --minutes 30`")
    outcome = await soak(tmp_path, SCALE.soak_s, lambda _seconds, _mib: None)
    assert outcome.grew_mib < outcome.bound_mib
    assert outcome.pings > 100 * SCALE.soak_s
    evidence(
        "seconds of soak", SCALE.soak_s, pings=outcome.pings, orders=outcome.orders,
        memory_slope_mib_an_hour=round(outcome.slope_mib_an_hour, 1), grew_mib=round(outcome.grew_mib, 2),
        allowed_mib=round(outcome.bound_mib, 1),
    )  # fmt: skip


@pytest.mark.parametrize(("leak_mib_an_hour", "level"), [(0.0, True), (80.0, True), (400.0, False), (4_000.0, False)])
def test_a_leak_is_told_from_noise(leak_mib_an_hour: float, level: bool) -> None:
    noise = [0.0, 1.5, -1.0, 0.4, -0.9]
    samples = [
        Sample(float(second), 90 + min(second, 40) / 4 + noise[second % 5] + leak_mib_an_hour * second / 3600, second)
        for second in range(180)
    ]
    outcome = Outcome(180.0, samples, 0, 0, 0, 0)
    assert (outcome.grew_mib < outcome.bound_mib) == level
    assert abs(outcome.slope_mib_an_hour - leak_mib_an_hour) < 10
