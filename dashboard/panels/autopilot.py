"""The autopilot's badge above the floor, and the dialog of its rules by mall.

It must not know how rules take effect; the streamer checks who may change them, and audits it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import dash_mantine_components as dmc
import msgspec
from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats, ids
from dashboard.figures.places import Places
from dashboard.panels.pieces import attributes, note
from streamer.core.settings import AutopilotRules

SECOND_MS: Final = 1000
MODES: Final = (
    ("off", "Off", "It does nothing: people give out every order."),
    ("suggest", "Suggest", "It plans and suggests; an order goes to a driver when a person accepts."),
    ("auto", "Auto", "It gives out every order by itself."),
    (
        "auto_with_exceptions",
        "Auto + exceptions",
        "It gives out the ordinary; what would be late, or far dearer than usual, is left to people.",
    ),
)


class Span(NamedTuple):
    """A number of the rules as people set it. `least` and `most` are the streamer's bounds, in the unit shown."""

    field: str
    label: str
    meaning: str
    least: int
    most: int


LOOK: Final = Span("look_ms", "Looks every (s)", "Seconds from one look at the floor to the next.", 1, 3600)
TRIP: Final = Span("trip_orders", "Orders per trip", "At most; it plans no longer trips.", 1, 64)
OFFER: Final = Span("offer_ms", "Offer lapses after (s)", "0: an order is given for good, not offered.", 0, 10_000_000)
STAND_DOWN: Final = Span(
    "stand_down_ms", "Stands down for (s)", "What a person touched, it leaves alone this long.", 0, 10_000_000
)
SPANS: Final = (LOOK, TRIP, OFFER, STAND_DOWN)


class Worker(Struct, frozen=True):
    """How the autopilot of a mall is doing. `plan_ms` is what its last plan took, milliseconds."""

    ok: bool = True
    last_look_ms: int | None = None
    plan_ms: float | None = None
    message: str | None = None
    road_share: float | None = None


class Routing(Struct, frozen=True):
    """Where plans' driving times come from now; the model, when the routing server does not answer."""

    source: str = "model"
    since_ms: int = 0
    last_error: str = ""


class MallAutopilot(Struct, frozen=True):
    """The rules in force at a mall, and how they are carried out."""

    mall_id: str
    rules: AutopilotRules
    worker: Worker = Worker()
    routing: Routing | None = None


class Autopilots(Struct, frozen=True):
    """Those of all malls this person sees, as the streamer answers them."""

    items: tuple[MallAutopilot, ...] = ()


class Form(Struct, frozen=True):
    """The rules as they stand in the dialog: seconds; an emptied field is None or an empty text."""

    mode: str
    look_s: int | float | str | None
    hold: bool
    trip: int | float | str | None
    offer_s: int | float | str | None
    stand_down_s: int | float | str | None


# ---------------------------------------------------------------- the badge


def badge(items: Sequence[MallAutopilot], malls: Sequence[str], places: Places) -> Component | None:
    """The button before the figures: the mode of the malls shown, and whether its work has stopped.

    Args:
        malls: those shown; empty means all.
    """
    shown = [item for item in items if not malls or item.mall_id in malls]
    if not shown:
        return None
    stopped = [item for item in shown if item.rules.mode != "off" and not item.worker.ok]
    lines = [_line(item, places) for item in shown]
    return html.Button(
        [
            html.Span(modes_in_short(shown), className="value"),
            html.Span("Autopilot stopped" if stopped else "Autopilot"),
        ],
        className="kpi stopped" if stopped else "kpi",
        id="autopilot-button",
        title="\n".join(lines),
        **attributes({"data-act": "autopilot", "aria-label": f"Autopilot. {'. '.join(lines)}. Open its rules"}),
    )


def modes_in_short(items: Sequence[MallAutopilot]) -> str:
    """`Suggest`, or with several malls that differ, `2 Auto · 1 Off`."""
    modes = Counter(formats.MODE_WORDS[item.rules.mode] for item in items)
    if len(modes) == 1:
        return next(iter(modes))
    return " · ".join(f"{modes[word]} {word}" for word in formats.MODE_WORDS.values() if word in modes)


def _line(item: MallAutopilot, places: Places) -> str:
    mode = formats.MODE_WORDS[item.rules.mode]
    trouble = f", stopped: {item.worker.message or 'no reason given'}" if not item.worker.ok else ""
    return f"{places.mall_name(item.mall_id)}: {mode}{trouble}"


# ---------------------------------------------------------------- the dialog


