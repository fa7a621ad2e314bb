"""What the policy lab's page says and sends, and what its callbacks leave alone."""

import csv
import io
from typing import Any

import pytest
from dash import no_update
from dash.development.base_component import Component

from dashboard.auth.principal import Principal
from dashboard.callbacks.lab import filled, seen, started
from dashboard.figures.differences import BETTER, WORSE, differences
from dashboard.link import Reply
from dashboard.panels.lab import LabForm, Run, progress, read_form, result, source_options
from dashboard.panels.verdict import Compared, Pair, Verdict, as_csv, clear, sentence, verdict_panel
from tests.builders import T0
from tests.dashboard.test_time_travel import A_DAY, MAYA, OLGA, TODAY, VERA, acts, told, words

TRIP = Compared(
    "orders_per_trip", 8, 1.1, 1.7, 0.05, 0.06, 0.6, 0.5, 0.7, 0.0004, 0.0078,
    tuple(Pair(seed, 1.1, 1.7) for seed in range(1, 9)),
)  # fmt: skip
LATE = Compared("late", 8, 5.0, 6.0, 1.0, 1.0, 1.0, -0.4, 2.4, 0.14, 0.2, (Pair(1, 5.0, 6.0), Pair(2, 5.0, 6.0)))
DOOR = Compared("click_to_door_ms", 2, 3e6, 2.88e6, 0.0, 0.0, -120_000, -120_000, -120_000)
VERDICT = Verdict("a-day", ("nearest", "plan"), 8, (LATE, TRIP, DOOR))


def a_run(status: Any = "running", run: str = "l-1", **fields: Any) -> Run:
    usual: dict[str, Any] = {"days": 16, "done": 4.5, "command": "mallard compare a-day", "left_ms": 61_000}
    return Run(run, status, "a-day", "a-day", ("nearest", "plan"), 8, "olga", T0, **{**usual, **fields})


def raw(run: Run) -> dict[str, Any]:
    """A run as the link answers it."""
    return {name: getattr(run, name) for name in run.__struct_fields__ if name != "verdict"}


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (TRIP, "Plan carries 0.60 orders a trip more; the difference is clear."),
        (LATE, "Plan has 1.0 orders more late at the end; this could be chance."),
        (DOOR, "Plan is 2.0 min quicker from click to door, in every one of 2 seeds."),
        (
            Compared("on_time", 5, 0.9, 0.8, 0.0, 0.0, -0.1, -0.15, -0.05, 0.01, 0.0625),
            "Plan is on time with 10.0 points fewer of the delivered; the difference is clear by the t test, not by "
            "ranks: more seeds would settle it.",
        ),
    ],
)
def test_a_difference_is_said_with_how_sure_it_is(one: Compared, said: str) -> None:
    assert sentence(one, "Plan") == said


