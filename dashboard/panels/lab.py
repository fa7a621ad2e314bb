"""The policy lab of the insights page: what to compare, how far the run is, and which results there are.

It must not know how a day is lived; the live floor does, and its refusal is shown.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats, ids
from dashboard.auth.principal import Principal
from dashboard.panels.gallery import Recording
from dashboard.panels.pieces import act_button, attributes, chip, note
from dashboard.panels.verdict import Verdict, policy, verdict_panel

POLICIES: Final = (
    ("plan", "the autopilot, by the recording's rules"),
    ("no-hold", "the same, but no order waits to share a trip"),
    ("nearest", "each order at once to the nearest free driver"),
)
FEWEST_SEEDS: Final = 2
MOST_SEEDS: Final = 40
MOST_MINUTES: Final = 1440
STATUS_WORDS: Final = {"running": "Running", "done": "Done", "cancelled": "Cancelled", "failed": "Failed"}


class Run(Struct, frozen=True):
    """One item of the streamer's `lab`."""

    run: str
    status: Literal["running", "done", "cancelled", "failed"]
    source: str
    name: str
    policies: tuple[str, str]
    seeds: int
    started_by: str
    started_ms: int
    days: int
    done: float
    command: str
    minutes: float | None = None
    left_ms: int | None = None
    problem: str | None = None
    verdict: Verdict | None = None


class LabForm(Struct, frozen=True):
    """The form's fields as they stand."""

    source: str | None = None
    first: str | None = None
    second: str | None = None
    seeds: float | str | None = None
    minutes: float | str | None = None


def insights_page() -> Component:
    """The page around the lab."""
    return html.Main(
        [
            html.Header([html.H1("Insights"), note("What recordings tell about how the floor is run.")]),
            html.Section(
                [
                    html.H2("Policy lab"),
                    note(
                        "A recording's day is lived many times under two policies, each time with other drivers, and "
                        "the two are held against each other. The live floor goes first: a run takes what is left."
                    ),
                    html.Ul([html.Li([html.Strong(policy(name)), f": {is_}"]) for name, is_ in POLICIES]),
                    _form(),
                    html.Div(id=ids.LAB_PROBLEM, role="alert", className="problem"),
                    html.Div(note("Asking what the lab has found …"), id=ids.LAB_PROGRESS),
                    html.Div(id=ids.LAB_RESULT),
                ],
                **attributes({"aria-label": "Policy lab"}),
            ),
        ],
        id="insights",
        **attributes({"aria-label": "Insights"}),
    )


def _form() -> Component:
    policies = [{"value": name, "label": policy(name)} for name, _ in POLICIES]
    first, second = (
        dmc.Select(id=name, label=label, data=policies, value=value, size="sm", allowDeselect=False)
        for name, label, value in ((ids.LAB_FIRST, "Policy", "nearest"), (ids.LAB_SECOND, "against", "plan"))
    )
    source = dmc.Select(
        id=ids.LAB_SOURCE, label="Recording", data=[], size="sm", searchable=True, allowDeselect=False,
        placeholder="Asking …",
    )  # fmt: skip
    # A select is two elements in the grid, of which one is hidden.
    return html.Div(
        [
            html.Div(source, className="whole"),
            html.Div(first),
            html.Div(second),
            dmc.NumberInput(
                id=ids.LAB_SEEDS, label="Seeds", value=20, min=FEWEST_SEEDS, max=MOST_SEEDS, size="sm",
                allowDecimal=False, clampBehavior="none",
            ),
            dmc.NumberInput(
                id=ids.LAB_MINUTES, label="Minutes", value="", min=1, max=MOST_MINUTES, size="sm", placeholder="all",
                clampBehavior="none",
            ),
            html.Button("Start", id=ids.LAB_GO, className="btn primary", disabled=True),
        ],
        className="lab-form",
    )  # fmt: skip


def source_options(recordings: Sequence[Recording]) -> list[dict[str, str]]:
    """The fixtures that can be lived."""
    fit = sorted((one.name or one.id, one) for one in recordings if one.kind == "fixture" and one.problem is None)
    return [
        {"value": one.id, "label": f"{name} · {formats.minutes(one.end_ms - one.start_ms)} · {one.orders} orders"}
        for name, one in fit
    ]


