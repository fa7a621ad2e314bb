"""The gallery of recordings: what each shows, how long it is, how it went, and the rooms that are open.

It must not know how a recording is read; one that cannot be is shown with the reason.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from dash import html
from dash.development.base_component import Component
from msgspec import Struct

from dashboard import formats
from dashboard.auth.principal import Principal, Role
from dashboard.panels.pieces import act_button, attributes, chip, note
from streamer.core.kpis import Kpis

KIND_WORDS: Final = {"fixture": "Recording", "journal": "Today's journal", "room": "Open room"}


class Recording(Struct, frozen=True):
    """One entry of the streamer's `recordings`. `problem` says why it cannot be opened."""

    id: str
    kind: Literal["fixture", "journal", "room"]
    name: str = ""
    story: str = ""
    start_ms: int = 0
    end_ms: int = 0
    malls: tuple[str, ...] = ()
    drivers: int = 0
    orders: int = 0
    role: Role = "viewer"
    problem: str | None = None
    kpis: Kpis | None = None


class OpenRoom(Struct, frozen=True):
    """A room that plays now."""

    room: str
    source: str
    name: str = ""
    start_ms: int = 0
    end_ms: int = 0
    at_ms: int = 0
    opened_by: str = ""


def gallery_page() -> Component:
    """The page around the cards."""
    return html.Main(
        [
            html.Header(
                [
                    html.H1("Replay"),
                    note(
                        "A recording plays on a floor of its own, with the same map, queue and inspector. "
                        "The live floor is not touched."
                    ),
                ]
            ),
            html.Div(id="gallery-problem", role="alert", className="problem"),
            html.Div(note("Asking which recordings there are …"), id="gallery-cards"),
        ],
        id="gallery",
        **attributes({"aria-label": "Recordings"}),
    )


def gallery(
    recordings: Sequence[Recording], rooms: Sequence[OpenRoom], who: Principal, mall_names: Mapping[str, str]
) -> list[Component]:
    """The rooms that are open, then a card a recording, those first that can be watched."""
    shown = sorted(
        (one for one in recordings if one.kind != "room"),
        key=lambda one: (one.problem is not None, one.kind != "journal", one.name, one.id),
    )
    names = {one.id: one.name or one.id for one in recordings}
    open_now = [_room(room, names, who) for room in rooms]
    cards = [_card(one, who, mall_names) for one in shown] or [
        note("There are no recordings here. `mallard record` cuts one from a journal, `mallard simulate` makes one.")
    ]
    opened = [html.H2("Open now"), html.Ul(open_now, className="rooms")] if open_now else []
    return [*opened, html.H2("Recordings"), html.Div(cards, className="recordings")]


def _room(room: OpenRoom, names: Mapping[str, str], who: Principal) -> Component:
    href = f"/replay/{room.room}?source={room.source}"
    by = f" · opened by {room.opened_by}" if room.opened_by else ""
    return html.Li(
        [
            html.A(names.get(room.source, room.name or room.source), href=href, className="link"),
            html.Span(f"{room.room}{by}", className="dim"),
            html.A("Join", href=href, className="btn"),
            *([act_button("replay-close", "Close", room=room.room)] if _may_close(room, who) else []),
        ]
    )


def _may_close(room: OpenRoom, who: Principal) -> bool:
    return room.opened_by == who.name or who.may("ops-lead")


def _card(one: Recording, who: Principal, mall_names: Mapping[str, str]) -> Component:
    why_not = _why_not(one, who)
    return html.Article(
        [
            html.Header([html.H3(one.name or one.id), chip(KIND_WORDS[one.kind], "quiet")]),
            html.P(one.story, className="story") if one.story else None,
            note(f"It cannot be opened: {formats.sentence(one.problem)}", "late") if one.problem else _facts(
                one, mall_names
            ),
            _figures(one.kpis) if one.kpis else None,
            html.Div(
                [
                    act_button("replay-open", "Watch", why_not=why_not, look="primary", source=one.id),
                    *([note(why_not)] if why_not and not one.problem else []),
                ],
                className="actions",
            ),
        ],
        className="recording broken" if one.problem else "recording",
        **attributes({"data-recording": one.id}),
    )  # fmt: skip


def _why_not(one: Recording, who: Principal) -> str:
    if one.problem:
        return "This recording cannot be opened."
    least: Role = "ops-lead" if one.kind == "journal" else one.role
    return "" if who.may(least) else f"You are logged in as {who.role}: this is for an {least.replace('-', ' ')}."


def _facts(one: Recording, mall_names: Mapping[str, str]) -> Component:
    malls = ", ".join(mall_names.get(mall, formats.words(mall.replace("-", " ")).title()) for mall in one.malls)
    when = datetime.fromtimestamp(one.start_ms / 1000, UTC).strftime("%a %d %b %Y, %H:%M UTC") if one.start_ms else ""
    lines = (
        formats.minutes(one.end_ms - one.start_ms),
        formats.count(one.orders, "order"),
        formats.count(one.drivers, "driver"),
    )
    return html.Div(
        [html.Div(" · ".join(lines)), html.Div(" · ".join(part for part in (malls, when) if part), className="dim")],
        className="about",
    )


def _figures(kpis: Kpis) -> Component:
    """How it went."""
    trip, door = kpis.orders_per_trip, kpis.click_to_door_ms
    told = (
        ("Delivered on time", "–" if kpis.on_time is None else f"{kpis.on_time:.0%}"),
        ("Late at the end", f"{kpis.late}"),
        ("Orders / trip", "–" if trip is None else f"{trip:.2f}"),
        ("Click to door", "–" if door is None else formats.minutes(door)),
    )
    return html.Div([html.Div([html.Strong(value), html.Small(name)]) for name, value in told], className="outcome")
