"""The evidence holds only if all of it is there, and all of it passed."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.evidence import ATTACKS, FAULTS, Figure, Run, gather
from tests.prove.steps import WANTED, Done, Settings, Step, judge, steps_of

SHORT = Settings("short")


def a_report(name: str, passed: bool = True, when: str = "call", **figure: Any) -> Any:
    properties = [("evidence", {"what": name, "amount": 1, "outcome": figure})] if figure else []
    return SimpleNamespace(
        nodeid=f"tests/faults/test_x.py::{name}", passed=passed, failed=not passed, when=when,
        user_properties=properties,
    )  # fmt: skip


def done(run: Run, code: int = 0) -> Done:
    return Done(Step("x", ()), code, 1.0, run, Path("x.log"))


def all_there() -> Run:
    figures = [Figure(wanted.begins[0], 1, {}, True, "pytest x") for wanted in WANTED]
    attacks = dict.fromkeys(range(1, ATTACKS + 1), True)
    return Run(dict.fromkeys(range(1, FAULTS + 1), True), figures, attacks)


def verdict(*each: Done, settings: Settings = SHORT) -> Any:
    return judge(list(each), settings, "a machine", "now", 1.0)


def test_a_fault_counts_once_all_its_tests_passed() -> None:
    reports: Iterator[Any] = iter([
        a_report("test_f01_one"), a_report("test_f01_two"), a_report("TestF02Two::test_it"),
        a_report("test_f03_it"), a_report("test_f03_other", passed=False), a_report("test_other"),
        a_report("test_f04_no_setup", passed=False, when="setup"),
    ])  # fmt: skip
    run = gather(reports)
    assert run.faults == {1: True, 2: True, 3: False, 4: False}
    assert run.survived == 2


def test_a_figure_of_a_failed_test_did_not_pass() -> None:
    run = gather(iter([a_report("test_f01_x", passed=False, lost=3)]))
    assert [(figure.passed, figure.outcome) for figure in run.figures] == [(False, {"lost": 3})]


def test_the_whole_evidence_holds() -> None:
    proof = verdict(done(all_there()))
    assert proof.holds
    assert proof.survived == FAULTS


@pytest.mark.parametrize("number", [1, 17, 32])
def test_a_fault_that_did_not_run_is_missing(number: int) -> None:
    run = all_there()
    del run.faults[number]
    proof = verdict(done(run))
    assert proof.missing == [f"no test of F{number} ran"]
    assert not proof.holds


@pytest.mark.parametrize("number", [1, 30])
def test_an_attack_that_did_not_run_is_missing(number: int) -> None:
    run = all_there()
    del run.attacks[number]
    assert verdict(done(run)).missing == [f"no test of T{number} ran"]


def test_a_figure_that_was_not_gathered_is_missing() -> None:
    run = all_there()
    proof = verdict(done(Run(run.faults, run.figures[1:], run.attacks)))
    assert proof.missing == [f"no figure for: {WANTED[0].title}"]


def test_a_failed_step_or_figure_breaks_the_proof() -> None:
    assert not verdict(done(all_there(), code=1)).holds
    failed = Figure("one more", 1, {}, False, "pytest x")
    run = all_there()
    assert not verdict(done(Run(run.faults, [*run.figures, failed]))).holds


def test_a_fault_failed_in_one_step_is_failed() -> None:
    proof = verdict(done(all_there()), done(Run({7: False}, []), code=1))
    assert (proof.survived, proof.failed_faults) == (FAULTS - 1, [7])


def test_a_part_of_the_suite_is_not_asked_for_the_rest() -> None:
    run = Run({1: True}, [])
    assert verdict(done(run), settings=Settings("short", only="kill")).holds


def test_commands_say_the_scale_and_the_soak() -> None:
    settings = Settings("short", soak_min=30)
    assert settings.command("pytest x") == "MALLARD_PROVE=short MALLARD_SOAK_MIN=30 pytest x"


def test_every_file_of_the_suite_is_a_step_and_a_name_picks() -> None:
    assert {"process_kill", "storage_power"} <= {step.name for step in steps_of(None)}
    assert [step.name for step in steps_of("power")] == ["storage_power"]
    assert steps_of("f17")[0].arguments == (
        "tests/faults",
        "tests/attacks",
        "tests/sessions/test_golden.py",
        "-k",
        "f17",
    )