def read_form(form: LabForm) -> dict[str, object] | str:
    """The parameters of `lab_start`, or what is wrong with the form."""
    if not form.source:
        return "Choose a recording."
    if not form.first or not form.second or form.first == form.second:
        return "Choose two policies that differ."
    if not isinstance(form.seeds, int | float) or not FEWEST_SEEDS <= form.seeds <= MOST_SEEDS:
        return f"Seeds: a number from {FEWEST_SEEDS} to {MOST_SEEDS}."
    asked: dict[str, object] = {
        "source": form.source, "policies": [form.first, form.second], "seeds": int(form.seeds),
    }  # fmt: skip
    if form.minutes not in ("", None):
        if not isinstance(form.minutes, int | float) or not 1 <= form.minutes <= MOST_MINUTES:
            return f"Minutes: a number from 1 to {MOST_MINUTES}, or nothing for the whole recording."
        asked["minutes"] = form.minutes
    return asked


def progress(runs: Sequence[Run], chosen: Run | None, who: Principal) -> list[Component]:
    """The run that is under way, and the way to those before."""
    running = next((run for run in runs if run.status == "running"), None)
    shown: list[Component] = [_running(running, who)] if running is not None else []
    if not runs:
        shown.append(note("Nothing has been compared since the floor was started."))
    if len(runs) > 1:
        links = [_link(run, run is chosen) for run in runs]
        shown.append(html.Div([html.Span("Runs", className="dim"), *links], className="lab-runs"))
    return shown


def _running(run: Run, who: Principal) -> Component:
    left = "no telling yet how long it takes" if run.left_ms is None else f"about {_span(run.left_ms)} left"
    share = run.done / run.days
    return html.Div(
        [
            html.Div(
                [
                    html.Strong(_title(run)),
                    html.Span(f"{int(run.done)} of {run.days} days lived · {left} · {run.started_by}", className="dim"),
                    act_button("lab-cancel", "Cancel", look="danger") if who.may("ops-lead") else None,
                ],
                className="lab-line",
            ),
            html.Progress(value=f"{share:.3f}", max="1", **attributes({"aria-label": "Days lived"})),
        ],
        className="lab-running",
    )


def _link(run: Run, chosen: bool) -> Component:
    started = datetime.fromtimestamp(run.started_ms / 1000, UTC).strftime("%H:%M UTC")
    about = {"data-act": "lab-show", "data-run": run.run, "aria-pressed": str(chosen).lower()}
    words = f"{run.name}: {policy(run.policies[0])} / {policy(run.policies[1])}, {started}"
    return html.Button(words, className="btn", title=STATUS_WORDS[run.status], **attributes(about))


def result(run: Run) -> Component:
    """What a run has found so far."""
    date = datetime.fromtimestamp(run.started_ms / 1000, UTC).strftime("%Y%m%d-%H%M")
    partial = ""
    if run.verdict is not None and not run.verdict.complete:
        partial = f"Partial: {run.verdict.seeds} of {run.seeds} seeds"
    return html.Article(
        [
            html.Header(
                [
                    html.H3(_title(run)),
                    chip(STATUS_WORDS[run.status], "late" if run.status == "failed" else "quiet"),
                    chip(partial, "at-risk") if partial else None,
                ]
            ),
            note(f"It could not go on: {formats.sentence(run.problem)}", "late") if run.problem else None,
            verdict_panel(run.verdict, date) if run.verdict is not None else note(_nothing_yet(run)),
            html.Div([html.Span("The same from a shell", className="dim"), html.Code(run.command)], className="shell"),
        ],
        className="lab-result",
        **attributes({"data-run": run.run, "data-status": run.status}),
    )


def _nothing_yet(run: Run) -> str:
    if run.status == "running":
        return "The first figures come when two seeds have been lived under both policies."
    return "It ended before two seeds had been lived under both policies: there is nothing to compare."


def _title(run: Run) -> str:
    length = "the whole recording" if run.minutes is None else f"{run.minutes:g} min"
    first, second = (policy(name) for name in run.policies)
    return f"{run.name}: {first} against {second}, {run.seeds} seeds, {length}"


def _span(span_ms: int) -> str:
    return f"{max(1, round(span_ms / 1000))} s" if span_ms < 90_000 else formats.minutes(span_ms)
