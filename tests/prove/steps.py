"""What is run to gather the evidence, and which figures it has to bring: each file of tests/faults and tests/attacks is
one step, and so are the golden replays.

It must not know how a figure is measured; the tests note it, with the command that gives it alone.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.faults.evidence import ATTACKS, FAULTS, Figure, Run

HERE = Path(__file__).parents[2]
SUITES = (Path("tests/faults"), Path("tests/attacks"))
GOLDEN = Path("tests/sessions/test_golden.py")
LOGS = Path("build/prove")
STEP_S = 3_600.0
"""Longer than any step; a test that hangs is ended much earlier by its own limit."""


class Wanted(Struct, frozen=True):
    """A figure without which the evidence is not whole. `begins` is how its name begins."""

    title: str
    begins: tuple[str, ...]


WANTED = (
    Wanted("kill -9 of the real server", ("kill -9 cycles",)),
    Wanted("power cuts at FULL", ("power cuts",)),
    Wanted("control at NORMAL", ("control: power cuts at NORMAL",)),
    Wanted("seeded simulation", ("simulated seeds",)),
    Wanted("planted bugs", ("planted bugs",)),
    Wanted("bad inputs", ("bad messages",)),
    Wanted("contested commands", ("contested",)),
    Wanted("dashboard resumes", ("dashboards cut off and resumed",)),
    Wanted("reconnect storm", ("sockets of a reconnect storm",)),
    Wanted("recovery", ("inputs recovered",)),
    Wanted("soak", ("seconds of soak",)),
    Wanted("forks without a change", ("forks without a change",)),
    Wanted("forks with every driver simulated", ("forks with every driver simulated",)),
    Wanted("malformed requests", ("malformed requests",)),
    Wanted("replays in a row", ("replays in a row",)),
    Wanted("seeks", ("seeks in a recording",)),
    Wanted("broken fixtures", ("fixtures with broken bytes",)),
)


class Settings(Struct, frozen=True):
    """How much is gathered: `scale` is MALLARD_PROVE's, `only` picks steps or tests, `soak_min` lengthens the soak."""

    scale: str
    only: str | None = None
    soak_min: float | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the tests see of it."""
        soak = {} if self.soak_min is None else {"MALLARD_SOAK_MIN": str(self.soak_min)}
        return {"MALLARD_PROVE": self.scale, **soak}

    def command(self, pytest: str) -> str:
        """A figure's command, as somebody would type it."""
        return " ".join([*(f"{name}={value}" for name, value in self.environment.items()), pytest])


class Step(Struct, frozen=True):
    """One run of pytest."""

    name: str
    arguments: tuple[str, ...]


class Done(Struct, frozen=True):
    """What a step brought. `code` is pytest's: 0 passed, 5 nothing was selected."""

    step: Step
    code: int
    seconds: float
    run: Run
    log: Path

    @property
    def passed(self) -> bool:
        """Whether every test of it did."""
        return self.code == 0


def steps_of(only: str | None) -> list[Step]:
    """All files of the suites; or those that `only` names; or the tests it names, as pytest's -k does."""
    files = [path for suite in SUITES for path in sorted((HERE / suite).glob("test_*.py"))] + [HERE / GOLDEN]
    named = [path for path in files if only is None or only in path.stem]
    if named:
        return [Step(path.stem.removeprefix("test_"), (str(path.relative_to(HERE)),)) for path in named]
    return [Step(str(only), (*map(str, (*SUITES, GOLDEN)), "-k", str(only)))]


def run_step(step: Step, settings: Settings) -> Done:
    """Run the tests of a step; their output goes into a log."""
    (HERE / LOGS).mkdir(parents=True, exist_ok=True)
    log, found = LOGS / f"{step.name}.log", HERE / LOGS / f"{step.name}.json"
    found.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *step.arguments]
    environment = {**os.environ, **settings.environment, "MALLARD_EVIDENCE": str(found)}
    began_s = time.monotonic()
    with (HERE / log).open("wb") as file:
        code = subprocess.run(
            command, cwd=HERE, env=environment, stdout=file, stderr=file, timeout=STEP_S, check=False
        ).returncode
    run = msgspec.json.decode(found.read_bytes(), type=Run) if found.exists() else Run({}, [])
    return Done(step, code, time.monotonic() - began_s, run, log)


class Proof(Struct, frozen=True):
    """All evidence of a run, and what is missing of it."""

    scale: str
    machine: str
    began: str
    seconds: float
    survived: int
    failed_faults: list[int]
    refused: int
    """Attacks that came to nothing."""
    failed_attacks: list[int]
    figures: list[Figure]
    missing: list[str]
    failed_steps: list[str]

    @property
    def holds(self) -> bool:
        """Whether everything was gathered, and all of it is as promised."""
        return not self.missing and not self.failed_steps and all(figure.passed for figure in self.figures)


def judge(done: list[Done], settings: Settings, machine: str, began: str, seconds: float) -> Proof:
    """Put the steps together. A part of the suite is not asked for what lies in the others."""
    faults: dict[int, bool] = {}
    attacks: dict[int, bool] = {}
    for each in done:
        for found, all_of_them in ((each.run.faults, faults), (each.run.attacks, attacks)):
            for number, passed in found.items():
                all_of_them[number] = all_of_them.get(number, True) and passed
    figures = [
        msgspec.structs.replace(figure, command=settings.command(figure.command))
        for each in done
        for figure in each.run.figures
    ]
    missing = [] if settings.only else list(_missing(faults, attacks, figures))
    return Proof(
        settings.scale, machine, began, round(seconds, 1), sum(faults.values()),
        [number for number, passed in faults.items() if not passed], sum(attacks.values()),
        [number for number, passed in attacks.items() if not passed], figures, missing,
        [each.step.name for each in done if not each.passed],
    )  # fmt: skip


def _missing(faults: dict[int, bool], attacks: dict[int, bool], figures: list[Figure]) -> Iterator[str]:
    for letter, most, ran in (("F", FAULTS, faults), ("T", ATTACKS, attacks)):
        for number in range(1, most + 1):
            if number not in ran:
                yield f"no test of {letter}{number} ran"
    for wanted in WANTED:
        if not any(figure.what.startswith(wanted.begins) for figure in figures):
            yield f"no figure for: {wanted.title}"
