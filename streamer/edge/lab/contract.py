"""What is said of the policy lab: trials, verdicts, the calls on the live floor's link, and the lines of its process.

It must not know how a day is lived nor how figures are tested: the live floor imports this, and carries neither.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from streamer.core.changes import PolicyName
from streamer.core.kpis import Kpis
from streamer.edge.rooms.contract import SourceId

MOST_SEEDS = 40
MOST_MINUTES = 1440
Status = Literal["running", "done", "cancelled", "failed"]


# ------------------------------------------------------------ days and what they come to


class Trial(Struct, frozen=True):
    """One day to live."""

    policy: PolicyName
    seed: int


class Result(Struct, frozen=True):
    """What came of it."""

    trial: Trial
    kpis: Kpis


class Pair(Struct, frozen=True):
    """A figure of one seed's day under both policies."""

    seed: int
    first: float
    second: float


class Compared(Struct, frozen=True):
    """One figure under both policies over all seeds.

    `difference` is the mean of second less first, seed by seed; `low` and `high` bound it with 95 % confidence (t). `p`
    is how likely so large a difference is by luck alone (paired t test); `p_ranks` the same without assuming anything
    of how it is spread (Wilcoxon). None where all seeds agree, or a figure is missing.
    """

    figure: str
    n: int
    first: float
    second: float
    first_half: float
    second_half: float
    difference: float
    low: float
    high: float
    p: float | None
    p_ranks: float | None
    pairs: tuple[Pair, ...] = ()


class Verdict(Struct, frozen=True):
    """What `mallard compare` prints. `first_half` and `second_half` are half widths of 95 % intervals of the means.

    Not `complete`: of fewer seeds than were asked for, those that both policies had lived when it was stopped.
    """

    fixture: str
    policies: tuple[PolicyName, PolicyName]
    seeds: int
    figures: tuple[Compared, ...]
    complete: bool = True


def trials_of(policies: tuple[PolicyName, PolicyName], seeds: int) -> list[Trial]:
    """All days to live, seed by seed: whatever is over can be compared."""
    return [Trial(name, seed) for seed in range(1, seeds + 1) for name in policies]


# ------------------------------------------------------------ on the live floor's link


class LabStart(Struct, frozen=True):
    """Parameters of `lab_start`. Without `minutes`, each day is lived to the recording's end."""

    source: SourceId
    policies: tuple[PolicyName, PolicyName]
    seeds: Annotated[int, Meta(ge=2, le=MOST_SEEDS)] = 20
    minutes: Annotated[float, Meta(ge=1, le=MOST_MINUTES)] | None = None


class LabView(Struct, frozen=True):
    """One run (`lab_start`, and the items of `lab`). `done` of `days` are lived, in parts too.

    `left_ms` is how long the rest is likely to take, None while nobody can tell. `verdict` is of the seeds that are
    over, two at least. `command` is the command line that gives the same.
    """

    run: str
    status: Status
    source: str
    name: str
    policies: tuple[PolicyName, PolicyName]
    seeds: int
    minutes: float | None
    started_by: str
    started_ms: int
    days: int
    done: float
    left_ms: int | None
    command: str
    problem: str | None = None
    verdict: Verdict | None = None


# ------------------------------------------------------------ between the floor and the lab's process


class LabOrder(Struct, frozen=True):
    """What the process is told, one line: what to live, and the file."""

    path: str
    name: str
    policies: tuple[PolicyName, PolicyName]
    seeds: int
    minutes: float | None


class LabSaid(Struct, frozen=True, omit_defaults=True):
    """A line of the process: days lived so far; after each seed the verdict so far; or why it cannot go on."""

    done: float = 0.0
    verdict: Verdict | None = None
    problem: str | None = None
