"""What strangers and broken phones send: each thing is answered or closed with its code, and the floor serves on."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.core.events import Ping
from streamer.core.rates import TokenBucket
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.wire import MAX_FRAME_BYTES, Close
from tests.builders import T0
from tests.edge.frames_kit import deaf
from tests.edge.frames_kit import frame as framed
from tests.edge.gateway_floor import LiveFloor, Phone, a_live_floor, ping_json

LENIENT = GatewaySettings(ack_interval_s=0.0, bad_frames_per_min=10_000, close_timeout_s=0.5)
PING = json.dumps(ping_json(7))
REPORT = {"type": "report", "id": "r-1", "report": "on_duty", "fix_ms": T0}


@pytest.fixture
async def floor(tmp_path: Path) -> AsyncIterator[LiveFloor]:
    async with a_live_floor(tmp_path, LENIENT) as opened:
        yield opened


async def serves(floor: LiveFloor, phone: Phone, seq: int) -> None:
    """The same socket and the floor behind it still do their work."""
    await phone.ping(seq)
    assert (await phone.hear("ack"))["seq"] == seq


# ---------------------------------------------------------------- bad messages: a nack, and the socket goes on


BAD_MESSAGES: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "bad_json"),
    "blank": (" \n\t", "bad_json"),
    "a word": ("hello", "bad_json"),
    "half an object": (PING[:40], "bad_json"),
    "two objects": (PING + PING, "bad_json"),
    "trailing comma": (PING[:-1] + ",}", "bad_json"),
    "single quotes": (PING.replace('"', "'"), "bad_json"),
    "a comment": ("// hi\n" + PING, "bad_json"),
    "byte order mark": ("\ufeff" + PING, "bad_json"),
    "utf-16": (PING.encode("utf-16"), "bad_json"),
    "latin-1 in binary": (PING.encode()[:-1] + b',"driver_id":"\xe9"}', "bad_json"),
    "zero byte": (b"\x00", "bad_json"),
    "msgpack": (b"\x81\xa4type\xa4ping", "bad_json"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "bad_json"),
    "a number": ("42", "bad_json"),
    "a string": ('"ping"', "bad_json"),
    "null": ("null", "bad_json"),
    "an empty array": ("[]", "bad_field"),
    "an array of numbers": ("[1]", "bad_json"),
    "an array of arrays": (f"[[{PING}]]", "bad_json"),
    "very deep array": ("[" * 60_000, "bad_json"),
    "very deep object": ('{"a":' * 40_000, "bad_json"),
    "very deep unknown field": (PING[:-1] + ',"x":' + "[" * 50_000 + "]" * 50_000 + "}", "bad_json"),
    "control character": (PING[:-1] + ',"x":"a\x01"}', "bad_json"),
    "lone surrogate": (PING[:-1] + ',"driver_id":"\\ud83d"}', "bad_json"),
    "wrong escape": (PING[:-1] + ',"x":"\\q"}', "bad_json"),
    "no type": (PING.replace('"type": "ping", ', ""), "bad_field"),
    "unknown type": (PING.replace('"ping"', '"pong"'), "bad_field"),
    "a command": (json.dumps({"type": "command", "action": "assign", "order_id": "o-1"}), "bad_field"),
    "a tick": ('{"type":"tick"}', "bad_field"),
    "a registration": ('{"type":"driver","driver_id":"d-9"}', "bad_field"),
    "type a number": (PING.replace('"ping"', "1"), "bad_field"),
    "type null": (PING.replace('"ping"', "null"), "bad_field"),
    "lat NaN": (json.dumps(ping_json(7, lat=float("nan"))), "bad_coordinate"),
    "lng Infinity": (json.dumps(ping_json(7, lng=float("inf"))), "bad_coordinate"),
    "lat -Infinity": (json.dumps(ping_json(7, lat=float("-inf"))), "bad_coordinate"),
    "lat 1e999": ('{"type":"ping","fix_ms":1,"lat":1e999,"lng":1}', "bad_coordinate"),
    "lat 91": (json.dumps(ping_json(7, lat=91)), "bad_coordinate"),
    "lat -91": (json.dumps(ping_json(7, lat=-91)), "bad_coordinate"),
    "lng 181": (json.dumps(ping_json(7, lng=181)), "bad_coordinate"),
    "lng 540": (json.dumps(ping_json(7, lng=540)), "bad_coordinate"),
    "lat 1e308": (json.dumps(ping_json(7, lat=1e308)), "bad_coordinate"),
    "lat of 400 digits": (json.dumps(ping_json(7, lat=10**400)), "bad_coordinate"),
    "null island": (json.dumps(ping_json(7, lat=0, lng=0)), "bad_coordinate"),
    "null island in floats": (json.dumps(ping_json(7, lat=0.0, lng=-0.0)), "bad_coordinate"),
    "lat a string": (json.dumps(ping_json(7, lat="36.1")), "bad_field"),
    "lat null": (json.dumps(ping_json(7, lat=None)), "bad_field"),
    "lat a boolean": (json.dumps(ping_json(7, lat=True)), "bad_field"),
    "lat a list": (json.dumps(ping_json(7, lat=[36.1])), "bad_field"),
    "no lng": ('{"type":"ping","fix_ms":1,"lat":1}', "bad_field"),
    "no fix_ms": ('{"type":"ping","lat":1,"lng":1}', "bad_field"),
    "fix_ms a date": (json.dumps(ping_json(7, fix_ms="2026-11-22T00:00:00Z")), "bad_field"),
    "fix_ms negative": (json.dumps(ping_json(7, fix_ms=-1)), "bad_field"),
    "fix_ms of 64 bits": (json.dumps(ping_json(7, fix_ms=2**63)), "bad_field"),
    "fix_ms in seconds": (json.dumps(ping_json(7, fix_ms=T0 // 1000)), "too_old"),
    "fix_ms zero": (json.dumps(ping_json(7, fix_ms=0)), "too_old"),
    "fix_ms in microseconds": (json.dumps(ping_json(7, fix_ms=T0 * 1000)), "future"),
    "seq negative": (json.dumps(ping_json(-1)), "bad_field"),
    "seq a float": ('{"type":"ping","seq":1.5,"fix_ms":1,"lat":1,"lng":1}', "bad_field"),
    "seq a boolean": (json.dumps(ping_json(7) | {"seq": True}), "bad_field"),
    "seq of 400 digits": (json.dumps(ping_json(10**400)), "bad_field"),
    "seq of 5000 digits": (PING.replace('"seq": 7', '"seq": ' + "7" * 5_000), "bad_json"),
    "accuracy negative": (json.dumps(ping_json(7, accuracy_m=-1)), "bad_field"),
    "battery 2": (json.dumps(ping_json(7, battery=2)), "bad_field"),
    "heading 400": (json.dumps(ping_json(7, heading_deg=400)), "bad_field"),
    "report unknown": (json.dumps({**REPORT, "report": "asleep"}), "bad_field"),
    "report without id": ('{"type":"report","report":"on_duty","fix_ms":1}', "bad_field"),
    "report id a path": (json.dumps({**REPORT, "id": "../../etc/passwd"}), "bad_field"),
    "report id a script": (json.dumps({**REPORT, "id": "<script>"}), "bad_field"),
    "report id empty": (json.dumps({**REPORT, "id": ""}), "bad_field"),
    "report id too long": (json.dumps({**REPORT, "id": "a" * 65}), "bad_field"),
    "orders no list": (json.dumps({**REPORT, "order_ids": "o-1"}), "bad_field"),
    "a thousand orders": (json.dumps({**REPORT, "order_ids": ["o-1"] * 1000}), "bad_field"),
    "reason of 600 characters": (json.dumps({**REPORT, "reason": "x" * 600}), "bad_field"),
    "picked up nothing": (json.dumps({**REPORT, "report": "picked_up"}), "bad_field"),
    "an order of nobody": (
        json.dumps({**REPORT, "report": "picked_up", "order_ids": ["o-1"], "assignment": 1}), "not_yours",
    ),
    "501 pings": (json.dumps([ping_json(7)] * 501), "too_large"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_MESSAGES)
async def test_a_bad_message_is_refused_and_the_socket_goes_on(floor: LiveFloor, name: str) -> None:
    frame, code = BAD_MESSAGES[name]
    async with floor.on_duty() as phone:
        before = floor.runner.engine.hash()
        await phone.connection.send(frame)
        nack = await phone.hear("nack")
        assert nack["code"] == code
        assert nack["retryable"] is False
        assert nack["message"]
        assert "seq" in nack or "id" in nack
        assert "Traceback" not in nack["message"]
        assert floor.runner.engine.hash() == before
        await serves(floor, phone, 8)


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(BAD_MESSAGES) >= 60


async def test_the_whole_corpus_on_one_socket_leaves_it_serving(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        for number, (frame, code) in enumerate(BAD_MESSAGES.values()):
            await phone.connection.send(frame)
            assert (await phone.hear("nack"))["code"] == code
            await serves(floor, phone, 100 + number)
        assert floor.gateway.tally.nacks.total() == len(BAD_MESSAGES)


# ---------------------------------------------------------------- bad frames: closed, and the next client is served


BAD_FRAMES: dict[str, tuple[bytes, int]] = {
    "not masked": (framed(1, PING.encode(), mask=None), 1002),
    "reserved bit": (framed(1, PING.encode(), rsv=4), 1002),
    "reserved opcode": (framed(3, b""), 1002),
    "reserved control opcode": (framed(11, b""), 1002),
    "fragmented ping": (framed(9, b"", fin=False), 1002),
    "ping of 126 bytes": (framed(9, b"x" * 126), 1002),
    "continuation of nothing": (framed(0, b"x"), 1002),
    "text inside a text": (framed(1, b"{", fin=False) + framed(1, b"}"), 1002),
    "close of one byte": (framed(8, b"x"), 1002),
    "close with a code nobody may send": (framed(8, struct.pack("!H", 1005)), 1002),
    "text that is not UTF-8": (framed(1, b'{"type":"\xff\xfe"}'), 1007),
    "half a character": (framed(1, "é".encode()[:1]), 1007),
    "close reason that is not UTF-8": (framed(8, struct.pack("!H", 1000) + b"\xff"), 1007),
    "length of 2^63": (struct.pack("!BBQ", 0x81, 0xFF, 2**63), 1009),
    "length of a gigabyte": (struct.pack("!BBQ", 0x81, 0xFF, 2**30), 1009),
    "too large": (framed(1, b" " * (MAX_FRAME_BYTES + 1)), 1009),
    "too large in parts": (framed(1, b"[" * 200_000, fin=False) + framed(0, b"[" * 200_000), 1009),
    "ten thousand empty fragments": (framed(1, b"", fin=False) + framed(0, b"", fin=False) * 10_000, 1009),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_broken_frame_closes_its_socket_and_no_other(floor: LiveFloor, name: str) -> None:
    frame, code = BAD_FRAMES[name]
    async with floor.on_duty("d-2") as other:
        async with floor.on_duty("d-1") as phone:
            phone.connection.transport.write(frame)
            assert await phone.closed() == code
        await serves(floor, other, 1)


async def test_the_largest_frame_is_taken(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        text = json.dumps([ping_json(seq, fix_ms=T0 + seq) for seq in range(500)])
        await phone.connection.send(text + " " * (MAX_FRAME_BYTES - len(text)))
        async with asyncio.timeout(5):
            while (await phone.hear("ack"))["seq"] < 499:
                pass


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\n", b"\x00" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"GET " + b"x" * 100_000,
     b"POST /v1/drivers HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"SSH-2.0-OpenSSH_9.0\r\n",
     b"GET /v1/drivers HTTP/1.1\r\n" + b"A: b\r\n" * 1000],
)  # fmt: skip
async def test_a_handshake_that_is_none_disturbs_nobody(floor: LiveFloor, garbage: bytes) -> None:
    async with floor.on_duty() as phone:
        where = urlsplit(floor.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(garbage)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        assert b"101 Switching" not in answer
        assert b"Traceback" not in answer
        await serves(floor, phone, 1)


async def test_silent_connections_do_not_keep_a_driver_out(floor: LiveFloor) -> None:
    where = urlsplit(floor.url)
    silent = [await asyncio.open_connection(where.hostname, where.port) for _ in range(200)]
    async with asyncio.timeout(2), floor.on_duty() as phone:
        await serves(floor, phone, 1)
    for _, writer in silent:
        writer.close()


async def test_a_peer_that_vanishes_leaves_nothing_behind(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        await phone.ping(1)
        phone.connection.transport.abort()
    async with asyncio.timeout(5):
        while floor.gateway.drivers:
            await asyncio.sleep(0.01)


# ---------------------------------------------------------------- too much of it


async def test_bad_frames_without_end_close_the_socket(tmp_path: Path) -> None:
    settings = GatewaySettings(bad_frames_per_min=50, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor, floor.on_duty() as phone:
        for _ in range(51):
            await phone.connection.send("nonsense")
        assert await phone.closed() == Close.BROKEN_RULES
        assert floor.gateway.tally.nacks == {"bad_json": 51}


async def test_a_driver_over_its_rate_is_told_so_and_may_try_again(tmp_path: Path) -> None:
    settings = GatewaySettings(messages_per_s=20, messages_burst=10, ack_interval_s=0.0, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor, floor.on_duty() as phone:
        # One of the burst went to the report of duty, and one came back in the meantime, or perhaps did not yet.
        await phone.say([ping_json(seq, fix_ms=T0 + seq) for seq in range(30)])
        nack = await phone.hear("nack")
        assert (nack["code"], nack["retryable"]) == ("rate_limited", True)
        assert nack["seq"] in {9, 10}
        await asyncio.sleep(0.2)
        await phone.ping(99)
        async with asyncio.timeout(5):
            while (await phone.hear("ack"))["seq"] != 99:
                pass


async def test_a_reconnect_does_not_refill_the_bucket(tmp_path: Path) -> None:
    settings = GatewaySettings(messages_per_s=0.1, messages_burst=5, ack_interval_s=0.0, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor:
        async with floor.on_duty() as phone:
            await phone.say([ping_json(seq) for seq in range(4)])
            await phone.hear("ack")
        async with floor.phone(floor.driver_token()) as phone:
            await phone.ping(9)
            assert (await phone.hear("nack"))["code"] == "rate_limited"


async def test_a_driver_that_floods_on_is_closed(tmp_path: Path) -> None:
    settings = GatewaySettings(messages_per_s=1, messages_burst=10, refusals_per_min=100, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor, floor.on_duty() as phone:
        await phone.say([ping_json(seq) for seq in range(500)])
        assert await phone.closed() == Close.FLOODING
        assert 100 <= floor.gateway.tally.nacks["rate_limited"] <= 102


async def test_one_flooding_driver_does_not_close_its_gateway(tmp_path: Path) -> None:
    settings = GatewaySettings(messages_per_s=1, messages_burst=10, refusals_per_min=100, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor, floor.phone(floor.gateway_token()) as fleet:
        for driver_id in ("g-1", "g-2"):
            await fleet.report("on_duty", driver_id=driver_id)
        await fleet.say([ping_json(seq, driver_id="g-1") for seq in range(500)])
        await fleet.ping(1, driver_id="g-2")
        async with asyncio.timeout(5):
            while (await fleet.hear("ack")) != {"type": "ack", "seq": 1, "driver_id": "g-2"}:
                pass


async def test_one_bad_phone_does_not_close_its_gateway(tmp_path: Path) -> None:
    settings = GatewaySettings(bad_frames_per_min=5, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor, floor.phone(floor.gateway_token()) as fleet:
        await fleet.report("on_duty", driver_id="g-1")
        for seq in range(20):
            await fleet.say([ping_json(seq, driver_id="g-1"), ping_json(seq, driver_id="g-2", lat="north")])
        async with asyncio.timeout(5):
            while (await fleet.hear("ack")).get("seq") != 19:
                pass
        for _ in range(7):
            await fleet.say([{"type": "ping"}])
        assert await fleet.closed() == Close.BROKEN_RULES, "a frame of which nothing is good is another matter"


async def test_whoever_is_new_while_the_journal_is_full_is_asked_to_come_again(floor: LiveFloor) -> None:
    async with floor.phone(floor.gateway_token()) as fleet:
        await fleet.hear("welcome")
        floor.runner.full = True
        async with floor.phone(floor.driver_token("d-new")) as phone:
            assert await phone.closed() == Close.RESTART
        await fleet.say({"type": "report", "id": "r-1", "report": "on_duty", "driver_id": "g-new", "fix_ms": T0})
        assert (await fleet.hear("nack"))["code"] == "storage_full"
        floor.runner.full = False
        assert (await fleet.report("on_duty", driver_id="g-new"))["driver_id"] == "g-new"
    async with floor.phone(floor.driver_token("d-new")) as phone:
        assert (await phone.hear("welcome"))["driver_id"] == "d-new"


async def test_a_driver_whose_registration_was_taken_back_is_registered_again(floor: LiveFloor) -> None:
    async with floor.phone(floor.gateway_token()) as fleet:
        await fleet.report("on_duty", driver_id="g-1")
        # What a failed commit leaves behind: an engine rebuilt without what was not durable.
        del floor.runner.engine.state.drivers["g-1"]
        floor.runner.rebuilt += 1
        again = await fleet.report("on_duty", driver_id="g-1", id="again")
        assert again == {"type": "ack", "id": "again", "driver_id": "g-1"}


async def test_however_many_are_paused_they_are_looked_at_together(tmp_path: Path) -> None:
    settings = GatewaySettings(backlog_bound=5, ack_interval_s=0.0, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor, AsyncExitStack() as stack:
        phones = [await stack.enter_async_context(floor.on_duty(f"d-{number}")) for number in range(8)]
        floor.journal.held = True
        for phone in phones:
            for seq in range(10):
                await phone.ping(seq, fix_ms=T0 + seq)
        await asyncio.sleep(0.1)
        assert len(floor.gateway.intake._paused) == 8
        looks = floor.gateway.tally.pauses
        await asyncio.sleep(0.1)
        assert floor.gateway.tally.pauses == looks, "nobody goes on while the journal is behind"
        floor.journal.held = False
        floor.journal.commit()
        async with asyncio.timeout(5):
            for phone in phones:
                while (await phone.hear("ack")).get("seq") != 9:
                    pass
            while floor.gateway.intake._paused:
                await asyncio.sleep(0.01)


async def test_a_backlog_of_an_offline_hour_is_taken_as_it_comes(floor: LiveFloor) -> None:
    async with floor.on_duty() as phone:
        for first in range(0, 1_200, 400):
            await phone.say([ping_json(seq, fix_ms=T0 - 3_600_000 + 3_000 * seq) for seq in range(first, first + 400)])
        async with asyncio.timeout(5):
            while (await phone.hear("ack"))["seq"] < 1_199:
                pass
        assert sum(isinstance(entry.input, Ping) for entry in floor.journal.durable()) == 1_200


async def test_nobody_is_read_while_the_journal_is_behind(tmp_path: Path) -> None:
    settings = GatewaySettings(backlog_bound=50, messages_burst=100_000, ack_interval_s=0.0, close_timeout_s=0.5)
    async with a_live_floor(tmp_path, settings) as floor, floor.on_duty() as phone:
        floor.journal.held = True
        for seq in range(400):
            await phone.ping(seq, fix_ms=T0 + seq)
        await asyncio.sleep(0.2)
        assert 50 < floor.runner.backlog < 60
        floor.journal.held = False
        floor.journal.commit()
        async with asyncio.timeout(5):
            while (await phone.hear("ack"))["seq"] < 399:
                pass


# ---------------------------------------------------------------- readers that do not read


async def stalled_socket(floor: LiveFloor, token: str) -> socket.socket:
    """A phone that shook hands and reads nothing."""
    where = urlsplit(floor.url)
    assert where.port is not None
    client = await deaf(where.port, where.path, token)
    async with asyncio.timeout(5):
        while not floor.gateway.drivers:
            await asyncio.sleep(0.01)
    return client


async def test_a_phone_that_reads_nothing_is_cut_off_and_its_buffer_stays_small(tmp_path: Path) -> None:
    settings = GatewaySettings(
        messages_burst=1e9, bad_frames_per_min=1e9, slow_grace_s=0.2, close_timeout_s=0.2, ack_interval_s=0.0
    )
    async with a_live_floor(tmp_path, settings) as floor:
        client = await stalled_socket(floor, floor.driver_token())
        (server_side,) = floor.gateway.drivers.values()
        transport = server_side.connection.transport
        largest = 0
        frame = framed(1, b"[" + b",".join([b"1"] * 500) + b"]")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            try:
                while floor.gateway.drivers:
                    # It goes on sending what has to be answered with 500 nacks each time.
                    async with asyncio.timeout(0.05):
                        await loop.sock_sendall(client, frame)
            except (TimeoutError, OSError):
                pass
            while floor.gateway.drivers:
                largest = max(largest, transport.get_write_buffer_size())
                await asyncio.sleep(0.01)
        client.close()
        assert floor.gateway.tally.closed.total() == 1
        assert 0 < largest <= settings.write_hard_bytes
        async with floor.on_duty("d-2") as phone:
            await serves(floor, phone, 1)


async def test_a_stalled_phone_does_not_hold_up_the_end(tmp_path: Path) -> None:
    settings = GatewaySettings(messages_burst=1e9, bad_frames_per_min=1e9, slow_grace_s=60, close_timeout_s=0.2)
    async with a_live_floor(tmp_path, settings) as floor:
        client = await stalled_socket(floor, floor.driver_token())
        (server_side,) = floor.gateway.drivers.values()
        frame = framed(1, b"[" + b",".join([b"1"] * 500) + b"]")
        async with asyncio.timeout(20):
            while not server_side.is_clogged:
                await asyncio.get_running_loop().sock_sendall(client, frame)
                await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        await floor.gateway.close()
        assert asyncio.get_running_loop().time() - began < 1.5
        client.close()


# ---------------------------------------------------------------- anything at all


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(frames=st.lists(st.binary(max_size=300) | st.text(max_size=300), min_size=1, max_size=20))
def test_whatever_is_sent_the_next_ping_is_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, frames: list[bytes | str]
) -> None:
    async def scenario() -> None:
        async with a_live_floor(tmp_path_factory.mktemp("floor"), LENIENT) as floor, floor.on_duty() as phone:
            for frame in frames:
                await phone.connection.send(frame)
                assert (await phone.hear("nack"))["code"] in {"bad_json", "bad_field"}
            await serves(floor, phone, 1)

    asyncio.run(scenario())


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(2.0, 3.0, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(at_s) for at_s in (100.4, 100.5, 100.9, 101.0)] == [False, True, False, True]
    assert [bucket.take(1_000.0) for _ in range(4)] == [True, True, True, False]
