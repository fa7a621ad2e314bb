"""Starts, watches and cancels a run of the policy lab.

It must not judge who may: the live floor does, and its refusal is shown.
"""

from typing import TypedDict

import msgspec
from dash import Dash, Input, Output, State, no_update
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import ids
from dashboard.auth import current_principal
from dashboard.callbacks.ask import ask, call
from dashboard.callbacks.gallery import RecordingList
from dashboard.panels.dialogs import refusal
from dashboard.panels.lab import LabForm, Run, progress, read_form, result, source_options
from dashboard.panels.pieces import note

FORM = {
    "source": (ids.LAB_SOURCE, "value"),
    "first": (ids.LAB_FIRST, "value"),
    "second": (ids.LAB_SECOND, "value"),
    "seeds": (ids.LAB_SEEDS, "value"),
    "minutes": (ids.LAB_MINUTES, "value"),
}


class RunList(Struct, frozen=True):
    """The streamer's answer to `lab`."""

    items: tuple[Run, ...] = ()


class LookUp(TypedDict):
    """What the browser script wrote into `ids.LAB_LOOK`: which run it wants to see, empty for the newest."""

    run: str


def register(app: Dash) -> None:
    """Binds the lab."""

    @app.callback(
        Output(ids.LAB_SOURCE, "data"),
        Output(ids.LAB_SOURCE, "value"),
        Output(ids.LAB_GO, "disabled"),
        Output(ids.LAB_GO, "title"),
        Input(ids.LAB_ASK, "data"),
        prevent_initial_call=True,
    )
    async def fill(_ask: dict[str, int]) -> tuple[object, ...]:
        return await filled()

    @app.callback(
        Output(ids.LAB_PROGRESS, "children"),
        Output(ids.LAB_RESULT, "children"),
        Output(ids.LAB_SHOWN, "data"),
        Input(ids.LAB_LOOK, "data"),
        State(ids.LAB_SHOWN, "data"),
        prevent_initial_call=True,
    )
    async def show(look: LookUp, shown: str | None) -> tuple[object, ...]:
        return await seen(look["run"], shown)

    @app.callback(
        output=Output(ids.LAB_PROBLEM, "children"),
        inputs={"clicks": Input(ids.LAB_GO, "n_clicks")},
        state={"form": {name: State(*place) for name, place in FORM.items()}},
        prevent_initial_call=True,
    )
    async def start(clicks: int, form: dict[str, object]) -> str:
        return await started(msgspec.convert(form, LabForm))

    @app.callback(
        Output(ids.LAB_PROBLEM, "children", allow_duplicate=True),
        Input(ids.LAB_CANCEL, "data"),
        prevent_initial_call=True,
    )
    async def cancel(_cancel: dict[str, int]) -> str:
        reply = await call("lab_cancel")
        return "" if reply.ok else refusal(reply.problem)


async def filled() -> tuple[object, ...]:
    """The recordings, the first of them, and whether and why this person may not start."""
    found = await ask("recordings", RecordingList)
    options = source_options(found.items if found else ())
    who = current_principal()
    why_not = "" if who.may("ops-lead") else f"You are logged in as {who.role}: runs are started by an ops lead."
    return options, options[0]["value"] if options else None, bool(why_not), why_not


async def seen(wanted: str, shown: str | None) -> tuple[object, ...]:
    """How far the lab is, and the wanted run's result where it is not what is shown already."""
    found = await ask("lab", RunList)
    if found is None:
        return [note("The floor does not say what the lab does. It is asked again in a few seconds.")], no_update, shown
    chosen = next((run for run in found.items if run.run == wanted), found.items[0] if found.items else None)
    stamp = "" if chosen is None else f"{chosen.run} {chosen.status} {chosen.verdict.seeds if chosen.verdict else 0}"
    now: list[Component] = progress(found.items, chosen, current_principal())
    if stamp == (shown or ""):
        return now, no_update, no_update
    return now, result(chosen) if chosen is not None else [], stamp


async def started(form: LabForm) -> str:
    """Starts a run; why there is none, or nothing."""
    asked = read_form(form)
    if isinstance(asked, str):
        return asked
    reply = await call("lab_start", **asked)
    return "" if reply.ok else refusal(reply.problem)
