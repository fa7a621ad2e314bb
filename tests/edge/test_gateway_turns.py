"""What one turn of the loop brings is handed in together: whose pings, in which order, and how long they wait."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from streamer.core.events import DriverRegistered, Ping, Report
from streamer.edge.gateway import intake
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.gateway.socket import Socket
from streamer.edge.journal.contract import PingRun
from tests.builders import T0
from tests.edge.gateway_floor import LiveFloor, Phone, a_live_floor, ping_json

AT_ONCE = GatewaySettings(ack_interval_s=0.0, close_timeout_s=0.5)


@pytest.fixture
async def floor(tmp_path: Path) -> AsyncIterator[LiveFloor]:
    async with a_live_floor(tmp_path, AT_ONCE) as opened:
        yield opened


class Fleet:
    """Phones on duty, by their number, and the server's ends of their sockets."""

    def __init__(self, floor: LiveFloor, phones: list[Phone]) -> None:
        self.floor = floor
        self.phones = phones
        self.ends: list[Socket] = [floor.gateway.drivers[f"d-{number}"] for number in range(len(phones))]

    def arrives(self, number: int, *messages: dict[str, Any]) -> None:
        """Messages come off the network, in a turn that is not over before the test waits for something."""
        for message in messages:
            self.floor.gateway.intake.take(self.ends[number], json.dumps(message).encode())


@pytest.fixture
async def fleet(floor: LiveFloor) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        yield Fleet(floor, [await stack.enter_async_context(floor.on_duty(f"d-{number}")) for number in range(3)])


def runs_of(floor: LiveFloor) -> list[list[tuple[str, int | None]]]:
    """The pings of each run that was journaled, by driver and number."""
    records = floor.journal._entries
    return [[(ping.driver_id, ping.seq) for ping in record.pings] for record in records if isinstance(record, PingRun)]


async def test_the_pings_of_one_turn_are_one_run_in_the_order_they_came(floor: LiveFloor, fleet: Fleet) -> None:
    for number in (2, 0, 1):
        fleet.arrives(number, ping_json(7 + number))
    fleet.arrives(2, ping_json(10, fix_ms=T0 + 1))
    assert runs_of(floor) == [], "the turn is not over"
    await asyncio.sleep(0)
    assert runs_of(floor) == [[("d-2", 9), ("d-0", 7), ("d-1", 8), ("d-2", 10)]]
    for phone, seq in zip(fleet.phones, (7, 8, 10), strict=True):
        assert (await phone.hear("ack"))["seq"] == seq


async def test_each_turn_is_a_run_of_its_own(floor: LiveFloor, fleet: Fleet) -> None:
    for seq in range(3):
        fleet.arrives(0, ping_json(seq, fix_ms=T0 + seq))
        await asyncio.sleep(0)
    assert runs_of(floor) == [[("d-0", 0)], [("d-0", 1)], [("d-0", 2)]]


async def test_a_refused_ping_among_others_is_answered_to_who_sent_it(floor: LiveFloor, fleet: Fleet) -> None:
    fleet.arrives(0, ping_json(1))
    fleet.arrives(1, ping_json(1, fix_ms=T0 + 86_400_000))
    fleet.arrives(2, ping_json(1))
    nack = await fleet.phones[1].hear("nack")
    assert (nack["code"], nack["seq"]) == ("future", 1)
    assert [(await fleet.phones[number].hear("ack"))["seq"] for number in (0, 2)] == [1, 1]
    assert runs_of(floor) == [[("d-0", 1), ("d-2", 1)]]


async def test_a_report_comes_after_the_pings_that_were_sent_before_it(floor: LiveFloor, fleet: Fleet) -> None:
    off_duty = {"type": "report", "id": "end", "report": "off_duty", "fix_ms": T0}
    fleet.arrives(0, ping_json(1), off_duty, ping_json(2, fix_ms=T0 + 1))
    fleet.arrives(1, ping_json(1))
    await asyncio.sleep(0)
    handled = [entry.input for entry in floor.journal.durable() if not isinstance(entry.input, DriverRegistered)][3:]
    assert [(type(item), item.driver_id) for item in handled] == [(Ping, "d-0"), (Report, "d-0"), (Ping, "d-1")]
    assert (await fleet.phones[0].hear("nack"))["code"] == "off_duty"


async def test_a_long_turn_does_not_keep_the_engine_waiting(
    floor: LiveFloor, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "TURN_PINGS", 5)
    fleet.arrives(0, *(ping_json(seq, fix_ms=T0 + seq) for seq in range(14)))
    assert [len(run) for run in runs_of(floor)] == [6, 6]
    await asyncio.sleep(0)
    assert [len(run) for run in runs_of(floor)] == [6, 6, 2]


async def test_pings_that_came_before_the_end_of_their_socket_are_taken(floor: LiveFloor, fleet: Fleet) -> None:
    fleet.arrives(0, ping_json(5))
    fleet.ends[0].connection.transport.abort()
    await asyncio.sleep(0.05)
    assert runs_of(floor) == [[("d-0", 5)]]


async def test_pings_that_wait_for_the_end_of_the_turn_are_taken_before_the_server_ends(
    floor: LiveFloor, fleet: Fleet
) -> None:
    fleet.arrives(0, ping_json(5))
    await floor.gateway.close()
    assert runs_of(floor) == [[("d-0", 5)]]
    assert (await fleet.phones[0].hear("ack"))["seq"] == 5
