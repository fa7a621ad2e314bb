"""Ten bugs planted in the real code, each found by the simulation: so its silence about the code as it is says a lot.

The same seeds pass without them: see `test_nothing_acknowledged_is_lost_whatever_the_seed`.
"""

import pytest

from tests.faults.evidence import Evidence
from tests.faults.simulation.planted import FURTHER, SEEDS, TEN, Bug, hunt
from tests.faults.simulation.world import simulate


def name_of(bug: Bug) -> str:
    return bug.name.replace(" ", "-")


def test_ten_planted_bugs_are_caught(evidence: Evidence, capsys: pytest.CaptureFixture[str]) -> None:
    found = {bug.name: hunt(bug) for bug in TEN}
    with capsys.disabled():
        print()
        for name, caught in found.items():
            print(f"  {name}: {caught.check or 'not caught'} after {caught.seeds} seeds, {caught.message[:100]}")
        print(f"planted bugs: {sum(bool(caught.check) for caught in found.values())}/{len(TEN)} caught")
    wrong = [bug.name for bug in TEN if found[bug.name].check not in bug.caught_by]
    assert not wrong, f"not caught, or by another check than the one for it: {wrong}"
    evidence("planted bugs caught", len(found), of=len(TEN), by="; ".join(f"{n}: {c.check}" for n, c in found.items()))


@pytest.mark.parametrize("bug", FURTHER, ids=name_of)
def test_a_further_bug_is_caught(bug: Bug) -> None:
    caught = hunt(bug)
    assert caught.check in bug.caught_by, f"{bug.name}: {caught}"


def test_nothing_is_left_of_a_planted_bug() -> None:
    clean = [simulate(seed).trace for seed in range(2)]
    for bug in (*TEN, *FURTHER):
        with bug.plant():
            pass
    assert [simulate(seed).trace for seed in range(2)] == clean


def test_the_seeds_that_catch_them_pass_without_them() -> None:
    worst = max(hunt(bug).seeds for bug in (*TEN, *FURTHER))
    assert worst <= SEEDS
    for seed in range(worst):
        outcome = simulate(seed)
        assert outcome.passed, f"seed {seed}: {outcome.check}: {outcome.message}"
