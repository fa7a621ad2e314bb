"""The panels, read as a person would: which words and which buttons stand there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dash.development.base_component import Component
from msgspec.structs import replace

import dashboard
from dashboard import formats, ids
from dashboard.figures.places import Places, read_places
from dashboard.pages.shell import shell_layout
from dashboard.panels import dialogs, header, order, preview, queue
from dashboard.panels.candidates import Candidate, Excluded, Ranking, candidates_panel
from dashboard.panels.cost import term_colour
from dashboard.panels.driver import driver_panel
from dashboard.panels.mall import Outlook, mall_panel, waiting_by_store
from dashboard.panels.timeline import timeline
from streamer.core.events import Dropoff, Stop
from streamer.core.kpis import Kpis
from streamer.core.state import HistoryItem
from streamer.core.views import DriverView, OrderView
from tests.builders import MALL, MINUTE, T0, a_collection

NAMES = {"d-1": "Ana R.", "d-2": "Ben T."}
ASSETS = Path(dashboard.__file__).parent / "assets"


def places() -> Places:
    return read_places(a_collection())


def an_order_view(**fields: Any) -> OrderView:
    given = OrderView(
        id="o-1", external_id=None, mall_id="plaza", stores=("macys",), items=2,
        dropoff=Dropoff(36.1, -115.2, "Ivy Baker", "+17025550123", "12 Elm St", "front desk"), placed_ms=T0,
        ready_ms=None, due_ms=T0 + 40 * MINUTE, priority=0, status="placed", version=3, driver_id=None, assignment=None,
        held=False, pinned=False, risk="on_time", eta_pickup_ms=None, eta_dropoff_ms=T0 + 30 * MINUTE, updated_ms=T0,
        is_ready=False, picked_up_ms=None, ended_ms=None, eta_low_ms=None, eta_high_ms=None, offered_until_ms=None,
        advice=None,
    )  # fmt: skip
    return replace(given, **fields)


def a_driver_view(**fields: Any) -> DriverView:
    given = DriverView(
        id="d-1", name="Ana R.", state="busy", lat=MALL[0], lng=MALL[1], fix_ms=T0, received_ms=T0, age_ms=74_000,
        accuracy_m=8.0, heading_deg=90.0, speed_mps=9.0, battery=0.5, hex="8929", mall_id=None, region="plaza",
        verdict="jump", order_ids=("o-1",), assignment=9, last_seq=4, capacity=3, shift_end_ms=None,
        route=(Stop("pickup", "o-1", 36.12, -115.17, T0), Stop("dropoff", "o-1", 36.1, -115.2, T0 + 30 * MINUTE)),
    )  # fmt: skip
    return replace(given, **fields)


def parts(component: object) -> Iterator[Component]:
    if isinstance(component, Component):
        yield component
        yield from parts(getattr(component, "children", None))
    elif isinstance(component, list | tuple):
        for child in component:
            yield from parts(child)


def words(component: object) -> str:
    if isinstance(component, str):
        return component
    if isinstance(component, Component):
        return words(getattr(component, "children", None))
    return " ".join(words(child) for child in component) if isinstance(component, list | tuple) else ""


def buttons(component: object) -> dict[str, Component]:
    found = ((getattr(part, "data-act", None), part) for part in parts(component))
    return {act: part for act, part in found if act}


@dataclass
class Intent:
    """A decision as the browser script writes it."""

    fields: dict[str, str] = field(default_factory=lambda: {"action": "assign", "order_id": "o-1", "key": "k"})

    def but(self, **fields: str) -> dict[str, str]:
        return {**self.fields, **fields}


# ---------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("fields", "acts"),
    [
        ({"status": "placed"}, {"hold", "ready", "cancel"}),
        ({"status": "ready", "is_ready": True, "held": True}, {"release", "cancel"}),
        ({"status": "assigned", "driver_id": "d-1"}, {"unassign", "hold", "pin", "ready", "cancel"}),
        ({"status": "arrived_at_pickup", "driver_id": "d-1", "pinned": True, "is_ready": True},
         {"unassign", "release", "hold", "cancel"}),
        ({"status": "enroute_to_dropoff", "driver_id": "d-1"}, set()),
        ({"status": "delivered", "driver_id": "d-1", "ended_ms": T0}, set()),
    ],
)  # fmt: skip
def test_an_order_offers_what_can_be_done_with_it_now(fields: dict[str, Any], acts: set[str]) -> None:
    assert set(buttons(order.action_buttons(an_order_view(**fields)))) == acts


def test_a_viewer_sees_every_action_disabled_with_the_reason() -> None:
    panel = order.order_panel(an_order_view(), places(), NAMES, 0, why_not="You can look, not act.", now_ms=T0)
    assert all(button.disabled and button.title == "You can look, not act." for button in buttons(panel).values())
    assert "You can look, not act." in words(panel)


def test_an_order_shows_its_promise_against_its_eta_and_hides_the_phone() -> None:
    given = an_order_view(driver_id="d-1", status="assigned")
    assert "10 min to spare" in words(order.order_panel(given, places(), NAMES, 0, now_ms=T0))
    shown = words(order.order_details(given, places(), NAMES, 0))
    assert "Ana R." in shown
    assert "555" not in shown
    assert "••23" in shown


def test_an_eta_is_shown_with_the_times_four_of_five_deliveries_come_between() -> None:
    likely = an_order_view(eta_low_ms=T0 + 26 * MINUTE, eta_high_ms=T0 + 37 * MINUTE)
    shown = words(order.order_panel(likely, places(), NAMES, 0, now_ms=T0))
    low, eta, high = (formats.clock(T0 + span * MINUTE, "America/Los_Angeles") for span in (26, 30, 37))
    assert f"{eta} between {low} and {high}" in shown


def test_an_offer_nobody_answered_says_how_long_it_stands() -> None:
    offered = an_order_view(status="assigned", driver_id="d-1", offered_until_ms=T0 + 3 * MINUTE)
    assert "Offered · 3 min left" in words(order.order_panel(offered, places(), NAMES, 0, now_ms=T0))
    assert "Offered · lapsed" in words(order.order_panel(offered, places(), NAMES, 0, now_ms=T0 + 4 * MINUTE))
    assert "Ana R.  · has not answered, lapses" in words(order.order_details(offered, places(), NAMES, 0))


def test_a_delivered_order_is_measured_by_when_it_arrived() -> None:
    done = an_order_view(status="delivered", ended_ms=T0 + 45 * MINUTE)
    assert "late by 5 min" in words(order.order_panel(done, places(), NAMES, 0, now_ms=T0))


def test_a_cancelled_order_is_not_called_late() -> None:
    gone = an_order_view(status="cancelled", ended_ms=T0 + 45 * MINUTE)
    assert "late" not in words(order.order_panel(gone, places(), NAMES, 0, now_ms=T0))


def test_the_panel_carries_the_version_that_is_on_screen() -> None:
    panel = order.order_panel(an_order_view(version=7), places(), NAMES, 0, now_ms=T0)
    assert getattr(panel, "data-version") == "7"


# ---------------------------------------------------------------- timeline


def test_the_newest_event_stands_first_with_who_and_why() -> None:
    items = [
        HistoryItem(T0, "orders", "place"),
        HistoryItem(T0 + MINUTE, "maya", "reassign", "closer", {"driver_id": "d-2", "status": "assigned"}),
    ]
    shown = words(timeline(items, NAMES, "UTC", 0))
    assert shown.index("reassigned") < shown.index("placed")
    assert "by maya" in shown
    assert "“closer”" in shown
    assert "driver: Ben T." in shown


# ---------------------------------------------------------------- candidates and preview

RANKING = Ranking(
    (
        Candidate("d-1", 12.0, {"drive": 10.0, "wait": 2.0, "shift_end": 0.0}, T0, T0 + MINUTE),
        Candidate("d-2", 24.0, {"drive": 16.0, "wait": 8.0, "shift_end": 0.0}, T0, T0 + MINUTE),
    ),
    (Excluded("d-3", "off duty"), Excluded("d-4", "full"), Excluded("d-5", "full")),
)


def test_bars_are_as_long_as_the_cost_they_show() -> None:
    panel = candidates_panel(RANKING, NAMES, "UTC", 0)
    rows = [part for part in parts(panel) if getattr(part, "data-candidate", None)]
    lengths = [
        sum(float(part.style["width"].rstrip("%")) for part in parts(row) if getattr(part, "className", "") == "term")
        for row in rows
    ]
    assert lengths == pytest.approx([50.0, 100.0])


def test_the_legend_names_the_terms_in_use_and_only_those() -> None:
    shown = words(candidates_panel(RANKING, NAMES, "UTC", 0))
    assert "driving" in shown
    assert "past shift end" not in shown


def test_the_excluded_are_counted_by_reason() -> None:
    shown = words(candidates_panel(RANKING, NAMES, "UTC", 0))
    assert "3 drivers excluded, and why" in shown
    assert "full · 2" in shown


def test_every_excluded_driver_is_named_under_its_reason() -> None:
    many = tuple(Excluded(f"d-{number}", "full" if number % 2 else "silent") for number in range(10, 70))
    shown = words(candidates_panel(Ranking(RANKING.items, many), NAMES, "UTC", 0))
    assert "60 drivers excluded, and why" in shown
    assert "full · 30" in shown
    assert all(driver.driver_id in shown for driver in many)


def test_a_candidate_says_its_regret_when_a_plan_knows_it() -> None:
    dear = Ranking((replace(RANKING.items[0], regret_min=0.0), replace(RANKING.items[1], regret_min=4.2)))
    rows = [part for part in parts(candidates_panel(dear, NAMES, "UTC", 0)) if getattr(part, "data-candidate", None)]
    assert ["regret" in words(row) for row in rows] == [False, True]
    assert "regret 4.2" in words(rows[1])


def test_the_choice_is_marked_on_its_row_alone() -> None:
    rows = [
        part
        for part in parts(candidates_panel(RANKING, NAMES, "UTC", 0, "d-2"))
        if part.to_plotly_json()["props"].get("role") == "radio"
    ]
    assert [getattr(row, "aria-checked") for row in rows] == ["false", "true"]


def test_without_candidates_the_reasons_are_open_to_read() -> None:
    panel = candidates_panel(Ranking((), RANKING.excluded), NAMES, "UTC", 0)
    assert "No driver can take this order now" in words(panel)
    assert next(part for part in parts(panel) if part._type == "Details").open is True


def test_a_preview_names_every_order_touched_the_moved_one_first() -> None:
    effects = (
        preview.Effect("o-0", "d-2", "d-2", T0, T0 + 2 * MINUTE, 0, 4 * MINUTE),
        preview.Effect("o-1", "d-1", "d-2", T0, T0 - 5 * MINUTE, 0, 0),
    )
    panel = preview.preview_panel(an_order_view(driver_id="d-1"), "d-2", effects, NAMES, "UTC", 0)
    shown = words(panel)
    assert shown.index("Ana R. → Ben T.") < shown.index("now late by 4 min")
    assert "+2 min" in shown
    assert "−5 min" in shown


@pytest.mark.parametrize(
    ("before_min", "after_min", "said"),
    [
        (0, 4, "2 orders touched: o-0 becomes late by 4 min."),
        (0, 0, "2 orders touched: nobody becomes late."),
        (3, 9, "2 orders touched: nobody becomes late."),
        (0, 0.4, "2 orders touched: nobody becomes late."),
    ],
)
def test_a_preview_says_in_a_sentence_who_becomes_late(before_min: float, after_min: float, said: str) -> None:
    touched = preview.Effect("o-0", "d-2", "d-2", T0, T0, int(before_min * MINUTE), int(after_min * MINUTE))
    moved = preview.Effect("o-1", None, "d-2", T0, T0, 0, 0)
    assert said in words(preview.preview_panel(an_order_view(), "d-2", (touched, moved), NAMES, "UTC", 0))


@pytest.mark.parametrize(("driver_id", "verb"), [(None, "assign"), ("d-1", "reassign")])
def test_the_commit_names_the_verb_and_the_version_it_was_decided_on(driver_id: str | None, verb: str) -> None:
    panel = preview.preview_panel(an_order_view(driver_id=driver_id, version=5), "d-2", (), NAMES, "UTC", 0)
    commit = buttons(panel)["commit"]
    assert getattr(commit, "data-verb") == verb
    assert getattr(commit, "data-version") == "5"


# ---------------------------------------------------------------- driver and mall


def test_a_driver_shows_how_old_and_how_sure_its_position_is() -> None:
    shown = words(driver_panel(a_driver_view(), places(), 0))
    assert "74 s ago, ±8 m" in shown
    assert "not believed: too far from the one before" in shown
    assert "1 order of 3" in shown


def test_a_driver_without_orders_cannot_hand_over_and_says_why() -> None:
    acts = buttons(driver_panel(a_driver_view(order_ids=(), route=()), places(), 0))
    assert acts["hand-over"].title == "This driver has no orders."
    assert not acts["off-duty"].disabled


def test_an_off_duty_driver_can_be_put_on_duty() -> None:
    assert "on-duty" in buttons(driver_panel(a_driver_view(state="off_duty", age_ms=None), places(), 0))


def test_stores_are_listed_by_the_longest_wait_and_collected_orders_do_not_count() -> None:
    orders = [
        an_order_view(id="o-1", stores=("macys",), placed_ms=T0 - 5 * MINUTE, is_ready=True),
        an_order_view(id="o-2", stores=("macys", "zara"), placed_ms=T0 - 9 * MINUTE),
        an_order_view(id="o-3", stores=("zara",), placed_ms=T0 - 50 * MINUTE, status="picked_up"),
    ]
    rows = waiting_by_store(orders, T0)
    assert rows == [("macys", 2, 1, 9 * MINUTE), ("zara", 1, 0, 9 * MINUTE)]


def test_a_mall_says_how_many_orders_are_expected_and_where_most() -> None:
    mall = places().malls["plaza"]
    coming = Outlook(30 * MINUTE, 7, 20, {"macys": 4, "zara": 3})
    said = words(mall_panel(mall, Kpis(), [], T0, 0, coming))
    assert "About 7 orders in the next 30 min, most at macys (4), zara (3)" in said


def test_a_mall_with_nothing_waiting_says_so() -> None:
    mall = places().malls["plaza"]
    assert "No store has an order waiting." in words(mall_panel(mall, Kpis(), [], T0, 0))


# ---------------------------------------------------------------- dialogs


def test_a_decision_that_is_done_offers_its_undo_for_ten_seconds() -> None:
    shown = dialogs.done_note(Intent().but(driver_id="d-1", driver_name="Ana R."), "c-9")
    assert shown["autoClose"] == 10_000
    assert getattr(buttons(shown["message"])["undo"], "data-command") == "c-9"
    assert words(shown["message"]).startswith("o-1 assigned to Ana R. ")


def test_an_undo_is_not_itself_undone() -> None:
    shown = dialogs.done_note({"action": "undo", "command_id": "c-9", "key": "k"}, "c-10")
    assert words(shown["message"]) == "Undone."
    assert not buttons(shown["message"])


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        ({"code": "over_capacity"}, "The driver's car would be over its capacity."),
        ({"code": "odd", "detail": "cannot hold an order that is lost"}, "Cannot hold an order that is lost."),
        ({"code": "odd_code"}, "Odd code."),
    ],
)
def test_a_refusal_is_told_in_words(problem: dict[str, object], shown: str) -> None:
    assert dialogs.refusal(problem) == shown


def test_a_conflict_says_who_changed_what_and_offers_the_same_on_the_new_state() -> None:
    history = [HistoryItem(T0, "lee", "assign", "was near", {"driver_id": "d-2"})]
    now = an_order_view(status="assigned", driver_id="d-2", version=8)
    intent = Intent().but(driver_id="d-1")
    body = dialogs.conflict_body(intent, {"code": "version_conflict"}, now, history, places(), NAMES, 0)
    again = buttons(body)["again"]
    assert "You were about to assign o-1 to Ana R." in words(body)
    assert "lee · assigned" in words(body)
    assert (getattr(again, "data-version"), getattr(again, "data-verb")) == ("8", "reassign")


def test_a_conflict_about_an_order_that_is_gone_can_only_be_closed() -> None:
    body = dialogs.conflict_body(Intent().but(), {"code": "version_conflict"}, None, [], places(), NAMES, 0)
    assert set(buttons(body)) == {"drop-intent"}


# ---------------------------------------------------------------- shell


def test_every_id_stands_in_the_layout_once() -> None:
    found = [part.id for part in parts(shell_layout()) if getattr(part, "id", None)]
    known = {value for name, value in vars(ids).items() if name.isupper()}
    assert known <= set(found)
    assert len(found) == len(set(found))


def test_the_browser_script_names_only_ids_that_exist() -> None:
    script = "".join(path.read_text(encoding="utf-8") for path in sorted(ASSETS.glob("*.js")))
    named = set(
        re.findall(
            r"(?<!headers\.)\bset\('([\w-]+)'|opened\('([\w-]+)'|set_props\('([\w-]+)'|getElementById\('([\w-]+)'",
            script,
        )
    )
    in_layout = {part.id for part in parts(shell_layout()) if getattr(part, "id", None)} | {"who"}
    assert {name for group in named for name in group if name} <= in_layout
    assert len(named) > 20


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in [*ASSETS.glob("*.js"), *ASSETS.glob("*.css"), *ASSETS.glob("*.svg")]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import", text), path.name


def test_every_figure_of_the_strip_says_what_it_means_and_is_one_of_the_feed() -> None:
    assert {figure.field for figure in header.FIGURES} <= set(Kpis.__struct_fields__)
    assert all(figure.meaning.endswith(".") for figure in header.FIGURES)


def test_the_queue_is_sorted_by_minutes_to_breach_and_never_animates() -> None:
    assert [column["field"] for column in queue.columns() if column.get("sort")] == ["breach"]
    grid = next(part for part in parts(queue.queue_panel()) if getattr(part, "id", None) == ids.QUEUE)
    assert grid.dashGridOptions["animateRows"] is False
    assert grid.getRowId == "params.data.id"


def test_a_cost_term_has_one_colour_whatever_else_is_shown() -> None:
    terms = [*formats.TERM_WORDS, "a term of tomorrow"]
    assert len({term_colour(name) for name in terms}) == len(terms)
