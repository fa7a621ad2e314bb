"""Two people, or a person and a driver, want different things at once: one wins, the other is told why not."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct

from streamer.core.events import (
    DriverRegistered,
    Input,
    OrderCommand,
    Output,
    Ping,
    Refused,
    Report,
    ReportTaken,
    RouteChanged,
)
from streamer.core.state import Order
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.wire import Close
from tests.builders import Bench, a_report, an_order, refusal
from tests.edge.floor_kit import a_runner
from tests.edge.frames_kit import HANDSHAKE, TEXT, frame
from tests.edge.gateway_floor import LiveFloor, a_live_floor, ping_json
from tests.faults.clients import Dispatcher, an_order_body
from tests.faults.conftest import DRIVERS, Start
from tests.faults.evidence import Evidence
from tests.faults.invariants import check_all
from tests.faults.scale import SCALE

# ---------------------------------------------------------------- F17: order events, against a model

QUEUED = {"placed"}
GIVEN = {"assigned", "enroute_to_pickup", "arrived_at_pickup"}
LEGAL = {
    ("assigned", "accepted"): "enroute_to_pickup",
    ("assigned", "declined"): "placed",
    ("enroute_to_pickup", "declined"): "placed",
    ("assigned", "arrived_at_pickup"): "arrived_at_pickup",
    ("enroute_to_pickup", "arrived_at_pickup"): "arrived_at_pickup",
    ("enroute_to_pickup", "picked_up"): "on board",
    ("arrived_at_pickup", "picked_up"): "on board",
    ("on board", "arrived_at_dropoff"): "arrived_at_dropoff",
    ("on board", "delivered"): "delivered",
    ("arrived_at_dropoff", "delivered"): "delivered",
    ("on board", "failed"): "coming back",
    ("arrived_at_dropoff", "failed"): "coming back",
    ("coming back", "returned"): "returned",
    **{(status, "cancel"): "cancelled" for status in QUEUED | GIVEN},
    **{(status, "hold"): status for status in QUEUED | GIVEN},
    **{(status, "assign"): "assigned" for status in QUEUED},
    **{(status, "reassign"): "assigned" for status in GIVEN},
    **{(status, "unassign"): "placed" for status in GIVEN},
}
"""PROTOCOL §3, written down again: what may follow what. Anything else is refused."""
WORDS = {"picked_up": "on board", "enroute_to_dropoff": "on board", "failed": "coming back", "returning": "coming back"}
"""Statuses between which time and the other orders of a trip decide."""
REPORTS = sorted({step for _, step in LEGAL if step not in {"cancel", "hold", "assign", "reassign", "unassign"}})
STEPS_EACH = 60
ACTIONS = ("assign", "reassign", "unassign", "hold", "cancel")
CAPACITY = 5
SOME = ("d-1", "d-2", "d-3")
PICK = st.integers(0, 7)
took, refused = Counter[tuple[str, str]](), Counter[str]()
"""Steps that took effect, and reasons why others did not, over all histories."""


class Kept(Struct):
    """An order as the model has it."""

    status: str = "placed"
    driver: str | None = None
    number: int | None = None
    had_by: set[str] = set()


class OrderEvents(RuleBasedStateMachine):
    """Reports and commands in any order, by anybody, fresh, stale and repeated; the engine and a dictionary agree."""

    @initialize()
    def open(self) -> None:
        self.runner = a_runner()
        self.model: dict[str, Kept] = {}
        self.numbers: dict[str, int] = dict.fromkeys(SOME, 0)
        self.ids = count(1)
        self.last: Report | None = None
        for driver in SOME:
            self.say(DriverRegistered(driver, driver, CAPACITY))
            self.say(a_report("on_duty", driver, id=f"on-{driver}"))

    def say(self, item: Input) -> Sequence[Output]:
        came: list[Sequence[Output]] = []
        self.runner.submit(item, came.append)
        return came[0]

    @property
    def orders(self) -> dict[str, Order]:
        return self.runner.engine.state.orders

    def load(self, driver: str) -> int:
        carried = GIVEN | {"on board", "arrived_at_dropoff", "coming back"}
        return sum(kept.driver == driver and kept.status in carried for kept in self.model.values())

    @precondition(lambda self: len(self.model) < 8)
    @rule()
    def place(self) -> None:
        self.say(an_order())
        self.model[f"o-{len(self.model) + 1}"] = Kept()

    @precondition(lambda self: self.model)
    @rule(pick=PICK, choice=st.integers(0, 20), driver=st.sampled_from(SOME))
    def go_on(self, pick: int, choice: int, driver: str) -> None:
        """The next thing that may well happen to an order, as its own driver or a dispatcher who looks would do it."""
        order_id, kept = self.picked(pick)
        steps = [step for status, step in LEGAL if status == kept.status and step not in {"cancel", "hold"}]
        if not steps:
            return
        step = steps[choice % len(steps)]
        if step in ACTIONS:
            self.decide(order_id, step, driver, self.orders[order_id].version)
        else:
            self.tell(order_id, step, kept.driver or driver, kept.number or 0)

    @precondition(lambda self: self.model)
    @rule(pick=PICK, driver=st.sampled_from(SOME), report=st.sampled_from(REPORTS), back=st.sampled_from((0, 0, 1)))
    def report(self, pick: int, driver: str, report: str, back: int) -> None:
        """Anybody says anything, perhaps under a number that is over."""
        order_id, kept = self.picked(pick)
        self.tell(order_id, report, driver, max(0, (kept.number or 0) - back))

    @precondition(lambda self: self.model)
    @rule(pick=PICK, driver=st.sampled_from(SOME), action=st.sampled_from(ACTIONS), back=st.sampled_from((0, 0, 1)))
    def command(self, pick: int, driver: str, action: str, back: int) -> None:
        """A dispatcher does anything, perhaps to an order that is not any more as it was seen."""
        order_id, _ = self.picked(pick)
        self.decide(order_id, action, driver, self.orders[order_id].version - back)

    def picked(self, pick: int) -> tuple[str, Kept]:
        return list(self.model.items())[pick % len(self.model)]

    def tell(self, order_id: str, report: str, driver: str, number: int) -> None:
        kept = self.model[order_id]
        reasons = set()
        if kept.driver != driver or kept.status in {"delivered", "returned"}:
            reasons.add("stale_assignment" if driver in kept.had_by else "not_yours")
        if number < (kept.number or 0) or number > self.numbers[driver]:
            reasons.add("stale_assignment")
        if (kept.status, report) not in LEGAL:
            reasons.add("bad_transition")
        item = a_report(report, driver, (order_id,), number, id=f"r-{next(self.ids)}")
        if not self.agree(item, reasons):
            return
        self.last = item
        self.move(kept, report)
        if kept.status == "placed":
            kept.driver = kept.number = None

    def decide(self, order_id: str, action: str, driver: str, version: int) -> None:
        kept, gives = self.model[order_id], action in {"assign", "reassign"}
        reasons = set()
        if version != self.orders[order_id].version:
            reasons.add("version_conflict")
        if (kept.status, action) not in LEGAL:
            reasons.add("bad_transition")
        if gives and kept.driver != driver and self.load(driver) >= CAPACITY:
            reasons.add("over_capacity")
        item = OrderCommand(action, order_id, version, "maya", driver if gives else None)  # type: ignore[arg-type]
        if not self.agree(item, reasons):
            return
        self.move(kept, action)
        if gives:
            kept.driver, kept.number = driver, max(self.numbers.values()) + 1
            kept.had_by = kept.had_by | {driver}
            self.numbers[driver] = kept.number
        elif action in {"unassign", "cancel"}:
            kept.driver = kept.number = None

    def move(self, kept: Kept, step: str) -> None:
        took.update([(kept.status, step)])
        kept.status = LEGAL[kept.status, step]

    def agree(self, item: Input, reasons: set[str]) -> bool:
        """Whether both let it happen; a refusal names one of the model's reasons and changes nothing."""
        before = self.runner.engine.hash()
        first = self.say(item)[0]
        if not reasons:
            assert not isinstance(first, Refused), f"{item} was refused: {first}"
            return True
        assert isinstance(first, Refused), f"{item} took effect, against {reasons}"
        assert first.code in reasons
        refused.update([first.code])
        assert self.runner.engine.hash() == before
        return False

    @precondition(lambda self: self.last)
    @rule()
    def say_again(self) -> None:
        before = self.runner.engine.hash()
        assert self.last is not None
        first = self.say(self.last)[0]
        assert isinstance(first, ReportTaken)
        assert first.repeated
        assert self.runner.engine.hash() == before

    @invariant()
    def both_have_the_same_orders(self) -> None:
        if not hasattr(self, "model"):
            return
        for order_id, kept in self.model.items():
            order = self.orders[order_id]
            assert WORDS.get(order.status, order.status) == kept.status
            if kept.status in GIVEN:
                assert (order.driver_id, order.assignment) == (kept.driver, kept.number)

    def teardown(self) -> None:
        check_all(self.runner.journal, state=self.runner.engine.state)


