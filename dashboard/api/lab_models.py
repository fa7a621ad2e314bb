"""Bodies and answers of the policy lab's routes.

They must not know how a day is lived; the streamer's own types, checked by it too, are in its lab's contract.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from dashboard.api.models import SourceId

Policy = Literal["plan", "no-hold", "nearest"]


class LabBody(BaseModel):
    """What is to be lived: a recording, under two policies that differ, with so many seeds of drivers."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"source": "bad-day", "policies": ["nearest", "plan"], "seeds": 20}]}
    )
    source: SourceId
    policies: tuple[Policy, Policy]
    seeds: Annotated[int, Field(strict=True, ge=2, le=40)] = 20
    minutes: Annotated[float, Field(ge=1, le=1440)] | None = Field(
        default=None, description="of each day, from the recording's beginning; absent: all of it"
    )


class Pair(BaseModel):
    """A figure of one seed's day under both policies."""

    seed: int
    first: float
    second: float


class Compared(BaseModel):
    """One figure under both policies: means, half widths of their 95 % intervals, and the mean paired difference."""

    figure: str
    n: int = Field(description="seeds in which both policies have the figure")
    first: float
    second: float
    first_half: float
    second_half: float
    difference: float = Field(description="second less first, the mean over seeds")
    low: float = Field(description="with high: 95 % interval of the difference (t)")
    high: float
    p: float | None = Field(description="paired t test; null where all seeds differ alike")
    p_ranks: float | None = Field(description="Wilcoxon's signed ranks")
    pairs: list[Pair]


class Verdict(BaseModel):
    """What the seeds that are over come to; not `complete` while there are more to live."""

    fixture: str
    policies: tuple[Policy, Policy]
    seeds: int
    figures: list[Compared]
    complete: bool


class LabRun(BaseModel):
    """A run of the lab."""

    run: str
    status: Literal["running", "done", "cancelled", "failed"]
    source: str
    name: str
    policies: tuple[Policy, Policy]
    seeds: int
    minutes: float | None
    started_by: str
    started_ms: int
    days: int
    done: float = Field(description="of the days, parts of one too")
    left_ms: int | None = Field(description="how long the rest is likely to take")
    command: str = Field(description="the command line that gives the same")
    problem: str | None = None
    verdict: Verdict | None = None


class LabRuns(BaseModel):
    """The last runs, newest first."""

    items: list[LabRun]
