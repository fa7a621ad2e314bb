"""The dialog "Fork here": another policy, another world, from the moment that is on screen.

It must not judge a change beyond what a form can: the streamer does, and its refusal is shown.
"""

from typing import Final

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import ids
from dashboard.figures.places import Places
from dashboard.panels.pieces import note

AS_RECORDED: Final = "recorded"
POLICIES: Final = (
    (AS_RECORDED, "As recorded, where it still fits"),
    ("plan", "Autopilot plans anew, by the mall's rules"),
    ("nearest", "Nearest free driver at once, one order a trip"),
    ("auto_with_exceptions", "Autopilot, but leaves what would be late to people"),
    ("off", "Nobody: only what people do in this room"),
)
MODES: Final = frozenset({"auto_with_exceptions", "off"})
"""Those of the policies that are modes of the autopilot."""
HOLDS: Final = ((AS_RECORDED, "As the rules have it"), ("on", "Yes"), ("off", "No: everything leaves at once"))
MOST_DRIVERS: Final = 200
MOST_LATE_MIN: Final = 240


class ForkForm(Struct, frozen=True):
    """The dialog's fields as they stand."""

    policy: str
    hold: str
    drivers_mall: str | None = None
    drivers: float | str | None = None
    store: str | None = None
    late_min: float | str | None = None


def fork_dialog() -> Component:
    """The dialog, closed."""
    dialog: Component = dmc.Modal(
        [
            html.Div(id=ids.FORK_LEAD),
            html.H3("A policy"),
            _choice(ids.FORK_POLICY, "Who gives orders out from here", POLICIES),
            _choice(ids.FORK_HOLD, "May an order wait for another to share its trip", HOLDS),
            html.H3("The world"),
            html.Div(
                [
                    dmc.NumberInput(
                        id=ids.FORK_DRIVERS, label="More drivers", value=0, min=0, max=MOST_DRIVERS, size="sm",
                        allowDecimal=False, clampBehavior="none",
                    ),
                    dmc.Select(id=ids.FORK_DRIVERS_MALL, label="at", data=[], size="sm", allowDeselect=False),
                    dmc.NumberInput(
                        id=ids.FORK_LATE, label="Minutes late", value=0, min=0, max=MOST_LATE_MIN, size="sm",
                        allowDecimal=False, clampBehavior="none",
                    ),
                    dmc.Select(
                        id=ids.FORK_STORE, label="store", data=[], size="sm", searchable=True, clearable=True,
                        placeholder="none",
                    ),
                ],
                className="numbers",
            ),
            note("To change a decision, close this and reassign an order as usual: the replay forks by itself there."),
            html.Div(id=ids.FORK_PROBLEM, role="alert", className="late"),
            html.Div(html.Button("Fork here", id=ids.FORK_GO, className="btn primary"), className="actions"),
        ],
        id=ids.FORK_DIALOG,
        title="Fork here",
        centered=True,
        keepMounted=True,
    )  # fmt: skip
    return dialog


def _choice(identity: str, label: str, choices: tuple[tuple[str, str], ...]) -> Component:
    select: Component = dmc.Select(
        id=identity,
        label=label,
        value=AS_RECORDED,
        data=[{"value": value, "label": words} for value, words in choices],
        size="sm",
        mt=10,
        allowDeselect=False,
    )
    return select


def mall_options(places: Places) -> list[dict[str, str]]:
    """The malls to choose from."""
    return [{"value": mall.id, "label": mall.name} for mall in places.malls.values()]


def store_options(places: Places) -> list[dict[str, object]]:
    """The stores to choose from, by mall; a value is `mall/store`."""
    return [
        {
            "group": mall.name,
            "items": [{"value": f"{mall.id}/{one}", "label": name} for one, name in sorted(_stores(places, mall.id))],
        }
        for mall in places.malls.values()
    ]


def _stores(places: Places, mall_id: str) -> list[tuple[str, str]]:
    return [(place.id, place.name) for place in places.malls[mall_id].places if place.kind == "store"]


def read_fork(form: ForkForm, rules: dict[str, dict[str, object]]) -> dict[str, object] | str:
    """The changes as the streamer takes them, or a sentence about what is missing.

    Args:
        form: as it stands.
        rules: the autopilot's rules by mall, for a policy that is one of its modes.
    """
    number, late_min = _number(form.drivers, MOST_DRIVERS), _number(form.late_min, MOST_LATE_MIN)
    if number is None:
        return f"“More drivers” takes a number from 0 to {MOST_DRIVERS}."
    if late_min is None:
        return f"“Minutes late” takes a number from 0 to {MOST_LATE_MIN}."
    if late_min and not form.store:
        return "Say which store is late."
    if form.store and not late_min:
        return "Say how many minutes the store is late."
    changes = _policy(form, rules)
    if number:
        changes["drivers"] = [{"mall_id": form.drivers_mall, "number": number}]
    if form.store:
        mall_id, _, store_id = form.store.partition("/")
        changes["stores"] = [{"mall_id": mall_id, "store_id": store_id, "late_ms": late_min * 60_000}]
    return changes or "Nothing is changed yet: choose a policy, drivers or a store."


def _policy(form: ForkForm, rules: dict[str, dict[str, object]]) -> dict[str, object]:
    changes: dict[str, object] = {}
    if form.policy in MODES:
        changes["rules"] = [
            {"mall_id": mall_id, "rules": {**held, "mode": form.policy}} for mall_id, held in rules.items()
        ]
    elif form.policy != AS_RECORDED:
        changes["policy"] = form.policy
    if form.hold != AS_RECORDED:
        changes["hold_for_batch"] = form.hold == "on"
    return changes


def _number(value: float | str | None, most: int) -> int | None:
    """A whole number from 0 to `most`; an empty field is 0; None for anything else."""
    if value in (None, ""):
        return 0
    return int(value) if isinstance(value, int | float) and 0 <= value <= most else None
