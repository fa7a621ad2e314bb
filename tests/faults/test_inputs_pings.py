"""F12 to F14 and F23: pings that repeat, overtake each other, lie about time or place; and clocks that jump."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Ping, PingTaken, Tick
from streamer.core.hexes import hex_of
from streamer.core.malls import parse_malls
from streamer.edge.clock import WallClock
from streamer.edge.gateway.limits import GatewaySettings
from tests.builders import MALL, MINUTE, T0, a_collection, a_mall_feature, a_ping, a_place_feature, a_report
from tests.edge.gateway_floor import LiveFloor, Phone, a_live_floor, ping_json
from tests.faults.evidence import Evidence
from tests.faults.invariants import Acked, check_all
from tests.faults.scale import SCALE

QUICK = GatewaySettings(ack_interval_s=0.0, messages_burst=1e9, bad_frames_per_min=1e9, close_timeout_s=0.3)
DAY_MS = 24 * 3_600_000
HOUR_MS = 3_600_000

# ---------------------------------------------------------------- F12: repeats, gaps, and the wrong order


@st.composite
def streams(draw: st.DrawFn) -> list[int]:
    """Numbers of pings as a bad network delivers them: some twice, some not at all, in any order."""
    said = draw(st.lists(st.integers(0, 30), min_size=1, max_size=25, unique=True))
    return draw(st.permutations(said + draw(st.lists(st.sampled_from(said), max_size=15))))


def walk(seq: int) -> Ping:
    """Where the driver was at its ping number so and so: a slow walk, so that all of it is believable."""
    return a_ping(at_ms=T0 + 5_000 * seq, north=0.0001 * seq, seq=seq)


@settings(max_examples=max(60, SCALE.seeds // 4))
@given(seqs=streams())
def test_f12_repeats_and_disorder_end_in_the_state_of_the_sorted_and_unique(seqs: list[int]) -> None:
    first, tidy = an_engine_on_duty(), an_engine_on_duty()
    at_ms = T0 + 30 * 5_000
    taken = [first.handle(at_ms, walk(seq))[0] for seq in seqs]
    for seq in sorted(set(seqs)):
        tidy.handle(at_ms, walk(seq))
    ours, theirs = (engine.state.drivers["d-1"] for engine in (first, tidy))
    assert (ours.ping, ours.cell, ours.mall_id, ours.last_seq) == (
        theirs.ping, theirs.cell, theirs.mall_id, theirs.last_seq,
    )  # fmt: skip
    assert ours.ping == walk(max(seqs))
    for number, (seq, output) in enumerate(zip(seqs, taken, strict=True)):
        assert isinstance(output, PingTaken), "each is acknowledged"
        assert (output.verdict == "duplicate") == (seq in seqs[:number])
    assert first.state.seq - tidy.state.seq == 0, "a repeat leaves no trace"


def an_engine_on_duty() -> Engine:
    engine = Engine(parse_malls(a_collection()))
    engine.handle(T0, DriverRegistered("d-1"))
    engine.handle(T0, a_report("on_duty", id="on"))
    return engine


async def test_f12_through_a_socket_each_is_acknowledged_and_in_the_journal_once(
    tmp_path: Path, evidence: Evidence
) -> None:
    rng = random.Random(12)
    async with a_live_floor(tmp_path, QUICK) as floor, floor.on_duty() as phone:
        floor.runner.clock.at_ms = T0 + 200 * 5_000  # type: ignore[attr-defined]
        highest, sent = -1, 0
        for round_number in range(40):
            seqs = [seq for seq in range(5 * round_number, 5 * round_number + 5) if rng.random() < 0.8]
            seqs = rng.sample(seqs * 2, len(seqs) * 2) + [rng.randrange(highest + 1) for _ in range(2) if highest > 0]
            if not seqs:
                continue
            for frame in (seqs[:3], seqs[3:]):
                if frame:
                    await phone.say([walk_json(seq) for seq in frame])
            sent += len(seqs)
            highest = max(highest, *seqs)
            while (await phone.hear("ack"))["seq"] < highest:
                pass
        nacks = [heard for heard in phone.heard if heard["type"] == "nack"]
        assert nacks == []
        log = check_all(floor.journal, state=floor.runner.engine.state)
    taken = [entry.input.seq for entry in log.entries if isinstance(entry.input, Ping)]
    assert len(taken) == len(set(taken)) < sent
    assert floor.runner.engine.state.drivers["d-1"].ping == walk(highest)
    twice = len(taken) - len(set(taken))
    evidence("pings repeated, out of order and with gaps", sent, in_the_journal=len(taken), twice=twice)


def walk_json(seq: int) -> dict[str, Any]:
    there = walk(seq)
    return ping_json(seq, fix_ms=there.fix_ms, lat=there.lat, lng=there.lng)


# ---------------------------------------------------------------- F13: phones' clocks

INSTANTS: dict[str, tuple[object, str | None]] = {
    "now": (T0, None),
    "as far ahead as is common": (T0 + 30_000, None),
    "a millisecond further": (T0 + 30_001, "future"),
    "an hour ahead": (T0 + HOUR_MS, "future"),
    "a day old": (T0 - DAY_MS, None),
    "a millisecond older": (T0 - DAY_MS - 1, "too_old"),
    "in seconds": (T0 // 1000, "too_old"),
    "in microseconds": (T0 * 1000, "future"),
    "in nanoseconds": (T0 * 1_000_000, "bad_field"),
    "0": (0, "too_old"),
    "-1": (-1, "bad_field"),
    "2^31": (2**31, "too_old"),
    "2^53": (2**53, "future"),
    "2^53 + 1": (2**53 + 1, "bad_field"),
    "2^63": (2**63, "bad_field"),
    "-2^63": (-(2**63), "bad_field"),
    "1e300": (1e300, "bad_field"),
    "a fraction": (T0 + 0.5, "bad_field"),
    "a text": (str(T0), "bad_field"),
    "a date": ("2026-11-22T00:00:00Z", "bad_field"),
    "null": (None, "bad_field"),
    "true": (True, "bad_field"),
}


@pytest.mark.parametrize("name", INSTANTS)
async def test_f13_a_phones_clock_is_believed_within_bounds_and_refused_by_name(tmp_path: Path, name: str) -> None:
    instant, code = INSTANTS[name]
    async with a_live_floor(tmp_path, QUICK) as floor, floor.on_duty() as phone:
        await expect(phone, ping_json(7, fix_ms=instant), code)
        driver = floor.runner.engine.state.drivers["d-1"]
        assert driver.received_ms == (T0 if code is None else 0), "the floor's own clock says when"
        await expect(phone, ping_json(8), None)


async def expect(phone: Phone, message: object, code: str | None) -> None:
    """The message is acknowledged (None), or refused with this code, and never to be tried again."""
    await phone.say(message)
    if code is None:
        await phone.hear("ack")
    else:
        nack = await phone.hear("nack")
        assert (nack["code"], nack["retryable"]) == (code, False)


async def test_f13_a_floor_that_plays_a_recording_takes_the_phones_own_time(tmp_path: Path) -> None:
    async with a_live_floor(tmp_path, QUICK) as floor, floor.on_duty() as phone:
        floor.gateway.intake._phones = floor.gateway.wall
        floor.gateway.wall.at_ms = T0 + 400 * DAY_MS  # type: ignore[attr-defined]
        await expect(phone, ping_json(1, fix_ms=T0 + 400 * DAY_MS), None)
        await expect(phone, ping_json(2, fix_ms=T0 + 400 * DAY_MS + HOUR_MS), "future")
        last = floor.runner.engine.state.drivers["d-1"].ping
        assert last is not None
        assert last.fix_ms == T0


# ---------------------------------------------------------------- F14: places that are none

PLACES: dict[str, tuple[str, str | None]] = {
    "NaN": ('"lat":NaN,"lng":-115', "bad_coordinate"),
    "Infinity": ('"lat":36,"lng":Infinity', "bad_coordinate"),
    "-Infinity": ('"lat":-Infinity,"lng":-115', "bad_coordinate"),
    "1e999": ('"lat":1e999,"lng":-115', "bad_coordinate"),
    "lat 90.0000001": ('"lat":90.0000001,"lng":0', "bad_coordinate"),
    "lat 91": ('"lat":91,"lng":0', "bad_coordinate"),
    "lng 540": ('"lat":36,"lng":540', "bad_coordinate"),
    "lng -180.0000001": ('"lat":36,"lng":-180.0000001', "bad_coordinate"),
    "1e308": ('"lat":1e308,"lng":1e308', "bad_coordinate"),
    "null island": ('"lat":0,"lng":0', "bad_coordinate"),
    "minus null island": ('"lat":-0.0,"lng":0.0', "bad_coordinate"),
    "beside null island": ('"lat":0.0001,"lng":0.0', None),
    "on the equator": ('"lat":0,"lng":-115', None),
    "on the prime meridian": ('"lat":36,"lng":0', None),
    "the north pole": ('"lat":90,"lng":0', None),
    "the north pole, seen from elsewhere": ('"lat":90.0,"lng":-180', None),
    "the south pole": ('"lat":-90,"lng":180', None),
    "the antimeridian from the east": ('"lat":36,"lng":180', None),
    "the antimeridian from the west": ('"lat":36,"lng":-180', None),
    "a subnormal": ('"lat":5e-324,"lng":-115', None),
    "the other way around": ('"lat":-115.17,"lng":36.1', "bad_coordinate"),
    "degrees in a text": ('"lat":"36.1","lng":-115', "bad_field"),
    "a huge integer": ('"lat":' + "9" * 400 + ',"lng":-115', "bad_coordinate"),
    "no longitude": ('"lat":36.1', "bad_field"),
}


@pytest.mark.parametrize("name", PLACES)
async def test_f14_a_place_is_on_earth_or_refused_by_name(tmp_path: Path, name: str) -> None:
    place, code = PLACES[name]
    async with a_live_floor(tmp_path, QUICK) as floor, floor.on_duty() as phone:
        await phone.connection.send(f'{{"type":"ping","seq":7,"fix_ms":{T0},{place}}}')
        if code is None:
            await phone.hear("ack")
        else:
            assert (await phone.hear("nack"))["code"] == code
        assert floor.runner.quarantined == 0
        # The next believable ping is at home on the floor, wherever the last one was.
        await expect(phone, ping_json(8, fix_ms=T0 + 1_000), None)


def test_f14_both_ends_of_the_antimeridian_are_one_place() -> None:
    for lat in (0.001, 36.0, -16.5, 71.2):
        assert hex_of(lat, 180.0) == hex_of(lat, -180.0)


def test_f14_crossing_the_antimeridian_is_a_step_and_not_a_jump() -> None:
    there: dict[str, Any] = {"north": -16.5 - MALL[0], "east": 179.95 - MALL[1], "mall_id": "far"}
    places = [a_place_feature(kind, kind, **there) for kind in ("store", "entrance")]
    engine = Engine(parse_malls(a_collection(a_mall_feature("far", lat=-16.5, lng=179.95), *places)))
    engine.handle(T0, DriverRegistered("d-1"))
    engine.handle(T0, a_report("on_duty", id="on"))
    for number, lng in enumerate((179.9995, -179.9995, 179.9996)):
        taken = engine.handle(T0, Ping(T0 + 10_000 * number, -16.5, lng, "d-1", number))[0]
        assert isinstance(taken, PingTaken)
        assert taken.verdict == "ok"


async def test_f14_a_teleport_is_acknowledged_and_counted_and_moves_nothing(tmp_path: Path) -> None:
    async with a_live_floor(tmp_path, QUICK) as floor, floor.on_duty() as phone:
        await expect(phone, ping_json(1), None)
        await expect(phone, ping_json(2, fix_ms=T0 + 1_000, lat=MALL[0] + 5), None)
        driver = floor.runner.engine.state.drivers["d-1"]
        assert driver.verdict == "jump"
        assert driver.ping is not None
        assert driver.ping.lat == MALL[0]
        assert floor.runner.engine.state.verdicts["jump"] == 1
        # And it is in the journal all the same: who judges it later has to have it.
        assert [entry.verdict for entry in floor.journal.durable() if isinstance(entry.input, Ping)] == ["ok", "jump"]


# ---------------------------------------------------------------- F23: the server's clock jumps


class Wall:
    """The machine's clock, which an operator or a time server sets; the monotonic one nobody can."""

    def __init__(self, ahead_ms: int = 0) -> None:
        self.wall_ns, self.monotonic_ns = (T0 + ahead_ms) * 1_000_000, 5_000_000_000
        self.clock = WallClock(lambda: self.wall_ns, lambda: self.monotonic_ns)

    def pass_ms(self, ms: int) -> None:
        """Time passes, as time does."""
        self.wall_ns += ms * 1_000_000
        self.monotonic_ns += ms * 1_000_000

    def set_by_ms(self, ms: int) -> None:
        """Somebody sets the clock."""
        self.wall_ns += ms * 1_000_000


