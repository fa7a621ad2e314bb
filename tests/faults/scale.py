"""How much evidence a run gathers: a little in `make test`, more in `make prove`, less of that with `--short`.

It must not know what is repeated; each suite takes its own number from here.
"""

import os

import msgspec
from msgspec import Struct


class Scale(Struct, frozen=True):
    """How often each long suite repeats."""

    kill_cycles: int
    power_cuts: int
    seeds: int
    contested_commands: int
    resumes: int
    bad_inputs: int
    storm_sockets: int
    recovered_inputs: int
    soak_s: int
    malformed: int
    fork_moments: tuple[float, ...]
    """Shares of each recording's play at which it is forked."""
    fork_seeds: int
    replays: int
    seeks: int


SCALES = {
    "test": Scale(2, 20, 20, 500, 25, 4_000, 300, 20_000, 0, 600, (0.85,), 1, 4, 20),
    "short": Scale(
        50, 1_000, 1_000, 10_000, 500, 100_000, 5_000, 1_000_000, 180, 20_000, (0.02, 0.5, 0.85), 1, 10, 200
    ),
}
SCALES["full"] = msgspec.structs.replace(
    SCALES["short"], kill_cycles=200, power_cuts=2_000, seeds=5_000, bad_inputs=200_000, malformed=100_000,
    fork_moments=(0.02, 0.25, 0.5, 0.75, 0.85), fork_seeds=3, seeks=500,
)  # fmt: skip
NAME = os.environ.get("MALLARD_PROVE", "test")
SCALE = SCALES[NAME]
"""The scale of this run, by the environment's MALLARD_PROVE; MALLARD_SOAK_MIN sets the minutes of its soak."""
if minutes := os.environ.get("MALLARD_SOAK_MIN"):
    SCALE = msgspec.structs.replace(SCALE, soak_s=round(60 * float(minutes)))
RECORDINGS = ("bad-day",) if NAME == "test" else ("bad-day", "saturday-rush", "two-malls")
"""Those that go through real sockets, and under more than one hash seed."""
