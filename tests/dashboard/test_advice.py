"""The autopilot as a person reads it: what it makes of an order, its badge, and the form of its rules."""

from typing import Any

import pytest
from msgspec.structs import replace

from dashboard.panels.advice import advice_block
from dashboard.panels.autopilot import (
    Form,
    MallAutopilot,
    Worker,
    badge,
    form_of,
    read_form,
    settings_dialog,
    worker_words,
)
from dashboard.panels.dialogs import trip_note
from streamer.core.events import Advice
from streamer.core.settings import AutopilotRules
from tests.builders import MINUTE, T0
from tests.dashboard.test_panels import NAMES, an_order_view, buttons, parts, places, words

TERMS = {"drive": 9.0, "wait": 3.0, "walk": 0.0}
SUGGESTED = Advice(
    "o-1", "suggested", "shares a trip with o-2", "d-1", ("o-2", "o-1"), T0 + 4 * MINUTE, T0 + 14 * MINUTE,
    T0 + 32 * MINUTE, 12.0, TERMS, 3.2,
)  # fmt: skip
MATE = an_order_view(id="o-2", advice=Advice("o-2", "suggested", driver_id="d-1", eta_dropoff_ms=T0 + 25 * MINUTE))


def block(advice: Advice | None = SUGGESTED, why_not: str = "", mate: Any = MATE, **fields: Any) -> Any:
    order = an_order_view(advice=advice, **fields)
    return advice_block(order, [mate] if mate else [], NAMES, "UTC", 0, T0, why_not)


# ---------------------------------------------------------------- what it makes of an order


def test_a_suggestion_says_to_whom_why_and_what_waiting_brings() -> None:
    shown = words(block())
    assert "Give it to Ana R. Shares a trip with o-2. Hold 4 min: +1 order on this trip, nobody late." in shown
    assert "12.0 min · next best +3.2" in shown


def test_a_driver_that_would_be_cheaper_for_the_order_alone_is_said_with_a_minus() -> None:
    assert "12.0 min · next best −19.4" in words(block(replace(SUGGESTED, regret_min=-19.4)))


def test_a_hold_that_makes_an_order_late_says_which() -> None:
    shown = words(block(mate=replace(MATE, due_ms=T0 + 24 * MINUTE)))
    assert "+1 order on this trip, o-2 late" in shown
    assert "nobody late" not in shown


@pytest.mark.parametrize("fields", [{"depart_ms": T0 + 10_000}, {"depart_ms": None}, {"trip": ("o-1",)}])
def test_no_hold_is_spoken_of_when_nothing_waits_for_anything(fields: dict[str, Any]) -> None:
    assert "Hold" not in words(block(replace(SUGGESTED, **fields)))


@pytest.mark.parametrize(
    ("advice", "said"),
    [
        (Advice("o-1", "waits", "its store is not ready for long"), "Waits. Its store is not ready for long."),
        (Advice("o-1", "planned", "alone on its trip", "d-2"), "It will go to Ben T. Alone on its trip."),
        (Advice("o-1", "failed", "every car is full"), "Nobody can take it now. Every car is full."),
        (Advice("o-1", "left_to_people", "held by maya"), "Left to you. Held by maya."),
        (Advice("o-1", "failed"), "Nobody can take it now."),
    ],
)
def test_every_word_is_a_sentence_with_its_reason(advice: Advice, said: str) -> None:
    assert said in words(block(advice))


def test_the_bar_is_whole_and_its_legend_gives_the_minutes() -> None:
    shown = block()
    widths = [
        float(part.style["width"].rstrip("%")) for part in parts(shown) if getattr(part, "className", "") == "term"
    ]
    assert widths == pytest.approx([75.0, 25.0])
    assert "driving 9.0" in words(shown)
    assert "walking" not in words(shown)


def test_the_trip_lists_its_orders_by_drop_off_with_their_promise() -> None:
    rows = [words(part) for part in parts(block()) if part._type == "Li"]
    assert rows[0].startswith("o-2  15 min to spare")
    assert rows[1].startswith("o-1  8 min to spare")


def test_an_order_of_the_trip_that_is_gone_is_said_to_be() -> None:
    assert "o-2  not on the floor any more" in words(block(mate=None))


def test_accepting_names_the_order_and_the_driver_seen() -> None:
    accept = buttons(block())["accept"]
    assert (getattr(accept, "data-order"), getattr(accept, "data-driver")) == ("o-1", "d-1")
    assert words(accept) == "Accept: give it to Ana R. y"


def test_a_whole_trip_is_accepted_at_the_versions_shown() -> None:
    accept = buttons(block(mate=replace(MATE, version=7)))["accept-trip"]
    assert (getattr(accept, "data-orders"), getattr(accept, "data-driver")) == ("o-2@7,o-1@3", "d-1")
    assert words(accept) == "Accept the trip: 2 orders to Ana R."


@pytest.mark.parametrize(
    "mate", [None, replace(MATE, status="assigned"), replace(MATE, advice=Advice("o-2", "suggested", driver_id="d-2"))]
)
def test_a_trip_is_not_accepted_for_orders_that_are_not_meant_for_it(mate: Any) -> None:
    assert "accept-trip" not in buttons(block(mate=mate))


