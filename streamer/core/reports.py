"""What drivers say happened: to their duty, and to the orders they carry.

It must not know how a report travelled. A report takes effect wholly or not at all.
"""

from bisect import insort

from streamer.core.assignments import Assignments
from streamer.core.events import OrderChanged, Output, Refused, Report, ReportTaken
from streamer.core.orders import Step, advance, illegal, next_status
from streamer.core.state import Driver, Order

REPORTS_KEPT = 64

DUTY_REPORTS = frozenset({"on_duty", "off_duty", "on_break"})


def take(assignments: Assignments, at_ms: int, report: Report) -> tuple[Output, ...]:
    """Applies a driver's report, or says why not. A repeat (same id) is answered and has no second effect."""
    driver = assignments.state.drivers.get(report.driver_id)
    if driver is None:
        return (Refused("not_yours", f"there is no driver {report.driver_id!r}"),)
    if report.id in driver.reports:
        return (ReportTaken(driver.id, report.id, repeated=True),)
    if report.report in DUTY_REPORTS:
        outputs = _take_duty(assignments, driver, at_ms, report)
    else:
        outputs = _take_orders(assignments, driver, at_ms, report)
    if not isinstance(outputs[0], Refused):
        driver.reports = (*driver.reports, report.id)[-REPORTS_KEPT:]
    return outputs


def _take_duty(assignments: Assignments, driver: Driver, at_ms: int, report: Report) -> tuple[Output, ...]:
    if report.report != "on_duty" and driver.order_ids:
        return (Refused("bad_transition", f"driver {driver.id} still has {len(driver.order_ids)} orders"),)
    driver.duty = report.report  # type: ignore[assignment]  # the caller checked that it is a duty
    driver.last_active_ms = at_ms
    return (ReportTaken(driver.id, report.id), *assignments.settle(driver, at_ms, stops_changed=False))


def _take_orders(assignments: Assignments, driver: Driver, at_ms: int, report: Report) -> tuple[Output, ...]:
    refused = _refusal(assignments, driver, report)
    if refused is not None:
        return (refused,)
    changed: dict[str, Order] = {}
    before = [(stop.kind, stop.order_id) for stop in driver.route]
    for order_id in dict.fromkeys(report.order_ids):
        order = assignments.state.orders[order_id]
        for departed in _step(assignments, driver, order, at_ms, report):
            changed[departed] = assignments.state.orders[departed]
        changed[order_id] = order
    driver.last_active_ms = at_ms
    after = [(stop.kind, stop.order_id) for stop in driver.route]
    settled = assignments.settle(driver, at_ms, stops_changed=after != before)
    news = [OrderChanged(order.id, order.mall_id) for order in changed.values()]
    return (ReportTaken(driver.id, report.id), *news, *settled)


def _refusal(assignments: Assignments, driver: Driver, report: Report) -> Refused | None:
    if not report.order_ids:
        return Refused("bad_field", f"order_ids: a report of {report.report} names its orders")
    if report.assignment is None:
        return Refused("bad_field", "assignment: a report about orders carries the number they were given under")
    for order_id in report.order_ids:
        order = assignments.state.orders.get(order_id)
        if order is None:
            return Refused("not_yours", f"there is no order {order_id}")
        if order.driver_id != driver.id or order_id not in driver.order_ids:
            # An order taken away is told apart from one never had: the phone may be acting on an old route.
            had = any(item.changed.get("driver_id") == driver.id for item in order.history)
            code = "stale_assignment" if had else "not_yours"
            return Refused(code, f"order {order_id} is not with driver {driver.id}", order_id=order_id)
        if report.assignment < (order.assignment or 0) or report.assignment > driver.assignment:
            message = f"order {order_id} is under assignment {order.assignment}, not {report.assignment}"
            return Refused("stale_assignment", message, order_id=order_id)
        if next_status(order, _first_step(order, report)) is None:
            return Refused("bad_transition", illegal(order, _first_step(order, report)), order_id=order_id)
    return None


def _first_step(order: Order, report: Report) -> Step:
    """The step a report begins with: to be at the door, the driver must have left the mall."""
    if report.report in {"arrived_at_dropoff", "delivered"} and order.status == "picked_up":
        return "left_mall"
    return report.report  # type: ignore[return-value]  # order reports are steps by name


def _step(assignments: Assignments, driver: Driver, order: Order, at_ms: int, report: Report) -> list[str]:
    """Takes one order through a report; returns other orders that moved with it."""
    departed: list[str] = []
    if report.report == "declined":
        order.declined_by.append(driver.id)
        assignments.tally(order.mall_id).declined += 1
        assignments.take(order, "declined", at_ms, driver.id, report.reason)
        return departed
    if _first_step(order, report) == "left_mall":
        departed = assignments.depart(driver, order.mall_id, at_ms)
    advance(order, report.report, at_ms, driver.id, report.reason)  # type: ignore[arg-type]  # as above
    match report.report:
        case "arrived_at_pickup":
            order.arrived_pickup_ms = at_ms
        case "picked_up":
            _collected(assignments, driver, order, at_ms)
        case "delivered":
            _delivered(assignments, order, at_ms)
        case "failed":
            assignments.tally(order.mall_id).failed += 1
            assignments.turn_back(order, driver)
        case "returned":
            assignments.finish(order)
        case _:
            pass
    return departed


def _collected(assignments: Assignments, driver: Driver, order: Order, at_ms: int) -> None:
    assignments.pass_stop(order, driver, "pickup")
    order.picked_up_ms = order.eta_pickup_ms = at_ms
    order.is_ready = True
    if order.ready_ms is None or order.ready_ms > at_ms:
        order.ready_ms = at_ms
    if order.arrived_pickup_ms is not None:
        tally = assignments.tally(order.mall_id)
        tally.waits += 1
        tally.wait_ms += at_ms - order.arrived_pickup_ms


def _delivered(assignments: Assignments, order: Order, at_ms: int) -> None:
    assignments.finish(order)
    order.eta_dropoff_ms = at_ms
    order.risk = "late" if at_ms > order.due_ms else "on_time"
    tally = assignments.tally(order.mall_id)
    tally.delivered += 1
    tally.on_time += at_ms <= order.due_ms
    insort(tally.click_to_door_ms, at_ms - order.placed_ms)
