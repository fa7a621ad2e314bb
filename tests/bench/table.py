"""The one table: a row for each figure, beside its peer, with its target and whether that is met.

It must not know how anything was measured.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

from msgspec import Struct
from rich.table import Table

Figures = dict[str, float]
"""What one run of a case gave, by name."""
Verdict = Literal["aim", "must", "no", "invalid", ""]

MOST_LOAD = 0.9
"""A load generator that takes more of its core than this is what was measured."""
COLUMNS = ("work", "ours", "unit", "peer", "theirs", "ratio", "must / aim", "met")
MET: dict[Verdict, str] = {"aim": "aim", "must": "must", "no": "NO", "": "", "invalid": "invalid"}
WORST = frozenset({"lost", "load_share"})
"""Figures of which the greatest of all runs counts, not the median."""


class Target(Struct, frozen=True):
    """What a figure must reach, and what it aims at. `more`: greater is better."""

    must: float
    aim: float
    more: bool = False
    of: Literal["ratio", "ours"] = "ratio"
    unit: str = "×"

    def verdict(self, value: float) -> Verdict:
        """Whether a value reaches the aim, only what it must, or neither."""
        for bound, name in ((self.aim, "aim"), (self.must, "must")):
            if (value >= bound) if self.more else (value <= bound):
                return "aim" if name == "aim" else "must"
        return "no"

    def text(self) -> str:
        """As in the table."""
        sign = "≥" if self.more else "≤"
        return f"{sign} {self.must:g} / {self.aim:g} {self.unit}".strip()


class Row(Struct, frozen=True):
    """One line. `ratio` is ours over theirs, or theirs over ours where greater is to be better."""

    work: str
    ours: float
    unit: str
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    target: Target | None = None
    fault: str = ""
    """Why the row does not count."""

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met."""
        if self.fault:
            return "invalid"
        judged = self.ours if self.target is not None and self.target.of == "ours" else self.ratio
        return "" if self.target is None or judged is None else self.target.verdict(judged)


class Medians:
    """The figures of several interleaved runs: the median of each, by case and name."""

    def __init__(self, runs: Mapping[str, Sequence[Figures]]) -> None:
        self.runs = runs

    def of(self, case: str, figure: str) -> float:
        """One figure of one case: the median, or the greatest where any run counts against it."""
        values = [run[figure] for run in self.runs[case]]
        return max(values) if figure in WORST else median(values)

    def fault(self, *cases: str) -> str:
        """Why figures of these cases do not count, or nothing."""
        for case in cases:
            if any("lost" in run for run in self.runs[case]) and self.of(case, "lost"):
                return f"{case}: {self.of(case, 'lost'):.0f} pings refused or not answered"
            if any("load_share" in run for run in self.runs[case]) and self.of(case, "load_share") > MOST_LOAD:
                return f"{case}: the load took {self.of(case, 'load_share'):.0%} of its core"
        return ""

    def speedup(
        self, work: str, figure: str, unit: str, ours: str, theirs: str, peer: str, target: Target | None = None
    ) -> Row:
        """A row where both are costs, and the ratio says how many times cheaper ours is."""
        mine, other = self.of(ours, figure), self.of(theirs, figure)
        return Row(work, mine, unit, peer, other, other / mine, target, self.fault(ours, theirs))

    def share(
        self, work: str, figure: str, unit: str, ours: str, theirs: str, peer: str, target: Target | None = None
    ) -> Row:
        """A row where both are costs, and the ratio says what part of the peer's ours is."""
        mine, other = self.of(ours, figure), self.of(theirs, figure)
        return Row(work, mine, unit, peer, other, mine / other, target, self.fault(ours, theirs))

    def alone(self, work: str, figure: str, unit: str, case: str, target: Target | None = None) -> Row:
        """A row without a peer."""
        return Row(work, self.of(case, figure), unit, target=target, fault=self.fault(case))


def render(title: str, groups: Mapping[str, Sequence[Row]]) -> Table:
    """The rows of all groups as one table."""
    table = Table(title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in {"ours", "theirs", "ratio"} else "left")
    for name, rows in groups.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]")
        for row in rows:
            table.add_row(*_cells(row))
    return table


def as_markdown(title: str, groups: Mapping[str, Sequence[Row]]) -> str:
    """The same table for a page of the docs."""
    lines = [f"Last run: {title}.", "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for name, rows in groups.items():
        lines.append(f"| **{name}** " + "| " * (len(COLUMNS) - 1) + "|")
        lines += ["| " + " | ".join([*_texts(row), row.fault or MET[row.verdict]]) + " |" for row in rows]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    colour = {"aim": "green", "must": "yellow", "no": "red", "invalid": "red", "": "white"}[row.verdict]
    return (*_texts(row), f"[{colour}]{row.fault or MET[row.verdict]}[/{colour}]")


def _texts(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{short(row.ratio)}×"
    return (
        row.work,
        short(row.ours),
        row.unit,
        row.peer,
        short(row.theirs),
        ratio,
        row.target.text() if row.target else "",
    )


def short(value: float | None) -> str:
    """Three digits that count."""
    if value is None or value != value:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
