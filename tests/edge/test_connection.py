"""RFC 6455 on both ways: the library's own, and the one past its queue. What holds for one holds for the other.

Each case says what has to come of it, so that the two cannot be wrong alike.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from websockets.asyncio.client import connect
from websockets.http11 import Request

from streamer.edge.connection import DirectConnection
from streamer.edge.sockets import serve_sockets
from tests.edge.frames_kit import (
    BINARY,
    CLOSE,
    CONT,
    HANDSHAKE,
    MAX_BYTES,
    PING,
    PONG,
    TEXT,
    WAYS,
    Came,
    DirectWay,
    Line,
    Way,
    a_line,
    answer,
    close,
    frame,
)

GOODBYE = close(1000)
AGREED = answer(CLOSE, struct.pack("!H", 1000))
BLANK = b"\r\n\r\n"
"""How a request ends, and what a frame may well hold."""
EURO = "€".encode()
"""Three bytes of one character."""


class Case(Struct):
    """What is written, the messages that have to arrive, the code of the server's closing frame, and its pongs."""

    wire: bytes
    messages: list[bytes]
    closing: int | None = 1000
    pongs: list[bytes] = []
    hang_up: bool = False


def well(wire: bytes, *messages: bytes, pongs: list[bytes] | None = None) -> Case:
    """Frames that are fine, and then a goodbye."""
    return Case(wire + GOODBYE, list(messages), pongs=pongs or [])


def badly(wire: bytes, closing: int, *messages: bytes) -> Case:
    """Frames the server closes at."""
    return Case(wire, list(messages), closing)


def parts(opcode: int, *payloads: bytes, between: bytes = b"") -> bytes:
    """A message in fragments, with frames in between."""
    frames = [
        frame(opcode if number == 0 else CONT, payload, fin=number == len(payloads) - 1)
        for number, payload in enumerate(payloads)
    ]
    return between.join(frames)


WHOLE = {
    "nothing at all": well(b""),
    "an empty text": well(frame(TEXT), b""),
    "a text": well(frame(TEXT, b"hello"), b"hello"),
    "a text in all planes": well(frame(TEXT, "aé€😀".encode()), "aé€😀".encode()),
    "a binary": well(frame(BINARY, b"\x00\xff\xfe"), b"\x00\xff\xfe"),
    "a mask of zeros": well(frame(TEXT, b"hello", mask=bytes(4)), b"hello"),
    "five in a row": well(b"".join(frame(TEXT, b"%d" % n) for n in range(5)), b"0", b"1", b"2", b"3", b"4"),
    "text and binary by turns": well(
        frame(TEXT, b"a") + frame(BINARY, b"\xff") + frame(TEXT, b"b") + frame(BINARY, b"\xfe"),
        b"a", b"\xff", b"b", b"\xfe",
    ),
    "two fragments": well(parts(TEXT, b"hel", b"lo"), b"hello"),
    "many fragments": well(parts(TEXT, *[b"%d" % (n % 10) for n in range(40)]), b"0123456789" * 4),
    "empty fragments": well(parts(BINARY, b"", b"", b"x", b"", b""), b"x"),
    "nothing but empty fragments": well(parts(TEXT, b"", b"", b""), b""),
    "a binary in fragments": well(parts(BINARY, b"\xff", b"\xfe"), b"\xff\xfe"),
    "a character split over fragments": well(parts(TEXT, EURO[:1], EURO[1:2], EURO[2:]), EURO),
    "a whole one after fragments": well(parts(TEXT, b"a", b"b") + frame(TEXT, b"c"), b"ab", b"c"),
    "fragments after a whole one": well(frame(TEXT, b"c") + parts(TEXT, b"a", b"b"), b"c", b"ab"),
    "whole, fragments, whole, fragments": well(
        frame(TEXT, b"1") + parts(TEXT, b"2", b"2") + frame(BINARY, b"3") + parts(BINARY, b"4", b"4"),
        b"1", b"22", b"3", b"44",
    ),
    "a ping": well(frame(PING, b"p"), pongs=[b"p"]),
    "an empty ping": well(frame(PING), pongs=[b""]),
    "a ping of 125 bytes": well(frame(PING, b"x" * 125), pongs=[b"x" * 125]),
    "pings in order": well(b"".join(frame(PING, b"%d" % n) for n in range(4)), pongs=[b"0", b"1", b"2", b"3"]),
    "a pong nobody waits for": well(frame(PONG, b"?")),
    "a ping between messages": well(
        frame(TEXT, b"a") + frame(PING, b"p") + frame(TEXT, b"b"), b"a", b"b", pongs=[b"p"]
    ),
    "control frames between fragments": well(
        parts(TEXT, b"a", b"b", b"c", between=frame(PING, b"p") + frame(PONG, b"q")), b"abc", pongs=[b"p", b"p"]
    ),
}  # fmt: skip

