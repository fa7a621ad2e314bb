"""The floor's figures count every promise that fell due, and its rows compare like with like."""

import pytest

from tests.bench.groups.floor_policy import PEER, figures, floor_rows
from tests.bench.table import Medians
from tests.builders import MINUTE, Bench


def test_what_nobody_delivered_counts_as_a_promise_broken() -> None:
    bench = Bench()
    bench.driver()
    kept, missed, cancelled = (bench.place(due_in=30 * MINUTE) for _ in range(3))
    bench.place(due_in=90 * MINUTE)
    bench.command("cancel", cancelled)
    bench.command("assign", kept, "d-1")
    for report in ("accepted", "picked_up", "delivered"):
        bench.report(report, kept)
    found = figures(bench.engine.state, missed.due_ms)
    assert (found["due"], found["kept"], found["on_time"]) == (2.0, 50.0, 100.0)


def test_rows_are_judged_by_the_rush_and_only_shown_for_the_rest() -> None:
    ours = {
        "per_trip": 2.5,
        "wait_min": 2.0,
        "on_time": 99.0,
        "kept": 97.0,
        "due": 200.0,
        "delivered": 380.0,
        "s": 50.0,
    }
    theirs = {**ours, "per_trip": 1.0, "wait_min": 3.0, "kept": 90.0}
    runs = {f"{story} {policy}": [ours if policy == "plan" else theirs]
            for story in ("saturday-rush", "bad-day") for policy in ("plan", "nearest")}  # fmt: skip
    rows = floor_rows(Medians(runs))
    rush, rest = rows[:6], rows[6:]
    assert [row.ratio for row in rush[:2]] == pytest.approx([2.5, 97 / 90])
    assert [row.verdict for row in rush] == ["aim", "aim", "", "aim", "", "aim"]
    assert {row.verdict for row in rest} == {"", "aim"}
    assert {row.peer for row in rows} == {PEER, ""}
