"""What a recording still holds of the outside, whatever is decided on the floor."""

import pytest

from streamer.core.events import Input, OrderCommand
from streamer.sim.outlook import Life, Outlook
from tests.builders import MINUTE, T0, a_ping, a_report


def outlook(*lines: tuple[float, Input]) -> Outlook:
    """Of lines whose instants are minutes."""
    return Outlook((T0 + round(minute * MINUTE), item) for minute, item in lines)


def test_an_order_is_ready_when_its_store_first_said_so() -> None:
    ready = OrderCommand("ready", "o-1", 1, "macys")
    found = outlook((1, ready), (2, ready), (3, a_report("picked_up", orders=("o-1", "o-2"))))
    assert found.stores_speak
    assert found.ready == {"o-1": T0 + MINUTE, "o-2": T0 + 3 * MINUTE}


def test_a_promise_is_not_readiness() -> None:
    promise = OrderCommand("ready", "o-1", 1, "macys", ready_ms=T0 + 9 * MINUTE)
    assert outlook((1, promise)).ready == {}
    assert not outlook((1, promise)).stores_speak


def test_whether_somebody_was_in_is_known_of_tried_deliveries() -> None:
    found = outlook((1, a_report("delivered", orders=("o-1",))), (2, a_report("failed", orders=("o-2",))))
    assert found.somebody_in == {"o-1": True, "o-2": False}
    assert found.end_ms == T0 + 2 * MINUTE


def test_a_gap_in_all_a_driver_says_is_a_silence_but_a_break_is_not() -> None:
    found = outlook(
        (0, a_ping(at_ms=T0)), (1, a_ping(at_ms=T0)), (4, a_report("accepted", orders=("o-1",))),
        (5, a_report("on_break")), (20, a_report("on_duty")), (21, a_ping(at_ms=T0)), (22, a_report("off_duty")),
    )  # fmt: skip
    life = found.life("d-1")
    assert life.silences == [(T0 + MINUTE, T0 + 4 * MINUTE)]
    assert (life.breaks, life.offs) == ([T0 + 5 * MINUTE], [T0 + 22 * MINUTE])


@pytest.mark.parametrize(("accepted", "declined", "share"), [(1, 2, 0.05), (3, 1, 0.25), (0, 4, 1.0)])
def test_a_drivers_own_share_of_refusals_is_believed_once_there_are_enough(
    accepted: int, declined: int, share: float
) -> None:
    assert Life(accepted=accepted, declined=declined).declines(0.05) == share


def test_of_a_stranger_nothing_is_known() -> None:
    life = outlook().life("nobody")
    assert (life.offs, life.breaks, life.silences) == ([], [], [])