LENGTHS = {
    f"{size} bytes {kind}": well(frame(opcode, b"x" * size), b"x" * size)
    for size in (124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, MAX_BYTES)
    for kind, opcode in (("of text", TEXT), ("of binary", BINARY))
} | {
    "16 bits for 5 bytes": well(frame(TEXT, b"hello", form=16), b"hello"),
    "64 bits for 5 bytes": well(frame(TEXT, b"hello", form=64), b"hello"),
    "64 bits for 300 bytes": well(frame(TEXT, b"x" * 300, form=64), b"x" * 300),
    "16 bits for none": well(frame(TEXT, form=16) + frame(TEXT, b"a"), b"", b"a"),
    "64 bits for none": well(frame(TEXT, form=64) + frame(TEXT, b"a"), b"", b"a"),
    "64 bits for a ping of 70": well(frame(PING, b"x" * 70, form=64), pongs=[b"x" * 70]),
    "the most, in fragments": well(parts(TEXT, b"x" * 40_000, b"x" * (MAX_BYTES - 40_000)), b"x" * MAX_BYTES),
    "the most, twice": well(frame(TEXT, b"x" * MAX_BYTES) * 2, b"x" * MAX_BYTES, b"x" * MAX_BYTES),
    "one more than the most": badly(frame(TEXT, b"x" * (MAX_BYTES + 1)), 1009),
    "one more in fragments": badly(parts(TEXT, b"x" * MAX_BYTES, b"x"), 1009),
    "one more in many fragments": badly(parts(TEXT, *[b"x" * 20_000] * 4), 1009),
    "2^63 bytes": badly(struct.pack("!BBQ", 0x81, 0xFF, 2**63) + b"mask", 1009),
    "2^63 - 1 bytes": badly(struct.pack("!BBQ", 0x81, 0xFF, 2**63 - 1) + b"mask", 1009),
    "2^64 - 1 bytes": badly(struct.pack("!BBQ", 0x82, 0xFF, 2**64 - 1) + b"mask", 1009),
    "a good one before one too long": badly(frame(TEXT, b"a") + frame(TEXT, b"x" * (MAX_BYTES + 1)), 1009, b"a"),
    "5,000 empty fragments": badly(frame(TEXT, fin=False) + frame(CONT, fin=False) * 5_000, 1009),
}

