"""`python -m tests.prove`: gathers all long evidence, prints each figure with the command that gives it alone.

It must not know how anything is measured. Exit code 1 if anything failed or is missing; build/prove.json has all of it.
"""

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime

import msgspec

from tests.faults.evidence import ATTACKS, FAULTS
from tests.prove.steps import HERE, Done, Proof, Settings, judge, run_step, steps_of

RESULT = HERE / "build" / "prove.json"
TAIL_LINES = 40


def main() -> int:
    """Run the steps one after the other, with a line before and after each."""
    settings = read_arguments()
    steps, done = steps_of(settings.only), []
    began, began_s = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    print(f"evidence at scale {settings.scale}, {len(steps)} steps; {machine}; {began}", flush=True)
    for number, step in enumerate(steps, 1):
        print(f"[{number}/{len(steps)}] {step.name} ... ", end="", flush=True)
        done.append(run_step(step, settings))
        show_step(done[-1], settings)
    proof = judge(done, settings, machine, began, time.monotonic() - began_s)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_bytes(msgspec.json.format(msgspec.json.encode(proof)))
    show_table(proof)
    return 0 if proof.holds else 1


def read_arguments() -> Settings:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description="Gather all long evidence.")
    parser.add_argument("--short", action="store_true", help="the setting of .ci/run: under 40 minutes on two cores")
    parser.add_argument("--only", metavar="NAME", help="a file (kill, power, malformed, ...), or tests (f17, t09)")
    parser.add_argument("--soak-min", type=float, metavar="N", help="let the soak take so many minutes")
    given = parser.parse_args()
    return Settings("short" if given.short else "full", given.only, given.soak_min)


def show_step(done: Done, settings: Settings) -> None:
    """What a step brought; of one that failed, the end of its log."""
    survived = " ".join(
        f"{letter}{number}"
        for letter, found in (("F", done.run.faults), ("T", done.run.attacks))
        for number, passed in found.items()
        if passed
    )
    print(f"{'passed' if done.passed else 'FAILED'} in {done.seconds:.0f} s  {survived}")
    for figure in done.run.figures:
        print(f"    {figure}\n        {settings.command(figure.command)}", flush=True)
    if not done.passed:
        lines = (HERE / done.log).read_text(errors="replace").splitlines()[-TAIL_LINES:]
        print("\n".join(f"    | {line}" for line in lines), flush=True)


def show_table(proof: Proof) -> None:
    """One line a figure, and the verdict."""
    width = max((len(figure.what) for figure in proof.figures), default=0)
    print(f"\n{'figure':<{width}}  {'amount':>12}  outcome")
    for figure in proof.figures:
        outcome = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figure.outcome.items())
        print(f"{figure.what:<{width}}  {figure.amount:>12,}  {outcome}{'' if figure.passed else '  FAILED'}")
    print(f"\nfaults: {proof.survived} passed of {FAULTS}")
    print(f"attacks: {proof.refused} passed of {ATTACKS}")
    for problem in (*(f"step {name} failed" for name in proof.failed_steps), *proof.missing):
        print(f"  {problem}")
    print(f"{'the evidence holds' if proof.holds else 'THE EVIDENCE DOES NOT HOLD'}; {proof.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    sys.exit(main())