def settings_dialog() -> Component:
    """The dialog, closed and empty; a callback fills it when it opens, and when another mall is chosen."""
    dialog: Component = dmc.Modal(
        [
            dmc.Select(id=ids.AUTOPILOT_MALL, label="Mall", data=[], size="sm", allowDeselect=False),
            html.Div(id=ids.AUTOPILOT_WORKER, className="worker"),
            html.Fieldset(_fields(), id=ids.AUTOPILOT_FIELDS, disabled=True),
        ],
        id=ids.AUTOPILOT_DIALOG,
        title="Autopilot",
        centered=True,
        keepMounted=True,
    )
    return dialog


def _fields() -> list[Component]:
    modes = [
        dmc.Radio(label=label, value=value, description=meaning, size="sm", mt=6) for value, label, meaning in MODES
    ]
    return [
        dmc.RadioGroup(modes, id=ids.AUTOPILOT_MODE, label="Mode", value="off"),
        html.Div(
            [
                _number(ids.AUTOPILOT_LOOK, LOOK),
                _number(ids.AUTOPILOT_TRIP, TRIP),
                _number(ids.AUTOPILOT_OFFER, OFFER),
                _number(ids.AUTOPILOT_STAND_DOWN, STAND_DOWN),
            ],
            className="numbers",
        ),
        dmc.Switch(
            id=ids.AUTOPILOT_HOLD,
            label="An order may wait for another to share its trip, when nobody is late for it",
            checked=True,
            size="sm",
        ),
        dmc.TextInput(
            id=ids.AUTOPILOT_REASON,
            label="Reason (goes into the audit)",
            value="",
            size="sm",
            required=True,
            inputProps={"maxLength": 512},
        ),
        html.Div(id=ids.AUTOPILOT_PROBLEM, role="alert", className="late"),
        html.Div(html.Button("Save", id=ids.AUTOPILOT_SAVE, className="btn primary"), className="actions"),
    ]


def _number(identity: str, span: Span) -> Component:
    number: Component = dmc.NumberInput(
        id=identity,
        label=span.label,
        description=span.meaning,
        min=span.least,
        max=span.most,
        clampBehavior="none",
        allowDecimal=False,
        value=span.least,
        size="sm",
    )
    return number


def worker_words(item: MallAutopilot | None, timezone: str, offset_ms: int, why_not: str) -> list[Component]:
    """How the autopilot of the mall is doing, and why this person cannot change its rules, if so."""
    if item is None:
        return [note("The floor does not say how its autopilot is set just now. Close this and try again.", "late")]
    worker = item.worker
    seen = f"Last look {formats.clock(worker.last_look_ms, timezone, offset_ms, seconds=True)}"
    took = f", planned in {worker.plan_ms:.0f} ms" if worker.plan_ms is not None else ""
    looked = formats.sentence(f"{seen}{took}") if worker.last_look_ms is not None else "It has not looked yet."
    said = [note(looked)] if item.rules.mode != "off" else []
    if not worker.ok:
        said.append(note(f"It has stopped: {formats.sentence(worker.message or 'no reason given')}", "late"))
    elif worker.message:
        said.append(note(formats.sentence(worker.message)))
    return [*said, *_road_words(item, timezone, offset_ms), *([note(why_not)] if why_not else [])]


def _road_words(item: MallAutopilot, timezone: str, offset_ms: int) -> list[Component]:
    """Where its driving times come from, where a routing server is set."""
    routing = item.routing
    if routing is None:
        return []
    if routing.source == "model":
        since = formats.clock(routing.since_ms, timezone, offset_ms)
        why = f": {routing.last_error}" if routing.last_error else ""
        return [note(f"Driving times are the model's since {since}, not of roads{why}", "late")]
    share = f", {item.worker.road_share:.0%} of its last plan" if item.worker.road_share is not None else ""
    return [note(f"Driving times are of roads ({routing.source}){share}.")]


def form_of(rules: AutopilotRules) -> Form:
    """The rules as the dialog shows them."""
    look_s, offer_s, stand_down_s = (ms / SECOND_MS for ms in (rules.look_ms, rules.offer_ms, rules.stand_down_ms))
    return Form(rules.mode, look_s, rules.hold_for_batch, rules.trip_orders, offer_s, stand_down_s)


def read_form(form: Form) -> AutopilotRules | str:
    """The rules, or a sentence about the first number that cannot be one."""
    given = (form.look_s, form.trip, form.offer_s, form.stand_down_s)
    numbers: dict[str, int] = {}
    for span, value in zip(SPANS, given, strict=True):
        if not isinstance(value, int | float) or not span.least <= value <= span.most:
            return f"“{span.label}” takes a number from {span.least} to {span.most}."
        numbers[span.field] = round(value * SECOND_MS) if span.field.endswith("_ms") else round(value)
    return msgspec.convert({"mode": form.mode, "hold_for_batch": form.hold, **numbers}, AutopilotRules)