BROKEN = {
    **{
        f"reserved bit {rsv:03b} {kind}": badly(frame(TEXT, b"a") + frame(opcode, b"", rsv=rsv), 1002, b"a")
        for rsv in (1, 2, 4, 7)
        for kind, opcode in (("of a text", TEXT), ("of a binary", BINARY), ("of a ping", PING))
    },
    **{f"opcode {opcode}": badly(frame(opcode, b"x"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a text without a mask": badly(frame(TEXT, b"hello", mask=None), 1002),
    "a ping without a mask": badly(frame(PING, b"hello", mask=None), 1002),
    "a close without a mask": badly(frame(CLOSE, b"\x03\xe8", mask=None), 1002),
    "a long text without a mask": badly(frame(TEXT, b"x" * 300, mask=None), 1002),
    "unmasked after masked": badly(frame(TEXT, b"a") + frame(TEXT, b"b", mask=None), 1002, b"a"),
    "a ping in fragments": badly(frame(PING, b"p", fin=False), 1002),
    "a close in fragments": badly(frame(CLOSE, fin=False), 1002),
    "a ping of 126 bytes": badly(frame(PING, b"x" * 126), 1002),
    "a close of 126 bytes": badly(close(1000, b"x" * 124), 1002),
    "a continuation of nothing": badly(frame(CONT, b"x"), 1002),
    "a continuation of nothing, not final": badly(frame(CONT, b"x", fin=False), 1002),
    "a continuation after a whole one": badly(frame(TEXT, b"a") + frame(CONT, b"x"), 1002, b"a"),
    "a continuation after the last": badly(parts(TEXT, b"a", b"b") + frame(CONT, b"x"), 1002, b"ab"),
    "a text inside a text": badly(frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "a binary inside a text": badly(frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), 1002),
    "a beginning inside a text": badly(frame(TEXT, b"a", fin=False) + frame(TEXT, b"b", fin=False), 1002),
}

NOT_UTF8 = {
    "a byte of none": badly(frame(TEXT, b"\xff"), 1007),
    "a character cut short": badly(frame(TEXT, EURO[:2]), 1007),
    "overlong": badly(frame(TEXT, b"\xc0\xaf"), 1007),
    "half of a surrogate pair": badly(frame(TEXT, b"\xed\xa0\x80"), 1007),
    "beyond the last plane": badly(frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "late in a long text": badly(frame(TEXT, b"x" * 60_000 + b"\xfe"), 1007),
    "after good ones": badly(frame(TEXT, b"a") + frame(TEXT, b"b\xff"), 1007, b"a"),
    "in the last fragment": badly(parts(TEXT, b"a", b"b\xff"), 1007),
    "a character that fragments never end": badly(parts(TEXT, EURO[:1], EURO[1:2]), 1007),
}

CLOSES = {
    **{
        f"with {code}": Case(close(code, b"bye"), [], code)
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999)
    },
    **{
        f"with {code}, which nobody may send": badly(close(code), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
    "with nothing": Case(frame(CLOSE), [], None),
    "with one byte": badly(frame(CLOSE, b"\x03"), 1002),
    "with a reason in all planes": Case(close(1000, "aé€😀".encode()), [], 1000),
    "with a reason of 123 bytes": Case(close(1000, b"x" * 123), [], 1000),
    "with a reason that is not UTF-8": badly(close(1000, b"\xff"), 1007),
    "and then a text": Case(GOODBYE + frame(TEXT, b"too late"), [], 1000),
    "and then a ping": Case(GOODBYE + frame(PING, b"too late"), [], 1000),
    "and then rubbish": Case(GOODBYE + b"\xff" * 40, [], 1000),
    "after a message": Case(frame(TEXT, b"a") + GOODBYE, [b"a"], 1000),
    "inside a fragmented message": badly(frame(TEXT, b"a", fin=False) + GOODBYE, 1002),
    "by hanging up": Case(b"", [], None, hang_up=True),
    "by hanging up after a message": Case(frame(TEXT, b"a"), [b"a"], None, hang_up=True),
    "by hanging up inside a frame": Case(frame(TEXT, b"a") + frame(TEXT, b"hello")[:8], [b"a"], None, hang_up=True),
    "by hanging up inside a header": Case(frame(TEXT, b"x" * 300)[:3], [], None, hang_up=True),
    "by hanging up inside a fragmented message": Case(frame(TEXT, b"a", fin=False), [], None, hang_up=True),
    "by hanging up after a ping": Case(frame(PING, b"p"), [], None, [b"p"], hang_up=True),
}

CASES: dict[str, Case] = {
    f"{group}: {name}": case
    for group, cases in {
        "frames": WHOLE, "lengths": LENGTHS, "broken rules": BROKEN, "no UTF-8": NOT_UTF8, "closing": CLOSES,
    }.items()
    for name, case in cases.items()
}  # fmt: skip
SHORT = {name: case for name, case in CASES.items() if len(case.wire) <= 400}
LONG = {name: case for name, case in CASES.items() if len(case.wire) > 400}
BY_BYTE = {name: case for name, case in CASES.items() if len(case.wire) <= 1_000}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One loop for all conversations, since there are thousands: the one that the streamer runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as opened:
        yield opened


class Lines(Struct):
    """Both ways, listening."""

    runner: asyncio.Runner
    lines: dict[Way, Line]

    def said(self, way: Way, segments: list[bytes], *, hang_up: bool = False) -> Came:
        return self.runner.run(self.lines[way].said(segments, hang_up=hang_up))


@pytest.fixture(scope="module")
def lines(runner: asyncio.Runner) -> Iterator[Lines]:
    opened = {way: a_line(way) for way in WAYS}
    try:
        yield Lines(runner, {way: runner.run(line.__aenter__()) for way, line in opened.items()})
    finally:
        for line in opened.values():
            runner.run(line.__aexit__(None, None, None))


def check(case: Case, came: Came) -> None:
    """What came is what RFC 6455 asks for."""
    assert came.messages == case.messages
    assert came.closing == case.closing
    pongs = b"".join(answer(PONG, payload) for payload in case.pongs)
    assert came.wire.startswith(pongs)
    rest = came.wire[len(pongs) :]
    assert not rest or rest[0] == 0x80 | CLOSE, "nothing but pongs and a goodbye"


def cut(wire: bytes, *offsets: int) -> list[bytes]:
    """The same bytes in segments that end at the offsets."""
    ends = sorted({0, len(wire), *(offset for offset in offsets if 0 < offset < len(wire))})
    return [wire[low:high] for low, high in pairwise(ends)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_in_one_segment(lines: Lines, name: str, way: Way) -> None:
    case = CASES[name]
    check(case, lines.said(way, [case.wire], hang_up=case.hang_up))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BY_BYTE)
def test_byte_by_byte(lines: Lines, name: str, way: Way) -> None:
    case = BY_BYTE[name]
    check(case, lines.said(way, [bytes((byte,)) for byte in case.wire], hang_up=case.hang_up))


@pytest.mark.parametrize("name", CASES)
def test_both_ways_write_the_same_bytes_and_end_alike(lines: Lines, name: str) -> None:
    case = CASES[name]
    library, direct = (lines.said(way, [case.wire], hang_up=case.hang_up) for way in WAYS)
    assert direct == library


@pytest.mark.parametrize("name", WHOLE)
def test_in_two_segments_cut_at_every_offset(lines: Lines, name: str) -> None:
    case = CASES[f"frames: {name}"]
    for offset in range(1, len(case.wire)):
        check(case, lines.said("direct", cut(case.wire, offset)))


@pytest.mark.parametrize("name", LONG)
def test_long_ones_cut_in_their_headers_and_near_their_ends(lines: Lines, name: str) -> None:
    case = LONG[name]
    for offset in (*range(1, 16), len(case.wire) // 2, *range(len(case.wire) - 9, len(case.wire))):
        check(case, lines.said("direct", cut(case.wire, offset)))


@pytest.mark.parametrize(
    "early",
    [
        frame(TEXT, b"a"),
        frame(TEXT, b"a")[:7],
        frame(PING, b"p"),
        frame(TEXT, b"a") * 3,
        b"\n",
        b"\r\n\r\n",
        frame(TEXT, b"abcd", mask=bytes(a ^ b for a, b in zip(b"abcd", BLANK, strict=True))),
        b"\x81\xfe\x00\x80" + BLANK,
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["in one segment", "byte by byte"])
async def test_who_does_not_wait_for_the_answer_to_its_handshake_is_not_let_in(early: bytes, apart: bool) -> None:
    async with a_line("direct") as line:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        for segment in cut(HANDSHAKE + early, *(range(400) if apart else ())):
            writer.write(segment)
            await writer.drain()
        async with asyncio.timeout(5):
            answered = await reader.readline()
            if apart and b"101" in answered:
                # The answer was quicker than the rest, which then came in its own time.
                writer.write_eof()
            await reader.read()
        writer.close()
    assert b"101" not in answered or apart


# ---------------------------------------------------------------- any frames, in any segments


SIZES = st.one_of(st.integers(0, 40), st.sampled_from([0, 124, 125, 126, 127, 300, 65_535, 65_536, MAX_BYTES]))
CONTROL = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=20)).map(lambda given: frame(*given))
MASKS = st.binary(min_size=4, max_size=4).filter(any)


@st.composite
def whole_frames(draw: st.DrawFn) -> bytes:
    """A whole text or binary of any legal length, written in any length form that holds it."""
    size = draw(SIZES)
    least = 7 if size < 126 else 16 if size < 2**16 else 64
    form = draw(st.sampled_from([form for form in (7, 16, 64) if form >= least]))
    return frame(draw(st.sampled_from([TEXT, BINARY])), b"m" * size, mask=draw(MASKS), form=form)


@st.composite
def in_fragments(draw: st.DrawFn) -> bytes:
    """A message in two to five parts, cut anywhere, with control frames in between."""
    payload = draw(st.text(max_size=40)).encode()
    ends = sorted(draw(st.lists(st.integers(0, len(payload)), min_size=1, max_size=4)))
    pieces = [payload[low:high] for low, high in pairwise([0, *ends, len(payload)])]
    between = b"".join(draw(st.lists(CONTROL, max_size=2)))
    return parts(draw(st.sampled_from([TEXT, BINARY])), *pieces, between=between)


LAST = st.sampled_from([
    GOODBYE, frame(CLOSE), close(4000, b"bye"), close(1005), frame(3), frame(TEXT, b"x", mask=None), frame(CONT, b"x"),
    frame(TEXT, b"x", rsv=4), frame(PING, b"x" * 126), frame(TEXT, b"\xff"), parts(TEXT, b"a", b"\xff"),
    frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), struct.pack("!BBQ", 0x81, 0xFF, 2**63) + b"mask",
])  # fmt: skip


@settings(max_examples=150)
@given(
    before=st.lists(st.one_of(whole_frames(), in_fragments(), CONTROL), max_size=8),
    last=LAST,
    cuts=st.lists(st.floats(0, 1), max_size=12),
)
@example(before=[frame(TEXT, b"a"), frame(PING, b"p")], last=GOODBYE, cuts=[0.01 * n for n in range(100)])
def test_whatever_is_written_in_whatever_segments_both_ways_agree(
    lines: Lines, before: list[bytes], last: bytes, cuts: list[float]
) -> None:
    wire = b"".join((*before, last))
    segments = cut(wire, *(int(share * len(wire)) for share in cuts))
    library, direct = (lines.said(way, segments) for way in WAYS)
    assert direct == library


# ---------------------------------------------------------------- what only the direct way has


@pytest.fixture
async def direct() -> AsyncIterator[Line]:
    async with a_line("direct") as line:
        yield line


async def test_reading_held_delivers_nothing_and_then_all_in_order(direct: Line) -> None:
    async with direct.talk() as talk:
        talk.server_side.hold()  # type: ignore[union-attr]
        loop = asyncio.get_running_loop()
        for number in range(200):
            wire = parts(TEXT, b"%d" % number, b"") if number % 3 else frame(TEXT, b"%d" % number)
            await loop.sock_sendall(talk.client, wire)
        await asyncio.sleep(0.05)
        assert talk.came.messages == []
        talk.server_side.go_on()  # type: ignore[union-attr]
        await loop.sock_sendall(talk.client, GOODBYE)
        came = await talk.end()
    assert came.messages == [b"%d" % number for number in range(200)]


async def test_reading_held_holds_the_sender_too(direct: Line) -> None:
    async with direct.talk() as talk:
        talk.server_side.hold()  # type: ignore[union-attr]
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sock_sendall(talk.client, frame(TEXT, b"x" * 60_000) * 1_000))
        done, _ = await asyncio.wait((sending,), timeout=0.3)
        assert not done, "60 MB went somewhere"
        assert talk.came.messages == []
        sending.cancel()


async def test_a_sink_that_fails_closes_its_socket_with_1011_and_harms_no_other() -> None:
    heard: list[bytes] = []

    def sink(message: bytes) -> None:
        if message == b"poison":
            raise ValueError("poison")
        heard.append(message)

    async with a_line("direct", sink) as line, line.talk() as other:
        came = await line.said([frame(TEXT, b"1") + frame(TEXT, b"poison") + frame(TEXT, b"never"), close(1011)])
        assert came.closing == 1011
        await other.write(frame(TEXT, b"2") + GOODBYE)
        assert (await other.end()).wire == AGREED
    assert heard == [b"1", b"2"]


async def test_a_sink_that_fails_on_fragments_closes_alike() -> None:
    def sink(message: bytes) -> None:
        raise RuntimeError(message.decode())

    async with a_line("direct", sink) as line:
        came = await line.said([parts(TEXT, b"poi", b"son") + frame(PING, b"late"), close(1011)])
    assert came.closing == 1011


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
async def test_what_is_said_goes_out_as_one_text_frame(direct: Line, size: int) -> None:
    async with direct.talk() as talk:
        talk.server_side.say(b"x" * size)  # type: ignore[union-attr]
        expected = frame(TEXT, b"x" * size, mask=None)
        loop = asyncio.get_running_loop()
        wire = b""
        async with asyncio.timeout(5):
            while len(wire) < len(expected):
                wire += await loop.sock_recv(talk.client, 2**20)
    assert wire == expected


async def test_nothing_is_said_after_the_goodbye(direct: Line) -> None:
    async with direct.talk() as talk:
        talk.server_side.end(4409, "newer")  # type: ignore[union-attr]
        talk.server_side.say(b"too late")  # type: ignore[union-attr]
        talk.server_side.end(1001, "again")  # type: ignore[union-attr]
        await talk.write(frame(TEXT, b"crossed") + close(4409, b"newer"))
        came = await talk.end()
    assert came.wire == answer(CLOSE, struct.pack("!H", 4409) + b"newer")
    assert came.messages == []


async def test_what_is_left_unread_when_the_connection_is_lost_is_let_go(direct: Line) -> None:
    async with direct.talk() as talk:
        connection = talk.server_side
        assert isinstance(connection, DirectWay)
        connection.hold()
        connection.data_received(frame(TEXT, b"unread") * 3)
        connection.transport.abort()
        await connection.connection_lost_waiter
        connection.go_on()
        await connection.ended(1)
    assert talk.came.messages == []


async def test_a_peer_that_hangs_up_in_the_middle_of_a_frame_during_the_goodbye_harms_nothing(direct: Line) -> None:
    async with direct.talk() as talk:
        connection = talk.server_side
        assert isinstance(connection, DirectWay)
        connection.data_received(frame(TEXT, b"half")[:7])
        connection.end(1001, "")
        connection.eof_received()
        connection.go_on()
        await connection.ended(1)
    assert talk.came.messages == []


async def test_a_sink_that_holds_at_what_came_before_it_is_given_no_more() -> None:
    heard: list[bytes] = []
    connections: asyncio.Queue[DirectConnection] = asyncio.Queue()
    done = asyncio.Event()

    async def handle(connection: DirectConnection) -> None:
        connections.put_nowait(connection)
        await done.wait()

    def claim(connection: DirectConnection, _request: Request) -> None:
        assert connection.claim()

    server = await serve_sockets(handle, claim, "127.0.0.1", 0)
    async with connect(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/") as client:
        connection = await connections.get()
        for text in ("first", "second", "third"):
            await client.send(text)
        await asyncio.sleep(0.05)

        def sink(message: bytes) -> None:
            heard.append(message)
            connection.hold()

        connection.listen(sink)
        await asyncio.sleep(0.05)
        assert heard == [b"first"]
        connection.go_on()
        await asyncio.sleep(0.05)
        assert heard == [b"first", b"second"]
        done.set()
    server.close()
    await server.wait_closed()