def test_what_came_of_each_order_of_a_trip_is_said_with_its_own_undo() -> None:
    intent = {"action": "accept_trip", "orders": "o-1@3,o-2@1,o-3@2", "driver_id": "d-1", "key": "k"}
    note = trip_note(intent, "c-8,c-9", {"refused": {"o-2": {"code": "version_conflict", "detail": "it is at 2"}}})
    assert note["title"] == "2 of 3 orders of the trip given to d-1"
    said = [words(line) for line in note["message"].children]  # type: ignore[attr-defined]
    assert said[:2] == ["o-1 assigned to d-1. Undo", "o-3 assigned to d-1. Undo"]
    assert said[2].startswith("o-2 stays in the queue: ")
    undos = [getattr(part, "data-command", None) for part in parts(note["message"])]
    assert [one for one in undos if one] == ["c-8", "c-9"]


def test_a_viewer_cannot_accept_and_is_told_why() -> None:
    accept = buttons(block(why_not="You can look, not act."))["accept"]
    assert accept.disabled
    assert accept.title == "You can look, not act."


@pytest.mark.parametrize("word", ["failed", "left_to_people"])
def test_what_names_no_driver_cannot_be_accepted(word: Any) -> None:
    assert "accept" not in buttons(block(Advice("o-1", word)))


def test_an_order_somebody_has_shows_no_advice() -> None:
    assert block(status="assigned", driver_id="d-2") is None
    assert block(None) is None


# ---------------------------------------------------------------- badge


def an_autopilot(mall_id: str = "plaza", mode: Any = "suggest", **worker: Any) -> MallAutopilot:
    return MallAutopilot(mall_id, AutopilotRules(mode=mode), Worker(**worker))


@pytest.mark.parametrize(
    ("items", "malls", "said"),
    [
        ([an_autopilot()], [], "Suggest Autopilot"),
        ([an_autopilot(mode="auto_with_exceptions")], [], "Auto + exceptions Autopilot"),
        (
            [an_autopilot(), an_autopilot("east", "auto"), an_autopilot("west", "auto")],
            [],
            "1 Suggest · 2 Auto Autopilot",
        ),
        ([an_autopilot(), an_autopilot("east", "auto")], ["east"], "Auto Autopilot"),
        ([an_autopilot(ok=False, message="its worker died")], [], "Suggest Autopilot stopped"),
        ([an_autopilot(mode="off", ok=False)], [], "Off Autopilot"),
    ],
)
def test_the_badge_says_the_mode_of_the_malls_shown(items: list[MallAutopilot], malls: list[str], said: str) -> None:
    assert words(badge(items, malls, places())) == said


def test_the_badge_names_each_mall_and_why_its_work_stopped() -> None:
    shown = badge([an_autopilot(ok=False, message="its worker died"), an_autopilot("east", "auto")], [], places())
    assert shown is not None
    assert shown.title == "Plaza: Suggest, stopped: its worker died\neast: Auto"
    assert "its worker died" in getattr(shown, "aria-label")


def test_a_floor_that_does_not_say_has_no_badge() -> None:
    assert badge([], [], places()) is None
    assert badge([an_autopilot()], ["west"], places()) is None


# ---------------------------------------------------------------- rules

RULES = AutopilotRules("auto", 20_000, hold_for_batch=False, trip_orders=3, offer_ms=45_000, stand_down_ms=90_000)


def test_rules_come_back_from_the_form_as_they_went_in() -> None:
    assert read_form(form_of(RULES)) == RULES


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"look_s": 0}, "“Looks every (s)” takes a number from 1 to 3600."),
        ({"look_s": ""}, "“Looks every (s)” takes a number from 1 to 3600."),
        ({"trip": 65}, "“Orders per trip” takes a number from 1 to 64."),
        ({"trip": None}, "“Orders per trip” takes a number from 1 to 64."),
        ({"offer_s": -1}, "“Offer lapses after (s)” takes a number from 0 to 10000000."),
    ],
)
def test_a_number_out_of_its_bounds_is_named(fields: dict[str, Any], said: str) -> None:
    assert read_form(replace(form_of(RULES), **fields)) == said


@pytest.mark.parametrize("least", [True, False])
def test_the_bounds_of_the_form_are_those_of_the_streamer(least: bool) -> None:
    edge = Form("auto", 1 if least else 3600, True, 1 if least else 64, 0 if least else 10_000_000,
                0 if least else 10_000_000)  # fmt: skip
    assert isinstance(read_form(edge), AutopilotRules)


def test_the_dialog_starts_locked() -> None:
    fields = next(part for part in parts(settings_dialog()) if part._type == "Fieldset")
    assert fields.disabled is True


def test_the_dialog_says_how_the_work_goes_and_who_may_change_it() -> None:
    working = an_autopilot(last_look_ms=T0, plan_ms=120.4)
    assert "planned in 120 ms" in words(worker_words(working, "UTC", 0, ""))
    stopped = worker_words(an_autopilot(ok=False, message="its worker died"), "UTC", 0, "An ops lead changes these.")
    assert "It has stopped: its worker died." in words(stopped)
    assert "An ops lead changes these." in words(stopped)
    assert "does not say" in words(worker_words(None, "UTC", 0, ""))
