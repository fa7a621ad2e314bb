"""What answers a decision: the note that it is done, with its undo, and the dialog when somebody was faster.

It must not know how the decision was sent.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from dash import html
from dash.development.base_component import Component

from dashboard import formats
from dashboard.figures.places import Places
from dashboard.panels.order import RISK_TONES
from dashboard.panels.pieces import act_button, chip, facts, note
from dashboard.panels.timeline import ACTION_WORDS
from streamer.core.state import HistoryItem
from streamer.core.views import OrderView

UNDO_MS: Final = 10_000
DONE_WORDS: Final = {
    "assign": "assigned",
    "reassign": "reassigned",
    "unassign": "taken off its driver",
    "hold": "put on hold",
    "release": "released",
    "pin": "pinned",
    "ready": "marked ready",
    "cancel": "cancelled",
}


def done_note(intent: Mapping[str, str], command_id: str) -> dict[str, object]:
    """The notification of a decision that took effect, with Undo; an undo is not itself undone."""
    undo = [] if intent["action"] == "undo" else [act_button("undo", "Undo", key="z", command=command_id)]
    return {
        "action": "show",
        "id": f"done-{command_id}",
        "message": html.Div([html.Span(done_words(intent)), *undo], className="done"),
        "color": "teal",
        "autoClose": UNDO_MS,
        "withBorder": True,
    }


def trip_note(intent: Mapping[str, str], command_ids: str, outcome: Mapping[str, object]) -> dict[str, object]:
    """What came of each order of a trip that was accepted, with an Undo for each that was given out."""
    refused = outcome.get("refused")
    refused = refused if isinstance(refused, Mapping) else {}
    orders = [one.rpartition("@")[0] for one in intent["orders"].split(",")]
    given = [order_id for order_id in orders if order_id not in refused]
    name = intent.get("driver_name") or intent["driver_id"]
    lines: list[Component] = [
        html.Div([html.Span(f"{order_id} assigned to {name}."), act_button("undo", "Undo", command=command_id)])
        for order_id, command_id in zip(given, command_ids.split(","), strict=False)
    ]
    lines += [html.Div(f"{order_id} stays in the queue: {refusal(refused[order_id])}") for order_id in refused]
    return {
        "action": "show",
        "id": f"trip-{intent['key']}",
        "title": f"{len(given)} of {len(orders)} orders of the trip given to {name}",
        "message": html.Div(lines, className="trip-done"),
        "color": "red" if refused else "teal",
        "autoClose": False if refused else UNDO_MS,
        "withBorder": True,
    }


def done_words(intent: Mapping[str, str]) -> str:
    """What was done, as a sentence."""
    action, driver = intent["action"], intent.get("driver_name") or intent.get("driver_id", "")
    if action == "undo":
        return "Undone."
    if action == "hand_over":
        return f"All orders of {driver} were handed over."
    if action == "duty":
        return f"{driver} is {formats.words(intent['duty'])}."
    target = f" to {driver}" if action in {"assign", "reassign"} else ""
    return formats.sentence(f"{intent['order_id']} {formats.words(action, DONE_WORDS)}{target}")


def failed_note(intent: Mapping[str, str], problem: Mapping[str, object]) -> dict[str, object]:
    """The notification of a decision that was refused: nothing changed, and why."""
    return {
        "action": "show",
        "id": f"failed-{intent['key']}",
        "title": "Nothing was changed",
        "message": refusal(problem),
        "color": "red",
        "autoClose": UNDO_MS,
        "withBorder": True,
    }


def refusal(problem: Mapping[str, object]) -> str:
    """Why a decision was refused, in words; the streamer's own sentence where there is no better one."""
    code, detail = str(problem.get("code", "")), str(problem.get("detail", ""))
    return formats.PROBLEM_WORDS.get(code) or formats.sentence(_capital(detail or formats.words(code)))


def conflict_body(
    intent: Mapping[str, str],
    problem: Mapping[str, object],
    order: OrderView | None,
    history: Sequence[HistoryItem],
    places: Places,
    names: dict[str, str],
    offset_ms: int,
) -> Component:
    """The dialog of a 409: who changed what and when, the order as it is now, and the same decision offered again."""
    lead = f"{formats.sentence(f'You were about to {wish(intent, names)}')} {refusal(problem)}"
    if order is None:
        return html.Div([note(lead), html.Div([act_button("drop-intent", "Close")], className="actions")])
    intent = _on(order, intent)
    again = act_button(
        "again",
        f"{_capital(wish(intent, names))} anyway",
        look="primary",
        version=str(order.version),
        verb=intent["action"],
    )
    return html.Div(
        [
            note(lead),
            *_last_change(history, names, places.timezone(order.mall_id), offset_ms),
            html.H3("The order now"),
            facts(
                [
                    ("Status", formats.words(order.status, formats.STATUS_WORDS)),
                    ("Driver", names.get(order.driver_id, order.driver_id) if order.driver_id else "nobody"),
                    ("Risk", chip(formats.RISK_WORDS[order.risk], RISK_TONES[order.risk])),
                ]
            ),
            html.Div([again, act_button("drop-intent", "Leave it as it is")], className="actions"),
        ]
    )


def _on(order: OrderView, intent: Mapping[str, str]) -> Mapping[str, str]:
    """The same decision on the order as it now is: an order that has a driver is reassigned, not assigned."""
    if intent["action"] not in {"assign", "reassign"}:
        return intent
    return {**intent, "action": "reassign" if order.driver_id else "assign"}


def _last_change(
    history: Sequence[HistoryItem], names: dict[str, str], timezone: str, offset_ms: int
) -> list[Component]:
    if not history:
        return []
    last = max(history, key=lambda item: item.at_ms)
    moment = formats.clock(last.at_ms, timezone, offset_ms, seconds=True)
    line = f"{names.get(last.actor, last.actor) or 'Somebody'} · {formats.words(last.action, ACTION_WORDS)} · {moment}"
    changed = formats.changes(last.changed, names)
    quoted = [html.Div(f"“{last.reason}”")] if last.reason else []
    return [
        html.H3("What changed"),
        html.Div([html.Strong(line), *quoted, html.Div(changed, className="dim")], className="change"),
    ]


def wish(intent: Mapping[str, str], names: dict[str, str]) -> str:
    """What the person wanted, to stand after "You were about to"."""
    driver = intent.get("driver_id", "")
    target = f" to {names.get(driver, driver)}" if driver and intent["action"] in {"assign", "reassign"} else ""
    return f"{formats.words(intent['action'])} {intent.get('order_id', 'it')}{target}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def hand_over_body(name: str, load: int) -> Component:
    """The words above the choice of the driver who takes over."""
    return note(f"{name} has {formats.count(load, 'order')}. Those not yet collected can also go back to the queue.")
