"""What the gallery, the transport, the comparison and the fork dialog say and send."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from dash.development.base_component import Component

from dashboard.auth.principal import Principal, bind_principal, unbind_principal
from dashboard.callbacks.gallery import Opened, opened
from dashboard.callbacks.replay import jumped, standing
from dashboard.figures.places import read_places
from dashboard.link import Link, Reply, bind_link, unbind_link
from dashboard.panels.compare import Comparison, Difference, Lateness, compare_panel
from dashboard.panels.fork import ForkForm, mall_options, read_fork, store_options
from dashboard.panels.gallery import OpenRoom, Recording, gallery
from streamer.core.kpis import Kpis
from tests.builders import T0, a_collection

MINUTE = 60_000
VERA, MAYA, OLGA = Principal("vera", "viewer"), Principal("maya", "dispatcher"), Principal("olga", "ops-lead")


def words(component: Any) -> str:
    """All text of a component, in order."""
    if isinstance(component, str | int | float):
        return str(component)
    if isinstance(component, list | tuple):
        return " ".join(filter(None, map(words, component)))
    return words(getattr(component, "children", None) or "") if isinstance(component, Component) else ""


def acts(component: Any) -> dict[str, Component]:
    """Buttons by what they do."""
    if isinstance(component, list | tuple):
        return {name: button for one in component for name, button in acts(one).items()}
    if not isinstance(component, Component):
        return {}
    found = acts(getattr(component, "children", None))
    act = getattr(component, "data-act", None)
    return {**found, act: component} if act else found


def kpis(**fields: Any) -> Kpis:
    zeros = dict.fromkeys(Kpis.__struct_fields__, 0)
    return Kpis(**{**zeros, **fields})


A_DAY = Recording(
    "a-day", "fixture", "a-day", "A quiet day.", T0, T0 + 90 * MINUTE, ("plaza",), 4, 20,
    kpis=kpis(on_time=0.95, late=3, orders_per_trip=2.5, click_to_door_ms=45 * MINUTE),
)  # fmt: skip
TODAY = Recording("journal", "journal", "Today", "Today here.", T0, T0 + MINUTE, ("plaza",), 4, 20, role="ops-lead")


# ---------------------------------------------------------------- gallery


def test_a_card_tells_the_story_the_length_the_places_and_how_it_ended() -> None:
    said = words(gallery([A_DAY], [], VERA, {"plaza": "The Plaza"}))
    for part in ("A quiet day.", "1 h 30 · 20 orders · 4 drivers", "The Plaza", "95%", "2.50", "45 min", "3"):
        assert part in said


def test_what_cannot_be_opened_says_why_and_stands_last() -> None:
    broken = Recording("a-broken", "fixture", "a-broken", problem="its second half is missing")
    cards = gallery([broken, A_DAY], [], VERA, {})
    said = words(cards)
    assert said.index("A quiet day.") < said.index("It cannot be opened: its second half is missing.")
    assert acts(gallery([broken], [], VERA, {}))["replay-open"].disabled


@pytest.mark.parametrize(("who", "locked"), [(VERA, True), (MAYA, True), (OLGA, False)])
def test_the_journal_is_for_ops_leads(who: Principal, locked: bool) -> None:
    cards = gallery([TODAY], [], who, {})
    assert bool(acts(cards)["replay-open"].disabled) is locked
    assert ("this is for an ops lead" in words(cards)) is locked


@pytest.mark.parametrize(("who", "may_close"), [(VERA, False), (MAYA, True), (OLGA, True)])
def test_an_open_room_is_joined_by_all_and_closed_by_its_own_and_ops_leads(who: Principal, may_close: bool) -> None:
    cards = gallery([A_DAY], [OpenRoom("r-1", "a-day", opened_by="maya")], who, {})
    assert "opened by maya" in words(cards)
    assert ("replay-close" in acts(cards)) is may_close


# ---------------------------------------------------------------- transport


class Told(Link):
    """A link that answers from a table and keeps what it was asked."""

    def __init__(self, **answers: Reply) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, object]]] = []

    async def call(self, name: str, params: Any = None, principal: Any = None) -> Reply:
        self.asked.append((name, {key: value for key, value in (params or {}).items() if value is not None}))
        return self.answers[name]


@contextmanager
def told(**answers: Reply) -> Iterator[Told]:
    """Binds a link for the time of a test: `told(transport=Reply(…))`."""
    link = Told(**answers)
    tokens = bind_link(link), bind_principal(MAYA)
    yield link
    unbind_link(tokens[0])
    unbind_principal(tokens[1])


async def test_a_jump_stands_still_at_what_it_found_and_says_it() -> None:
    found = Reply(200, {"at_ms": 7, "text": "o-1 is late"})
    with told(next_mark=found, transport=Reply(200, {"at_ms": 7})) as link:
        answer = await jumped({"from_ms": 3, "kind": "alarm", "back": False, "n": 9})
    assert link.asked == [
        ("next_mark", {"from_ms": 3, "kind": "alarm", "back": False}),
        ("transport", {"do": "pause"}),
        ("transport", {"do": "seek", "at_ms": 7}),
    ]
    assert (answer["n"], answer["status"], answer["said"]) == (9, {"at_ms": 7}, "o-1 is late")


async def test_a_jump_to_nothing_moves_nothing_and_says_so() -> None:
    nothing = Reply(200, {"at_ms": None, "complete": False})
    with told(next_mark=nothing, transport=Reply(200, {"at_ms": 3})) as link:
        answer = await jumped({"from_ms": 3, "kind": "order", "order_id": "o-1", "back": True, "n": 9})
    assert [params for name, params in link.asked if name == "transport"] == [{}]
    assert answer["said"] == "Nothing happened to this order before. The recording is still being read."


def test_a_refusal_keeps_the_place_and_is_told() -> None:
    answer = standing(Reply(409, problem={"code": "damaged", "detail": "line 7 is torn"}))
    assert (answer["status"], answer["problem"]) == (None, "Line 7 is torn.")


async def test_no_room_left_is_told_in_the_words_of_the_floor() -> None:
    with told(open_room=Reply(429, problem={"code": "too_many_rooms", "detail": "four rooms are open"})):
        answer = await opened({"source": "a-day", "at_ms": 5})
    assert answer == Opened(room="", source="a-day", at_ms=5, problem="Four rooms are open.")


# ---------------------------------------------------------------- comparison


def compared(**fields: Any) -> str:
    given: dict[str, Any] = {
        "complete": False, "at_ms": T0, "recorded": kpis(late=5, on_time=0.9), "forked": kpis(late=2, on_time=0.95),
        **fields,
    }  # fmt: skip
    return words(compare_panel(Comparison(**given), "UTC", 0))


def test_figures_of_both_worlds_stand_side_by_side_with_their_difference() -> None:
    said = compared()
    assert "Late now 5 2 −3" in said
    assert "On time 90.0% 95.0% +5.0 pt" in said
    assert "Open 0 0 same" in said
    assert "No decision differs so far." in said


@pytest.mark.parametrize(
    ("lived_ms", "said"),
    [(0, "The worlds have just parted; nothing differs yet."), (1_000, "No decision differs so far.")],
)
def test_at_the_instant_of_a_fork_nothing_can_differ_yet(lived_ms: int, said: str) -> None:
    assert said in compared(forked_at_ms=T0 - lived_ms)


def test_an_order_that_the_recording_has_with_another_driver_is_marked_though_it_comes_as_early() -> None:
    orders = (
        Lateness("o-1", MINUTE, MINUTE, "d-1", "d-2"), Lateness("o-2", MINUTE, MINUTE, "d-1", "d-1"),
        Lateness("o-3", MINUTE, MINUTE, "d-3", None), Lateness("o-4", MINUTE, 9 * MINUTE, None, "d-1"),
    )  # fmt: skip
    said = compared(orders=orders)
    assert "1 order of 4 arrive at another time · 2 with another driver" in said
    said = " ".join(said.split())
    assert "o-1 recorded with d-1 , here d-2 late by 1 min late by 1 min same" in said
    assert "o-3 recorded with d-3 , here nobody" in said
    assert "o-2" not in said
    assert said.index("o-4") < said.index("o-1")


def test_the_first_decision_that_differs_is_said_with_its_moment() -> None:
    said = compared(complete=True, first_difference=Difference(T0, "maya: reassign o-1 to d-2"))
    assert "maya: reassign o-1 to d-2" in said
    assert "reached their end" in said


def test_orders_are_listed_by_how_far_they_moved_and_not_when_they_did_not() -> None:
    orders = (
        Lateness("o-same", MINUTE, MINUTE + 10_000), Lateness("o-later", -2 * MINUTE, 4 * MINUTE),
        Lateness("o-sooner", 9 * MINUTE, -MINUTE), Lateness("o-gone", MINUTE, None),
    )  # fmt: skip
    said = compared(orders=orders)
    assert "3 orders of 4 arrive at another time · 0 with another driver" in said
    assert said.index("o-gone") < said.index("o-sooner") < said.index("o-later")
    assert "o-later 2 min early late by 4 min 6 min later" in said
    assert "o-same" not in said


# ---------------------------------------------------------------- fork


def form(**fields: Any) -> ForkForm:
    return ForkForm(**{"policy": "recorded", "hold": "recorded", "drivers_mall": "plaza", "drivers": 0, **fields})


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"policy": "nearest"}, {"policy": "nearest"}),
        ({"hold": "off"}, {"hold_for_batch": False}),
        ({"policy": "off"}, {"rules": [{"mall_id": "plaza", "rules": {"mode": "off", "look_ms": 5}}]}),
        ({"drivers": 3}, {"drivers": [{"mall_id": "plaza", "number": 3}]}),
        (
            {"store": "plaza/macys", "late_min": 20},
            {"stores": [{"mall_id": "plaza", "store_id": "macys", "late_ms": 20 * MINUTE}]},
        ),
    ],
)
def test_what_is_chosen_becomes_the_changes_and_nothing_else(fields: Any, changes: Any) -> None:
    assert read_fork(form(**fields), {"plaza": {"mode": "auto", "look_ms": 5}}) == changes


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Nothing is changed yet"),
        ({"drivers": -1}, "“More drivers” takes a number"),
        ({"drivers": "x"}, "“More drivers” takes a number"),
        ({"late_min": 20}, "Say which store is late."),
        ({"store": "plaza/macys"}, "Say how many minutes"),
        ({"store": "plaza/macys", "late_min": 999}, "“Minutes late” takes a number"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_sent(fields: Any, said: str) -> None:
    problem = read_fork(form(**fields), {})
    assert isinstance(problem, str)
    assert problem.startswith(said)


def test_the_dialog_offers_every_mall_and_store() -> None:
    places = read_places(a_collection())
    assert [one["value"] for one in mall_options(places)] == ["plaza"]
    (group,) = store_options(places)
    assert "plaza/macys" in [one["value"] for one in group["items"]]  # type: ignore[attr-defined]
