"""The autopilot in the header, and its rules: read by everybody, changed by an ops lead.

It must not judge rules beyond what a form can: the streamer does, and its refusal is shown.
"""

import secrets
from typing import TypedDict

import msgspec
from dash import Dash, Input, Output, State, no_update
from dash.development.base_component import Component
from msgspec.structs import asdict

from dashboard import formats, ids
from dashboard.auth import current_principal
from dashboard.callbacks.ask import ask, ask_places, call
from dashboard.figures.places import Places
from dashboard.panels.autopilot import (
    Autopilots,
    Form,
    MallAutopilot,
    badge,
    form_of,
    read_form,
    worker_words,
)
from dashboard.panels.dialogs import refusal
from streamer.core.settings import AutopilotRules

FORM = {
    "mode": (ids.AUTOPILOT_MODE, "value"),
    "look_s": (ids.AUTOPILOT_LOOK, "value"),
    "hold": (ids.AUTOPILOT_HOLD, "checked"),
    "trip": (ids.AUTOPILOT_TRIP, "value"),
    "offer_s": (ids.AUTOPILOT_OFFER, "value"),
    "stand_down_s": (ids.AUTOPILOT_STAND_DOWN, "value"),
}


class LookUp(TypedDict):
    """What the browser script wrote into `ids.AUTOPILOT_LOOK_UP`."""

    malls: list[str]


class Ask(TypedDict):
    """What it wrote into `ids.AUTOPILOT_ASK`; `mall_id` is None when no mall is chosen."""

    mall_id: str | None
    offset_ms: int


def register(app: Dash) -> None:
    """Binds badge and dialog."""

    @app.callback(
        Output(ids.AUTOPILOT_BADGE, "children"),
        Input(ids.AUTOPILOT_LOOK_UP, "data"),
        Input(ids.AUTOPILOT_SAVED, "data"),
        prevent_initial_call=True,
    )
    async def show(look_up: LookUp | None, _saved: str | None) -> Component | None:
        return await show_badge(look_up["malls"] if look_up else [])

    @app.callback(
        Output(ids.AUTOPILOT_DIALOG, "opened"),
        Output(ids.AUTOPILOT_MALL, "data"),
        Output(ids.AUTOPILOT_MALL, "value"),
        Input(ids.AUTOPILOT_ASK, "data"),
        prevent_initial_call=True,
    )
    async def open_dialog(asked: Ask) -> tuple[bool, list[dict[str, str]], str | None]:
        return await open_at(asked["mall_id"])

    _bind_form(app)


def _bind_form(app: Dash) -> None:
    @app.callback(
        output={
            "words": Output(ids.AUTOPILOT_WORKER, "children"),
            "locked": Output(ids.AUTOPILOT_FIELDS, "disabled"),
            "form": {name: Output(*place) for name, place in FORM.items()},
            "problem": Output(ids.AUTOPILOT_PROBLEM, "children", allow_duplicate=True),
        },
        inputs={"mall_id": Input(ids.AUTOPILOT_MALL, "value"), "asked": Input(ids.AUTOPILOT_ASK, "data")},
        prevent_initial_call=True,
    )
    async def fill(mall_id: str | None, asked: Ask | None) -> dict[str, object]:
        return await fill_form(mall_id, asked["offset_ms"] if asked else 0)

    @app.callback(
        output={
            "problem": Output(ids.AUTOPILOT_PROBLEM, "children"),
            "opened": Output(ids.AUTOPILOT_DIALOG, "opened", allow_duplicate=True),
            "reason": Output(ids.AUTOPILOT_REASON, "value"),
            "notes": Output(ids.NOTES, "sendNotifications", allow_duplicate=True),
            "saved": Output(ids.AUTOPILOT_SAVED, "data"),
        },
        inputs={"clicks": Input(ids.AUTOPILOT_SAVE, "n_clicks")},
        state={
            "mall_id": State(ids.AUTOPILOT_MALL, "value"),
            "reason": State(ids.AUTOPILOT_REASON, "value"),
            "form": {name: State(*place) for name, place in FORM.items()},
        },
        prevent_initial_call=True,
    )
    async def save(clicks: int, mall_id: str | None, reason: str, form: dict[str, object]) -> dict[str, object]:
        return await save_rules(mall_id, reason.strip(), msgspec.convert(form, Form))


async def _autopilots() -> tuple[MallAutopilot, ...]:
    found = await ask("autopilot", Autopilots)
    return found.items if found else ()


async def show_badge(malls: list[str]) -> Component | None:
    """The badge for the malls shown; None while the floor does not say."""
    items, places = await _autopilots(), await ask_places() or Places({})
    return badge(items, malls, places)


async def open_at(mall_id: str | None) -> tuple[bool, list[dict[str, str]], str | None]:
    """Opened, the malls to choose from, and the one chosen first."""
    items, places = await _autopilots(), await ask_places() or Places({})
    malls = [item.mall_id for item in items]
    choices = [{"value": one, "label": places.mall_name(one)} for one in malls]
    return True, choices, mall_id if mall_id in malls else next(iter(malls), None)


async def fill_form(mall_id: str | None, offset_ms: int) -> dict[str, object]:
    """The dialog's fields for a mall; locked for everybody but an ops lead."""
    items, places = await _autopilots(), await ask_places() or Places({})
    item = next((one for one in items if one.mall_id == mall_id), None)
    why_not = why_locked()
    form = asdict(form_of(item.rules)) if item else dict.fromkeys(FORM, no_update)
    words = worker_words(item, places.timezone(mall_id or ""), offset_ms, why_not)
    return {"words": words, "locked": bool(why_not) or item is None, "form": form, "problem": ""}


def why_locked() -> str:
    """Why this person cannot change the rules; empty for an ops lead."""
    who = current_principal()
    return "" if who.may("ops-lead") else f"You are logged in as {who.role}: an ops lead changes these."


async def save_rules(mall_id: str | None, reason: str, form: Form) -> dict[str, object]:
    """Sends the rules, or says what is wrong with them."""
    rules = read_form(form)
    problem = rules if isinstance(rules, str) else why_locked()
    if not problem and not reason:
        problem = "Say why: the reason goes into the audit."
    if problem or not mall_id or isinstance(rules, str):
        return _stays_open(problem or "Choose a mall first.")
    key = secrets.token_hex(12)
    reply = await call("set_autopilot", mall_id=mall_id, rules=asdict(rules), reason=reason, key=key)
    return _saved(mall_id, rules, key) if reply.ok else _stays_open(refusal(reply.problem))


def _stays_open(problem: str) -> dict[str, object]:
    kept = dict.fromkeys(("opened", "reason", "notes", "saved"), no_update)
    return {"problem": problem, **kept}


def _saved(mall_id: str, rules: AutopilotRules, key: str) -> dict[str, object]:
    mode = formats.MODE_WORDS[rules.mode]
    done = {
        "action": "show",
        "id": f"autopilot-{key}",
        "message": f"Autopilot of {mall_id}: {mode}.",
        "color": "teal",
        "autoClose": 6000,
        "withBorder": True,
    }
    return {"problem": "", "opened": False, "reason": "", "notes": [done], "saved": key}
