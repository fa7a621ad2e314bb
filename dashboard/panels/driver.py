"""A driver in the inspector: where it was last seen and how sure that is, what it carries, where it goes next.

It must not know where the driver came from, or who may act beyond the reason it is given.
"""

from dash import html
from dash.development.base_component import Component

from dashboard import formats
from dashboard.figures.places import Places
from dashboard.panels.pieces import act_button, attributes, chip, facts, note, section, select_link
from streamer.core.events import Stop
from streamer.core.views import DriverView

STOP_WORDS = {"pickup": "Collect", "dropoff": "Deliver", "return": "Bring back"}


def driver_panel(driver: DriverView, places: Places, offset_ms: int, why_not: str = "") -> Component:
    """The inspector for a driver; `why_not` is why this person cannot act, empty for a dispatcher."""
    timezone = places.timezone(driver.region or driver.mall_id or "")
    return html.Article(
        [
            html.Header([html.H2(driver.name or driver.id), chip(formats.STATE_WORDS[driver.state], _tone(driver))]),
            _facts(driver, places, timezone, offset_ms),
            html.Div(_actions(driver, why_not), className="actions"),
            *([note(why_not)] if why_not else []),
            section("Route", route_list(driver, timezone, offset_ms), formats.count(len(driver.route), "stop")),
        ],
        className="card",
        **attributes({"data-driver": driver.id}),
    )


def _tone(driver: DriverView) -> str:
    return f"state-{driver.state.replace('_', '-')}"


def _facts(driver: DriverView, places: Places, timezone: str, offset_ms: int) -> Component:
    accuracy = f", ±{driver.accuracy_m:.0f} m" if driver.accuracy_m is not None else ""
    seen = f"{formats.age(driver.age_ms)} ago{accuracy}" if driver.age_ms is not None else "never"
    verdict = formats.words(driver.verdict, formats.VERDICT_WORDS) if driver.verdict else ""
    shift_end = formats.clock(driver.shift_end_ms, timezone, offset_ms) if driver.shift_end_ms else ""
    return facts(
        [
            ("Id", driver.id),
            ("Position", seen),
            ("Last ping", verdict),
            ("Inside", select_link("mall", driver.mall_id, places.mall_name(driver.mall_id)) if driver.mall_id else ""),
            ("Load", f"{formats.count(len(driver.order_ids), 'order')} of {driver.capacity}"),
            ("Battery", f"{driver.battery:.0%}" if driver.battery is not None else ""),
            ("Shift ends", shift_end),
        ]
    )


def _actions(driver: DriverView, why_not: str) -> list[Component]:
    empty = "" if driver.order_ids else "This driver has no orders."
    off = driver.state == "off_duty"
    duty = ("on-duty", "Put on duty") if off else ("off-duty", "Take off duty")
    return [
        act_button("hand-over", "Hand over all …", why_not=why_not or empty),
        act_button(duty[0], duty[1], why_not=why_not, look="" if off else "danger"),
    ]


def route_list(driver: DriverView, timezone: str, offset_ms: int) -> Component:
    """The stops in the order they will be made, numbered as on the map."""
    if not driver.route:
        return note("No stops: nothing is assigned to this driver.")
    stops = [_stop(stop, timezone, offset_ms) for stop in driver.route]
    return html.Ol(stops, className="route")


def _stop(stop: Stop, timezone: str, offset_ms: int) -> Component:
    eta = formats.clock(stop.eta_ms or None, timezone, offset_ms)
    words = html.Span(f"{STOP_WORDS[stop.kind]} ")
    return html.Li([words, select_link("order", stop.order_id, stop.order_id), html.Time(eta)])