class TestF17OrderEvents:
    """Replayed and out-of-order order events."""

    @pytest.mark.timeout(300)
    def test_engine_and_model_agree_on_every_event(self, evidence: Evidence) -> None:

        examples = max(60, SCALE.seeds // 10)
        # The same histories each time: else the count of steps reached would now and then fall short by chance.
        chosen = settings(max_examples=examples, stateful_step_count=STEPS_EACH, derandomize=True)
        run_state_machine_as_test(OrderEvents, settings=chosen)
        assert set(refused) >= {"stale_assignment", "not_yours", "bad_transition", "version_conflict"}
        assert len(took) > len(LEGAL) * 0.8, f"never happened: {set(LEGAL) - set(took)}"
        evidence("random histories of order events against a model", examples, steps_each=STEPS_EACH)


# ---------------------------------------------------------------- F18: two dispatchers

RIVALS = 10
LANES = 5
"""Orders fought for at a time: as many as one driver could win at most."""


@pytest.mark.timeout(60 + SCALE.contested_commands // 30)
async def test_f18_of_rival_reassignments_exactly_one_wins(data: Path, start: Start, evidence: Evidence) -> None:
    program = start()
    rivals = [await Dispatcher().open(program.port) for _ in range(RIVALS)]
    for driver in DRIVERS:
        assert (await rivals[0].call("duty", driver_id=driver, duty="on_duty"))["status"] == 200
    rounds = SCALE.contested_commands // RIVALS
    lanes = [list(range(rounds))[lane::LANES] for lane in range(LANES)]
    won = Counter[int]()

    async def contest(lane: int, numbers: list[int]) -> None:
        for number in numbers:
            won.update([await one_round(rivals, lane, number)])

    await asyncio.gather(*(contest(lane, numbers) for lane, numbers in enumerate(lanes)))
    for rival in rivals[1:]:
        rivals[0].acked.commands |= rival.acked.commands
    for rival in rivals:
        await rival.close()
    assert await program.end() == 0, program.log()
    log = check_all(data, rivals[0].acked)
    moved = Counter(
        entry.input.order_id
        for entry in log.entries
        if isinstance(entry.input, OrderCommand) and entry.input.action == "reassign"
    )
    assert won.total() == len(moved) == rounds
    assert len(won) > RIVALS / 2, "it was always the same: they did not meet"
    evidence("contested reassignments", rounds * RIVALS, won=won.total(), double_assignments=moved.total() - len(moved))


async def one_round(rivals: list[Dispatcher], lane: int, number: int) -> int:
    """One order, and everybody gives it to a driver of their own in the same moment; who won."""
    host = rivals[lane]
    placed = await host.call("place", order=an_order_body(f"x-{number}"))
    order_id = placed["body"]["id"]
    given = await order_command(host, "assign", order_id, 1, DRIVERS[-1 - lane])
    assert given["status"] == 200, given
    version = given["body"]["version"]
    first = number % RIVALS  # Somebody has to be handed to the network first.
    order = [*range(first, RIVALS), *range(first)]
    answers = await asyncio.gather(
        *(order_command(rivals[n], "reassign", order_id, version, DRIVERS[n]) for n in order)
    )
    winners: list[int] = [n for n, answer in zip(order, answers, strict=True) if answer["status"] == 200]
    assert len(winners) == 1, f"{len(winners)} of {RIVALS} won order {order_id}"
    for answer in answers:
        if answer["status"] != 200:
            shown = answer["problem"]["order"]
            assert (answer["status"], answer["problem"]["code"]) == (409, "version_conflict")
            assert (shown["driver_id"], shown["version"]) == (DRIVERS[winners[0]], version + 1)
    assert (await order_command(host, "cancel", order_id, version + 1))["status"] == 200
    return winners[0]


async def order_command(
    who: Dispatcher, action: str, order_id: str, version: int, driver: str | None = None
) -> dict[str, Any]:
    named = {} if driver is None else {"driver_id": driver}
    return await who.call("command", action=action, order_id=order_id, expected_version=version, **named)


# ---------------------------------------------------------------- F19: a driver and a dispatcher

STEPS = {
    "A": ("accepted", "arrived_at_pickup", "picked_up"),
    "D": ("as seen", "afresh"),
    "B": ("accepted", "picked_up"),
}


def interleavings(left: dict[str, int]) -> Iterator[str]:
    """Every order in which these may act, each as often as it has to."""
    if not any(left.values()):
        yield ""
    for who, times in left.items():
        if times:
            for rest in interleavings({**left, who: times - 1}):
                yield who + rest


ALL = tuple(interleavings({who: len(steps) for who, steps in STEPS.items()}))


class Race:
    """A has the order, D wants B to have it, and all go on as if nothing had happened."""

    def __init__(self) -> None:
        self.bench = Bench()
        for driver in ("A", "B"):
            self.bench.driver(driver)
        self.order = self.bench.place()
        self.bench.command("assign", self.order, "A")
        self.seen = self.order.version
        self.told = {"A": self.order.assignment or 0, "B": 0}
        self.codes: dict[str, list[str | None]] = {who: [] for who in STEPS}

    def act(self, who: str) -> None:
        step = STEPS[who][len(self.codes[who])]
        had = self.order.driver_id
        if who == "D":
            version = self.seen if step == "as seen" else self.order.version
            outputs = self.bench.command("reassign", self.order, "B", expected_version=version)
        else:
            # Each presents the number it was last told, as a phone does.
            outputs = self.bench.do(a_report(step, who, (self.order.id,), self.told[who]))
        self.codes[who].append(refusal(outputs))
        for output in outputs:
            if isinstance(output, RouteChanged):
                self.told[output.driver_id] = output.assignment
        if who == "D" and refusal(outputs) is None and had == "A":
            empty = [out for out in outputs if isinstance(out, RouteChanged) and out.driver_id == "A"]
            assert [out.stops for out in empty] == [()], "A has to be told that nothing is left"


@pytest.mark.parametrize("turns", ALL)
def test_f19_whoever_is_late_is_refused_and_the_order_is_with_one(turns: str) -> None:
    race = Race()
    taken_at: int | None = None
    for turn, who in enumerate(turns):
        race.act(who)
        if who == "D" and race.codes["D"][-1] is None and taken_at is None:
            taken_at = turn
        carriers = [driver.id for driver in race.bench.engine.state.drivers.values() if driver.order_ids]
        assert carriers == [race.order.driver_id]
    picked = [who for who in "AB" if race.codes[who] and race.codes[who][-1] is None and race.order.driver_id == who]
    late = [code for code, turn in zip(race.codes["A"], where(turns, "A"), strict=True) if taken_at and turn > taken_at]
    assert set(late) <= {"stale_assignment"}, "A acted on a route that is over"
    early = [code for code, turn in zip(race.codes["B"], where(turns, "B"), strict=True)
             if taken_at is None or turn < taken_at]  # fmt: skip
    assert set(early) <= {"not_yours"}, "B acted before it was given anything"
    # What was seen at the start is refused as soon as A has moved the order on; then A may be past giving away.
    if "A" in turns[: turns.index("D")]:
        assert race.codes["D"][0] == "version_conflict"
    if race.order.status == "picked_up":
        assert picked == [race.order.driver_id]


def where(turns: str, who: str) -> list[int]:
    return [turn for turn, one in enumerate(turns) if one == who]


def test_f19_all_interleavings_were_tried(evidence: Evidence) -> None:
    assert len(ALL) == len(set(ALL)) == 210
    evidence("interleavings of accept and reassign", len(ALL))


# ---------------------------------------------------------------- F20: a zombie


async def zombie_socket(floor: LiveFloor, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A driver's socket whose program never looks at what it is told."""
    host, port = floor.url.removeprefix("ws://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(HANDSHAKE.replace(b"GET / ", b"GET /v1/drivers ")[:-2])
    writer.write(b"Authorization: Bearer " + token.encode() + b"\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    return reader, writer


def a_frame(seq: int, **fields: Any) -> bytes:
    return frame(TEXT, json.dumps(ping_json(seq, **fields)).encode())


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_f20_a_zombie_socket_is_fenced_off_by_the_newer_one(tmp_path: Path, before: int) -> None:
    settings = GatewaySettings(ack_interval_s=0.0, close_timeout_s=0.3)
    async with a_live_floor(tmp_path, settings) as floor:
        token = floor.driver_token()
        reader, writer = await zombie_socket(floor, token)
        floor.set_duty("d-1", "on_duty")
        writer.write(b"".join(a_frame(seq) for seq in range(before)))
        async with floor.phone(token) as phone:
            welcome = await phone.hear("welcome")
            # What it had sent before the newer socket counts; it keeps sending as long as the network lets it.
            writer.write(b"".join(a_frame(seq) for seq in range(1_000, 1_050)))
            await phone.ping(500)
            assert (await phone.hear("ack"))["seq"] == 500
            told = await asyncio.wait_for(reader.read(), 5)
        taken = [entry.input.seq for entry in floor.journal.durable() if isinstance(entry.input, Ping)]
        assert taken == [*range(before), 500]
        assert floor.runner.engine.state.drivers["d-1"].last_seq == 500
        assert welcome["last_seq"] == before - 1
        assert Close.SUPERSEDED.to_bytes(2) in told
        writer.close()


async def test_f20_what_a_zombie_sends_in_one_piece_with_more_is_refused_from_the_newer_socket_on(
    tmp_path: Path,
) -> None:
    settings = GatewaySettings(ack_interval_s=0.0, close_timeout_s=0.3)
    async with a_live_floor(tmp_path, settings) as floor:
        token = floor.driver_token()
        _, writer = await zombie_socket(floor, token)
        floor.set_duty("d-1", "on_duty")
        writer.write(a_frame(0) + a_frame(1)[:20])
        async with floor.phone(token) as phone:
            await phone.hear("route")
            writer.write(a_frame(1)[20:] + a_frame(2))
            await phone.ping(10)
            await phone.hear("ack")
        taken = [entry.input.seq for entry in floor.journal.durable() if isinstance(entry.input, Ping)]
        assert taken == [0, 10]
        writer.close()
