"""Bad inputs against a real server: each is answered with its reason or ends in a proper close, and nothing else."""

import asyncio
import json
import struct
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from streamer.core.events import DriverRegistered, Tick
from streamer.edge.accounts import Accounts
from streamer.edge.wire import CODES, MAX_FRAME_BYTES, MAX_ITEMS
from tests.edge.frames_kit import BINARY, CLOSE, CONT, HANDSHAKE, PING, TEXT, frame
from tests.edge.test_gateway_limits import BAD_FRAMES
from tests.faults.bad_messages import Text, calls, messages
from tests.faults.clients import Dispatcher, open_socket
from tests.faults.conftest import DRIVERS, Start
from tests.faults.evidence import Evidence
from tests.faults.invariants import check_all, i9_refusals_have_a_reason
from tests.faults.program import SECRET, Program
from tests.faults.scale import SCALE

PROPER_CLOSES = {1002, 1007, 1008, 1009, 4429}
AT_ONCE = 8
"""Sockets at a time, each of another driver."""
A_SOCKETFUL = 60
"""Bad frames for one socket: it is closed with 1008 at the fifty-first."""
ANSWER_S = 10.0
MEMORY_MB = 24.0
"""What the server may have grown by from the first quarter of the messages to the last."""


class Tally:
    """What came of all bad messages."""

    def __init__(self) -> None:
        self.tried = 0
        """Messages that were answered, or closed upon."""
        self.nacks: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()
        self.closes: Counter[int] = Counter()

    def take_nacks(self) -> None:
        """Looks at the nacks so far, and forgets them: there are very many."""
        i9_refusals_have_a_reason(self.nacks)
        self.answered.update(nack["code"] for nack in self.nacks)
        self.nacks.clear()


