"""The table of an order's life: every row, and every miss."""

import pytest

from streamer.core.events import Dropoff
from streamer.core.orders import ENDED, STATUSES, TRANSITIONS, VERBS, Step, advance, illegal, next_status
from streamer.core.state import Order, Status
from tests.builders import T0

STEPS: list[Step] = sorted({step for _, step in TRANSITIONS})


def order_in(status: Status, is_ready: bool = False) -> Order:
    return Order(
        "o-1", "plaza", ("macys",), Dropoff(36.1, -115.1), T0, T0 + 1, None, None, 1, 0, T0, status, is_ready=is_ready
    )


@pytest.mark.parametrize(("before", "step"), sorted(TRANSITIONS))
def test_row_leads_where_it_says(before: Status, step: Step) -> None:
    order = order_in(before)
    advance(order, step, T0 + 5, "maya", "because", command_id="c-1")
    assert order.status == TRANSITIONS[before, step]
    assert (order.version, order.updated_ms) == (2, T0 + 5)
    assert (order.history[-1].actor, order.history[-1].action, order.history[-1].reason) == ("maya", step, "because")
    assert (order.ended_ms is not None) == (order.status in ENDED)


@pytest.mark.parametrize("before", STATUSES)
def test_miss_in_the_table_is_the_message(before: Status) -> None:
    for step in STEPS:
        order = order_in(before)
        if (before, step) not in TRANSITIONS:
            assert next_status(order, step) is None
            with pytest.raises(ValueError, match=r"cannot .* an order that is"):
                advance(order, step, T0, "maya")
            assert (order.status, order.version, order.history) == (before, 1, [])


def test_message_reads_as_a_sentence() -> None:
    assert illegal(order_in("placed"), "delivered") == "cannot deliver an order that is placed"
    assert illegal(order_in("picked_up"), "reassign") == "cannot reassign an order that is picked up"
    assert set(VERBS) <= set(STEPS)


@pytest.mark.parametrize("status", ["delivered", "returned"])
def test_final_statuses_stay_final(status: Status) -> None:
    assert not [step for before, step in TRANSITIONS if before == status]


def test_back_in_the_queue_a_ready_order_is_ready() -> None:
    order = order_in("assigned", is_ready=True)
    advance(order, "unassign", T0, "maya")
    assert order.status == "ready"


def test_every_status_can_be_reached_from_placed() -> None:
    reached: set[Status] = {"placed"}
    while True:
        more = {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(STATUSES)
