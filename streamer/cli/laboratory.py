"""Prints what came of days lived under two policies: figures, intervals and tests, as a table.

It must not know how a day is lived, nor how figures are tested.
"""

from rich.console import Console
from rich.table import Table

from streamer.cli.shown import unit_of
from streamer.edge.lab.contract import Verdict


def print_verdict(verdict: Verdict) -> None:
    """The figures as a table."""
    first, second = verdict.policies
    so_far = "" if verdict.complete else " (partial: stopped before the end)"
    title = f"{verdict.fixture}: {verdict.seeds} seeds{so_far}, means with 95 % intervals"
    table = Table("figure", first, second, f"{second} less {first}", "p (t)", "p (ranks)", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in verdict.figures:
        label, unit = unit_of(one.figure)
        table.add_row(
            label, f"{one.first / unit:,.4g} ± {one.first_half / unit:.2g}",
            f"{one.second / unit:,.4g} ± {one.second_half / unit:.2g}",
            f"{one.difference / unit:+,.3g} [{one.low / unit:+,.3g}, {one.high / unit:+,.3g}]", _p(one.p),
            _p(one.p_ranks),
        )  # fmt: skip
    Console().print(table)


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
