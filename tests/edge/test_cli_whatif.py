"""`mallard fork` and `mallard compare`: both worlds side by side, for people and programs, and clear refusals."""

import json
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from streamer.core.comparison import Comparison
from streamer.core.kpis import Kpis
from streamer.edge.lab import trials
from streamer.edge.lab.contract import Result, Trial, Verdict
from streamer.edge.lab.verdict import verdict_of
from streamer.edge.recordings.fixtures import FixtureReader, find_fixture, read_companion
from streamer.edge.recordings.moments import instant_at
from tests.edge.test_cli import Mallard, mallard

__all__ = ["mallard"]

NEAR_THE_END = str(58 * 60_000)


def test_without_a_change_both_worlds_are_the_recording(mallard: Mallard) -> None:
    code, out, err = mallard("fork", "bad-day", "--at", NEAR_THE_END, "--json")
    assert (code, err) == (0, "")
    found = msgspec.json.decode(out, type=Comparison)
    assert found.recorded == found.forked == read_companion(find_fixture("bad-day")).kpis
    assert found.first_difference is None
    assert set(json.loads(out)) >= {"complete", "at_ms", "recorded", "forked", "orders", "first_difference"}


def test_a_policy_is_compared_in_a_table(mallard: Mallard) -> None:
    code, out, err = mallard(
        "fork", "bad-day", "--at", "15:58", "--policy", "nearest", "--drivers", "chandler-fashion-center=2",
        "--late", "cf-apple=20", "--hold", "--minutes", "1",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "click to door, min" in out
    assert "the first decision that differs" in out


def test_two_policies_are_compared_over_seeds(mallard: Mallard) -> None:
    code, out, err = mallard(
        "compare", "bad-day", "--policy", "nearest", "--policy", "no-hold", "--seeds", 2, "--at", NEAR_THE_END,
        "--minutes", "0.5", "--effort", 1, "--workers", 1, "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["policies"], found["seeds"]) == (["nearest", "no-hold"], 2)
    assert {"delivered", "on_time", "late", "orders_per_trip"} <= {one["figure"] for one in found["figures"]}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["fork", "bad-day", "--at", "soon"], "neither milliseconds nor a time of the day"),
        (["fork", "bad-day", "--at", "25:99"], "no time of the day"),
        (["fork", "bad-day", "--policy", "best"], "no policy"),
        (["fork", "bad-day", "--reassign", "o-1"], "--reassign wants NAME=VALUE"),
        (["fork", "bad-day", "--late", "nothing=5"], "there is no store nothing"),
        (["fork", "bad-day", "--late", "cf-apple=soon"], "--late cf-apple=soon"),
        (["fork", "bad-day", "--drivers", "x=many"], "--drivers x=many"),
        (["compare", "bad-day", "--policy", "plan"], "give --policy twice"),
        (["compare", "bad-day", "--policy", "plan", "--policy", "plan"], "with two names"),
    ],
)
def test_a_slip_is_one_line(mallard: Mallard, words: list[str], fault: str) -> None:
    code, out, err = mallard(*words)
    assert code in (1, 2)
    assert out == ""
    assert fault in " ".join(err.replace("│", " ").split())


def test_a_time_of_the_day_is_that_of_the_mall() -> None:
    with FixtureReader(find_fixture("two-malls")) as fixture:
        header = fixture.header
    assert instant_at(header, "15:30") == header.start_ms + 30 * 60_000
    assert instant_at(header, "15:00:30") == header.start_ms + 30_000
    assert instant_at(header, "1000") == header.start_ms + 1000
    assert instant_at(header, str(header.start_ms + 5)) == header.start_ms + 5
    assert instant_at(header, "14:00") == header.start_ms + 23 * 3_600_000, "it has been two: it is meant tomorrow"


def test_a_difference_that_all_seeds_share_is_found_and_one_that_is_luck_is_not() -> None:
    results = []
    for seed in range(10):
        luck = (-1) ** seed * (3 + seed)
        results.append(Result(Trial("nearest", seed), Kpis(delivered=50 + luck, late=5, on_time=0.9)))
        results.append(Result(Trial("plan", seed), Kpis(delivered=60 + luck + seed % 2, late=5 + seed % 3 - 1)))
    verdict = verdict_of("a-day", ("nearest", "plan"), results)
    figures = {one.figure: one for one in verdict.figures}
    delivered, late = figures["delivered"], figures["late"]
    assert delivered.difference == pytest.approx(10.5)
    assert delivered.low > 9
    assert delivered.p is not None
    assert delivered.p < 0.001
    assert delivered.first_half > 3, "alone, each is as uncertain as luck makes it"
    assert late.p is not None
    assert late.p > 0.3
    assert late.low < 0 < late.high
    assert "on_time" not in figures, "no figure, no test"


def test_figures_that_never_differ_have_no_p() -> None:
    results = [Result(Trial(policy, seed), Kpis(delivered=7)) for seed in (1, 2) for policy in ("plan", "nearest")]
    (delivered, *_) = verdict_of("a-day", ("plan", "nearest"), results).figures
    assert (delivered.difference, delivered.p, delivered.p_ranks) == (0.0, None, None)


@pytest.mark.parametrize(
    ("lived", "seeds", "said"),
    [(5, 2, "partial: 2 of 9 seeds were over"), (3, 1, "partial: 1 of 9 seeds were over: too few to compare")],
)
def test_a_comparison_that_is_interrupted_prints_what_is_known(
    mallard: Mallard, monkeypatch: pytest.MonkeyPatch, lived: int, seeds: int, said: str
) -> None:
    def interrupted(job: trials.Job, days: Sequence[Trial], workers: int | None) -> Iterator[Result]:
        for trial in days[:lived]:
            yield Result(trial, Kpis(delivered=trial.seed + len(trial.policy)))
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "run_trials", interrupted)
    words = ("compare", "bad-day", "--policy", "nearest", "--policy", "plan", "--seeds", 9)
    code, out, err = mallard(*words)
    assert code == 130
    assert said in err
    assert ("2 seeds (partial: stopped before the end)" in out) is (seeds > 1)
    code, out, _ = mallard(*words, "--json")
    found = msgspec.json.decode(out, type=Verdict)
    assert (code, found.seeds, found.complete) == (130, seeds, False)
