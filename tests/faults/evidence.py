"""Figures from tests: `evidence("kill -9 cycles", 200, lost=0)`; and how many faults and attacks were survived.

It must not know what the figures mean. They are printed after a run, and written to the file MALLARD_EVIDENCE names.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
from msgspec import Struct

FAULTS = 32
ATTACKS = 30
_NUMBER = re.compile(r"::(?:test_f|TestF)(\d\d)")
_ATTACK = re.compile(r"::test_t(\d\d)_")


class Evidence(Protocol):
    """Notes a figure of this test: what was counted, how much of it, and what came out beside it."""

    def __call__(self, what: str, amount: int | float, **outcome: int | float | str) -> None: ...


class Figure(Struct, frozen=True):
    """One line of evidence. `command` gives this figure alone."""

    what: str
    amount: int | float
    outcome: dict[str, int | float | str]
    passed: bool
    command: str

    def __str__(self) -> str:
        rest = ", ".join(f"{name.replace('_', ' ')} {value:,}" if not isinstance(value, str) else f"{name} {value}"
                         for name, value in self.outcome.items())  # fmt: skip
        return f"{self.what}: {self.amount:,}" + (f" ({rest})" if rest else "") + ("" if self.passed else "  FAILED")


class Run(Struct, frozen=True):
    """What one run of pytest has to show."""

    faults: dict[int, bool]
    """By the fault's number, whether all of its tests passed; those that did not run are missing."""
    figures: list[Figure]
    attacks: dict[int, bool] = {}
    """The same by the attack's number."""

    @property
    def survived(self) -> int:
        """How many faults ran and passed."""
        return sum(self.faults.values())


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Call it with what was counted; the figure is printed only together with whether the test passed."""

    def note(what: str, amount: int | float, **outcome: int | float | str) -> None:
        request.node.user_properties.append(("evidence", {"what": what, "amount": amount, "outcome": outcome}))

    return note


def gather(reports: Iterator[pytest.TestReport]) -> Run:
    """The faults, attacks and figures in the reports of a run."""
    faults: dict[int, bool] = {}
    attacks: dict[int, bool] = {}
    figures = []
    for report in reports:
        ran = report.when == "call" or report.failed
        for pattern, passed in ((_NUMBER, faults), (_ATTACK, attacks)):
            if ran and (found := pattern.search(report.nodeid)):
                passed[int(found[1])] = passed.get(int(found[1]), True) and report.passed
        if report.when == "call":
            figures += [
                Figure(**value, passed=report.passed, command=f"pytest '{report.nodeid}'")
                for name, value in report.user_properties
                if name == "evidence" and isinstance(value, dict)
            ]
    return Run(dict(sorted(faults.items())), figures, dict(sorted(attacks.items())))


def show(run: Run, write: Callable[[str], None]) -> None:
    """Print the figures, `faults: N passed of 32` and `attacks: N passed of 30`."""
    for figure in run.figures:
        write(str(figure))
    for kind, most, letter, passed in (("faults", FAULTS, "F", run.faults), ("attacks", ATTACKS, "T", run.attacks)):
        if passed:
            failed = [f"{letter}{number}" for number, ok in passed.items() if not ok]
            rest = f"; failed: {', '.join(failed)}" if failed else ""
            write(f"{kind}: {sum(passed.values())} passed of {most}{rest}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After the run: the figures on the terminal, and in the file asked for."""
    reports = (each for kind in ("passed", "failed", "error") for each in terminalreporter.stats.get(kind, ()))
    run = gather(reports)
    if run.faults or run.figures or run.attacks:
        terminalreporter.section("evidence")
        show(run, terminalreporter.write_line)
    if path := os.environ.get("MALLARD_EVIDENCE"):
        Path(path).write_bytes(msgspec.json.encode(run))