def answers_due(text: Text) -> int:
    """How many nacks a bad frame is owed: one for each item of an array that can be read as one, else one."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return 1
    return len(said) if isinstance(said, list) and 1 <= len(said) <= MAX_ITEMS else 1


def memory_mb(program: Program) -> float:
    """What the server holds in memory now."""
    status = Path(f"/proc/{program.running.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.fixture
def tokens(data: Path) -> list[str]:
    accounts = Accounts(data)
    minted = [accounts.mint_driver_token(driver, 0) for driver in DRIVERS]
    accounts.close()
    return minted


async def say_badly(port: int, token: str, texts: list[Text], tally: Tally) -> None:
    """Sends bad frames on one socket, and waits for every answer, or for the close that ends them.

    Bytes go as binary, since one text that is not UTF-8 ends the socket and all that is behind it.
    """
    due: deque[int] = deque()
    async with open_socket(port, "/v1/drivers", token) as socket:
        try:
            for text in texts:
                due.append(answers_due(text))
                await socket.send(text)
            while due:
                heard = json.loads(await asyncio.wait_for(socket.recv(), ANSWER_S))
                assert heard["type"] in {"welcome", "route", "nack"}, heard
                if heard["type"] == "nack":
                    tally.nacks.append(heard)
                    due[0] -= 1
                    if not due[0]:
                        tally.tried += 1
                        due.popleft()
        except ConnectionClosed:
            await socket.wait_closed()
            tally.tried += 1
            tally.closes[socket.close_code or 0] += 1
            assert socket.close_code in PROPER_CLOSES, socket.close_code


@pytest.mark.timeout(120 + SCALE.bad_inputs // 100)
async def test_f15_no_message_however_bad_changes_or_troubles_the_server(
    data: Path, tokens: list[str], start: Start, evidence: Evidence
) -> None:
    program, tally = start(), Tally()
    source = messages(seed=15)
    grown_from_mb = 0.0

    async def work(token: str) -> None:
        nonlocal grown_from_mb
        while tally.tried < SCALE.bad_inputs:
            await say_badly(program.port, token, list(islice(source, A_SOCKETFUL)), tally)
            tally.take_nacks()
            if not grown_from_mb and tally.tried > SCALE.bad_inputs / 4:
                grown_from_mb = memory_mb(program)

    await asyncio.gather(*(work(token) for token in tokens[:AT_ONCE]))
    grown_mb = memory_mb(program) - grown_from_mb
    await check_unmoved(program, data)
    assert set(tally.answered) <= CODES
    assert len(tally.answered) >= 5, "too few kinds of faults to prove anything"
    assert grown_mb < MEMORY_MB
    evidence(
        "bad messages to the driver socket", tally.tried, **troubles(program), nacks=tally.answered.total(),
        closes=tally.closes.total(), memory_grew_mb=round(grown_mb, 1),
    )  # fmt: skip


def troubles(program: Program) -> dict[str, int]:
    """What went wrong with a program, as figures: whether it ended otherwise than it was told to, and tracebacks."""
    return {"crashes": int(program.running.poll() not in {None, 0}), "tracebacks": program.log().count("Traceback")}


async def check_unmoved(program: Program, data: Path) -> None:
    """The server is alive and serves, its log has no traceback, and nothing but time and acquaintance took effect."""
    assert program.running.poll() is None, program.log()
    assert "Traceback" not in program.log()
    dispatcher = await Dispatcher().open(program.port)
    state = (await dispatcher.call("state"))["body"]
    assert (await dispatcher.call("ready"))["status"] == 200
    await dispatcher.close()
    assert await program.end() == 0, program.log()
    log = check_all(data)
    assert {type(entry.input) for entry in log.entries} <= {Tick, DriverRegistered}
    engine = log.engine()
    for entry in log.entries[: state["seq"]]:
        engine.handle(entry.at_ms, entry.input)
    assert engine.hash() == state["hash"]


async def answer_of(socket: ClientConnection) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), ANSWER_S))
    return heard


@pytest.mark.timeout(120 + SCALE.bad_inputs // 100)
async def test_f15_no_message_of_the_link_however_bad_fails_the_server(
    data: Path, start: Start, evidence: Evidence
) -> None:
    program, source, statuses = start(), calls(seed=16), Counter[int]()
    wanted = SCALE.bad_inputs // 4
    while statuses.total() < wanted:
        async with open_socket(program.port, "/v1/link", SECRET) as socket:
            texts = list(islice(source, 100))
            for text in texts:
                # Binary, since a text that is not UTF-8 ends the socket before anybody can read it.
                await socket.send(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
            for _ in texts:
                heard = await answer_of(socket)
                statuses[heard["status"]] += 1
                assert heard["status"] < 500, heard
                assert heard["status"] == 200 or (heard["problem"]["code"] and heard["problem"]["detail"]), heard
    assert statuses[400] > wanted / 10
    assert statuses[422] > wanted / 50
    log = program.log()
    assert "call_failed" not in log
    await check_unmoved(program, data)
    assert "Traceback" not in log
    evidence(
        "bad messages to the link", statuses.total(), **troubles(program), refused=statuses.total() - statuses[200]
    )


# ---------------------------------------------------------------- anything at all


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, list[str]]]:
    """One server for all examples, and many drivers, so that none is asked too often."""
    data = tmp_path_factory.mktemp("anything") / "data"
    accounts = Accounts(data)
    tokens = []
    for number in range(40):
        accounts.register_driver(f"d-{number}")
        tokens.append(accounts.mint_driver_token(f"d-{number}", 0))
    accounts.close()
    with Program(data) as program:
        yield program, tokens
        assert program.running.poll() is None
        assert "Traceback" not in program.log()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=20,
)
PINGISH = st.fixed_dictionaries(
    {"type": st.sampled_from(["ping", "report", "pong", ""])},
    optional={
        name: st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.none())
        for name in ("seq", "fix_ms", "lat", "lng", "accuracy_m", "speed_mps", "heading_deg", "battery", "id", "report")
    },
)
FRAMES = st.one_of(
    st.binary(max_size=200), st.text(max_size=200), JSON.map(json.dumps), PINGISH.map(json.dumps),
    st.lists(PINGISH, max_size=5).map(json.dumps),
)  # fmt: skip


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(FRAMES, min_size=1, max_size=20))
def test_f15_whatever_hypothesis_thinks_of_is_answered(
    floor: tuple[Program, list[str]], runner: asyncio.Runner, texts: list[Text]
) -> None:
    program, tokens = floor
    tally = Tally()
    token = tokens[hash(tuple(texts)) % len(tokens)]
    runner.run(say_badly(program.port, token, texts, tally))
    tally.take_nacks()
    assert tally.answered or tally.closes


# ---------------------------------------------------------------- F16: bad frames


def deflated_bomb() -> bytes:
    """10 MB of nothing in 10 KB, marked as compressed, which nobody agreed to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return frame(TEXT, packer.compress(bytes(10_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH), rsv=4)


FRAMES_REFUSED: dict[str, tuple[bytes, int]] = {
    **BAD_FRAMES,
    "a deflate bomb": (deflated_bomb(), 1002),
    "a binary too large": (frame(BINARY, b" " * (MAX_FRAME_BYTES + 1)), 1009),
    "five thousand empty fragments": (frame(TEXT, fin=False) + frame(CONT, fin=False) * 5_000, 1009),
    "2^64 - 1 bytes": (struct.pack("!BBQ", 0x82, 0xFF, 2**64 - 1) + b"mask", 1009),
    "a length of 2^63 in a ping": (struct.pack("!BBQ", 0x89, 0xFF, 2**63) + b"mask", 1009),
}
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
OFFERING = HANDSHAKE.replace(b"GET / ", b"GET /v1/drivers ")[:-2]


@asynccontextmanager
async def raw(port: int, token: str, offer: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, Any]]:
    """A driver's socket after its handshake, without a library."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(OFFERING + b"Authorization: Bearer " + token.encode() + b"\r\n" + offer + b"\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
    assert b"101 Switching" in head
    assert b"permessage-deflate" not in head
    try:
        yield reader, writer
    finally:
        writer.close()


async def closing_code(reader: asyncio.StreamReader) -> int | None:
    """The code of the closing frame, after whatever was said before it."""
    async with asyncio.timeout(ANSWER_S):
        while True:
            try:
                head = await reader.readexactly(2)
                length = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2))
                payload = await reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                return None
            if head[0] & 15 == CLOSE:
                return int(struct.unpack("!H", payload[:2])[0]) if payload else None


async def serves(port: int, token: str) -> None:
    """The next client is let in, and its ping is answered."""
    async with raw(port, token) as (reader, writer):
        writer.write(frame(PING, b"there?") + frame(CLOSE))
        assert b"there?" in await asyncio.wait_for(reader.read(), ANSWER_S)


async def test_f16_every_bad_frame_ends_its_socket_properly_and_the_next_client_is_served(
    data: Path, tokens: list[str], start: Start, evidence: Evidence
) -> None:
    program = start()
    for name, (wire, code) in FRAMES_REFUSED.items():
        async with raw(program.port, tokens[0], DEFLATE) as (reader, writer):
            writer.write(wire)
            assert await closing_code(reader) == code, name
        await serves(program.port, tokens[1])
    await check_unmoved(program, data)
    evidence("bad frames refused", len(FRAMES_REFUSED), **troubles(program))