def test_what_never_differs_is_neither_clear_nor_said() -> None:
    same = Compared("delivered", 8, 7.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert not clear(same)
    assert "No figure differs in any seed." in words(
        verdict_panel(Verdict("a-day", ("plan", "nearest"), 8, (same,)), "")
    )


def test_the_verdict_tells_what_is_clear_first_and_every_figure_with_interval_and_p() -> None:
    said = words(verdict_panel(VERDICT, "today"))
    assert said.index("orders a trip more") < said.index("more late at the end")
    for part in ("1.10 ± 0.05", "1.70 ± 0.06", "+0.60", "[+0.50, +0.70]", "< 0.001", "0.008", "[−0.4, +2.4]", "0.140"):
        assert part in said


def test_the_csv_has_a_line_a_figure_and_seed_in_the_units_shown() -> None:
    lines = list(csv.reader(io.StringIO(as_csv(Verdict("d", ("nearest", "plan"), 8, (TRIP, _with_pair(DOOR)))))))
    assert lines[0] == ["figure", "unit", "seed", "nearest", "plan", "difference"]
    assert lines[1] == ["orders_per_trip", "", "1", "1.1", "1.7", "0.6"]
    assert lines[-1] == ["click_to_door_ms", "min", "3", "50", "48", "-2"]


def test_the_figure_has_a_bar_a_seed_coloured_by_what_is_better() -> None:
    figure = differences([(1, 2.0), (2, -1.0)], 0.5, (-1.0, 2.0), "less")
    (bars,) = figure.data
    assert (list(bars.x), list(bars.y)) == ([1, 2], [2.0, -1.0])
    assert list(bars.marker.color) == [WORSE, BETTER]
    assert figure.layout.xaxis.dtick == 1
    band, mean = figure.layout.shapes
    assert (band.y0, band.y1, mean.y0) == (-1.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"source": None}, "Choose a recording."),
        ({"second": "nearest"}, "Choose two policies that differ."),
        ({"seeds": 41}, "Seeds: a number from 2 to 40."),
        ({"seeds": ""}, "Seeds: a number from 2 to 40."),
        ({"minutes": 0.5}, "Minutes: a number from 1 to 1440, or nothing for the whole recording."),
    ],
)
def test_a_form_that_cannot_be_meant_is_not_sent(fields: dict[str, Any], fault: str) -> None:
    usual = {"source": "a-day", "first": "nearest", "second": "plan", "seeds": 20, "minutes": ""}
    assert read_form(LabForm(**{**usual, **fields})) == fault


async def test_a_start_is_asked_for_and_a_refusal_is_shown() -> None:
    form = LabForm("a-day", "nearest", "plan", 20, 40)
    with told(lab_start=Reply(201, {})) as link:
        assert await started(form) == ""
    asked = {"source": "a-day", "policies": ["nearest", "plan"], "seeds": 20, "minutes": 40}
    assert link.asked == [("lab_start", asked)]
    with told(lab_start=Reply(409, problem={"code": "lab_busy", "detail": "a run by olga is under way"})):
        assert "a run by olga is under way" in (await started(form)).lower()


@pytest.mark.parametrize(("who", "may"), [(VERA, False), (MAYA, False), (OLGA, True)])
def test_how_far_it_is_all_may_see_and_only_ops_leads_cancel(who: Principal, may: bool) -> None:
    run = a_run()
    shown: list[Component] = progress([run, a_run("done", "l-0")], run, who)
    assert "4 of 16 days lived · about 61 s left · olga" in words(shown)
    assert ("lab-cancel" in acts(shown)) is may
    assert "lab-show" in acts(shown)


async def test_only_fixtures_that_are_whole_can_be_chosen_and_others_than_ops_leads_are_told_why_not() -> None:
    assert [one["value"] for one in source_options([TODAY, A_DAY])] == ["a-day"]
    with told(recordings=Reply(200, {"items": []})):  # as maya
        options, chosen, locked, why = await filled()
    assert (options, chosen, locked) == ([], None, True)
    assert "started by an ops lead" in str(why)


async def test_a_result_that_is_shown_is_left_alone_until_it_changes() -> None:
    with told(lab=Reply(200, {"items": [raw(a_run()), raw(a_run("failed", "l-0", problem="it is damaged"))]})):
        _, first, stamp = await seen("", "")
        assert "when two seeds have been lived" in words(first)
        _, again, kept = await seen("", str(stamp))
        assert (again, kept) == (no_update, no_update)
        _, older, _ = await seen("l-0", str(stamp))
        assert "It could not go on: it is damaged." in words(older)


def test_a_cancelled_run_says_that_it_is_partial() -> None:
    partial = Verdict("a-day", ("nearest", "plan"), 3, (TRIP,), complete=False)
    said = words(result(a_run("cancelled", verdict=partial)))
    assert "Cancelled" in said
    assert "Partial: 3 of 8 seeds" in said
    assert "mallard compare a-day" in said


def _with_pair(one: Compared) -> Compared:
    return Compared(*(getattr(one, name) for name in one.__struct_fields__[:-1]), (Pair(3, 3e6, 2.88e6),))
