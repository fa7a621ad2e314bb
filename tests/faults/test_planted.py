"""Ten bugs planted in the real code, each found by the simulation: so its silence about the code as it is says a lot.

The same seeds pass without them: see `test_nothing_acknowledged_is_lost_whatever_the_seed`.
"""

import pytest

from tests.faults.evidence import Evidence
from tests.faults.simulation.planted import FURTHER, TEN, Bug, Caught, hunt
from tests.faults.simulation.world import simulate


@pytest.fixture(scope="module")
def found() -> dict[str, Caught]:
    """How each of the bugs was caught."""
    return {bug.name: hunt(bug) for bug in (*TEN, *FURTHER)}


def name_of(bug: Bug) -> str:
    return bug.name.replace(" ", "-")


def test_ten_planted_bugs_are_caught(
    found: dict[str, Caught], evidence: Evidence, capsys: pytest.CaptureFixture[str]
) -> None:
    caught = [bug for bug in TEN if found[bug.name].check]
    with capsys.disabled():
        print()
        for bug in TEN:
            print(f"  {bug.name}: {found[bug.name]}")
        print(f"planted bugs: {len(caught)}/{len(TEN)} caught")
    by = "; ".join(f"{bug.name}: {found[bug.name].check} after {found[bug.name].seeds}" for bug in TEN)
    evidence("planted bugs caught", len(caught), of=len(TEN), by=by)
    assert len(caught) == 10


@pytest.mark.parametrize("bug", [*TEN, *FURTHER], ids=name_of)
def test_a_bug_is_caught_by_the_check_that_is_there_for_it(bug: Bug, found: dict[str, Caught]) -> None:
    assert found[bug.name].check in bug.caught_by, str(found[bug.name])


def test_the_seeds_that_catch_them_pass_without_them(found: dict[str, Caught]) -> None:
    for seed in range(max(caught.seeds for caught in found.values())):
        outcome = simulate(seed)
        assert outcome.passed, f"seed {seed}: {outcome.check}: {outcome.message}"


def test_nothing_is_left_of_a_planted_bug() -> None:
    clean = simulate(1).trace
    for bug in (*TEN, *FURTHER):
        with bug.plant():
            pass
    assert simulate(1).trace == clean