def test_f23_a_clock_set_back_neither_goes_back_nor_stands_still() -> None:
    wall = Wall()
    assert wall.clock.now_ms() == T0
    wall.set_by_ms(-HOUR_MS)
    assert wall.clock.now_ms() == T0
    wall.pass_ms(MINUTE)
    first_ms = wall.clock.now_ms()
    assert T0 + MINUTE // 4 <= first_ms <= T0 + MINUTE
    for _ in range(100_000):
        wall.wall_ns += 100_000
        wall.monotonic_ns += 100_000
        wall.clock.now_ms()
    assert first_ms + 10_000 // 4 <= wall.clock.now_ms() <= first_ms + 10_000, "asked often, it moves all the same"
    wall.set_by_ms(3 * HOUR_MS)
    assert wall.clock.now_ms() > T0 + HOUR_MS, "a clock set forward is believed"


def test_f23_the_real_clock_never_goes_back_and_keeps_to_the_machines() -> None:
    clock = WallClock()
    told = [clock.now_ms() for _ in range(20_000)]
    assert all(after >= before for before, after in pairwise(told))
    assert abs(clock.now_ms() - time.time_ns() // 1_000_000) <= 5


SECONDS = 600
"""A scene takes so long; the clock is set after a third of it, and perhaps again after two."""


class Scene:
    """Five drivers that ping every second, in true time, at a floor whose clock is set meanwhile."""

    def __init__(self, floor: LiveFloor, wall: Wall, phones: list[Phone]) -> None:
        self.floor, self.wall, self.phones = floor, wall, phones
        self.true_ms, self.seq = T0, 0
        floor.runner.clock = wall.clock

    async def seconds(self, number: int) -> None:
        """Time passes; at the end everything is answered."""
        for _ in range(number):
            self.wall.pass_ms(1_000)
            self.true_ms += 1_000
            self.seq += 1
            for phone in self.phones:
                await phone.ping(self.seq, fix_ms=self.true_ms)
            if self.seq % 20 == 0:
                await asyncio.gather(*(answered(phone, self.seq) for phone in self.phones))
                self.floor.runner.submit(Tick())

    def nacks(self) -> Counter[str]:
        return Counter(heard["code"] for phone in self.phones for heard in phone.heard if heard["type"] == "nack")

    def acked(self) -> Acked:
        """The pings that were answered with an ack; those refused are none of them."""
        refused = {(number, heard["seq"]) for number, phone in enumerate(self.phones) for heard in phone.heard
                   if heard["type"] == "nack"}  # fmt: skip
        told = {(number, seq) for number in range(len(self.phones)) for seq in range(1, self.seq + 1)} - refused
        return Acked(pings={(f"d-{number}", seq) for number, seq in told})


async def answered(phone: Phone, seq: int) -> None:
    """Everything up to this ping has its ack or its nack."""
    while not any(heard.get("seq") == seq for heard in phone.heard[-50:]):
        async with asyncio.timeout(5):
            phone.heard.append(json.loads(await phone.connection.recv(decode=True)))


@asynccontextmanager
async def a_scene(directory: Path, ahead_ms: int = 0) -> AsyncIterator[Scene]:
    async with a_live_floor(directory, QUICK) as floor, AsyncExitStack() as stack:
        phones = [await stack.enter_async_context(floor.on_duty(f"d-{number}")) for number in range(5)]
        scene = Scene(floor, Wall(ahead_ms), phones)
        floor.command("assign", floor.place(key="once"), "d-0")
        yield scene
        assert len(floor.gateway.drivers) == len(phones), "nobody was thrown out"
        state = floor.runner.engine.state
        check_all(floor.journal, scene.acked(), state)
        placed = state.orders_placed
        floor.place(key="once")
        assert state.orders_placed == placed, "what a key stands for was not forgotten"


@pytest.mark.parametrize(
    ("ahead_ms", "jump_ms", "back"),
    [(HOUR_MS, -HOUR_MS, False), (0, HOUR_MS, False), (0, HOUR_MS, True), (0, 20 * HOUR_MS, True), (0, -15_000, True)],
    ids=["an hour ahead, put right", "an hour on", "an hour on and back", "20 hours on and back", "15 s back and on"],
)
async def test_f23_a_jump_of_the_servers_clock_loses_no_ping_and_expires_nothing(
    tmp_path: Path, ahead_ms: int, jump_ms: int, back: bool
) -> None:
    async with a_scene(tmp_path, ahead_ms) as scene:
        await scene.seconds(SECONDS // 3)
        scene.wall.set_by_ms(jump_ms)
        await scene.seconds(20)
        if back:
            scene.wall.set_by_ms(-jump_ms)
        await scene.seconds(SECONDS // 3)
        states = {driver.id: driver.state for driver in scene.floor.runner.engine.state.drivers.values()}
        assert states == {"d-0": "busy"} | {f"d-{number}": "free" for number in range(1, 5)}, "who speaks is not silent"
        assert scene.nacks() == {}


async def test_f23_while_the_servers_clock_is_an_hour_slow_pings_are_refused_by_name_and_then_taken_again(
    tmp_path: Path,
) -> None:
    async with a_scene(tmp_path) as scene:
        await scene.seconds(100)
        scene.wall.set_by_ms(-HOUR_MS)
        await scene.seconds(200)
        before = scene.nacks()
        assert set(before) == {"future"}, "a phone that is right looks like one an hour ahead"
        scene.wall.set_by_ms(HOUR_MS)
        await scene.seconds(100)
        assert scene.nacks() == before
        assert scene.floor.runner.engine.state.drivers["d-1"].state == "free"
