"""I1 to I10: what must hold after every fault, each as a function that raises AssertionError naming itself.

It must not know which fault came before. `check_all` takes a journal of any kind (a folder, an open one, one in memory)
and whatever else a test has; a check whose evidence is missing is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from streamer.core.engine import Engine
from streamer.core.events import (
    DriverRegistered,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Ping,
    Report,
    SetAutopilot,
    SetDuty,
    Undo,
)
from streamer.core.malls import parse_malls
from streamer.core.orders import COMING_BACK, GIVEN, ON_BOARD
from streamer.core.snapshot import dump_state, load_state, state_hash
from streamer.core.state import State
from streamer.core.views import order_view
from streamer.edge.journal import audit
from streamer.edge.journal.contract import Entry, JournalHeader, ReadableJournal
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import first_state
from streamer.edge.wire import CODES

Source = Path | ReadableJournal
CARRIED = (*GIVEN, *ON_BOARD, *COMING_BACK)
FINAL = ("delivered", "returned", "cancelled")
DECISIONS = OrderPlaced | OrderCommand | HandOver | Undo | SetDuty | SetAutopilot


class Acked(Struct):
    """What the outside was told is safe. A gateway, a phone, a dispatcher or a simulation fills it in."""

    pings: set[tuple[str, int]] = field(default_factory=set)
    """(driver id, seq)"""
    reports: set[tuple[str, str]] = field(default_factory=set)
    """(driver id, report id)"""
    orders: set[str] = field(default_factory=set)
    """Ids of orders answered with 200 or 201."""
    commands: set[str] = field(default_factory=set)
    """The `command_id` of every command answered with 200."""

    def pings_up_to(self, driver_id: str, seq: int, first: int = 1) -> None:
        """A cumulative ack of a phone that counts from `first` without a gap."""
        self.pings.update((driver_id, number) for number in range(first, seq + 1))

    def copy(self) -> "Acked":
        """What was acknowledged until now."""
        return Acked(set(self.pings), set(self.reports), set(self.orders), set(self.commands))

    def __len__(self) -> int:
        return len(self.pings) + len(self.reports) + len(self.orders) + len(self.commands)


class Log(Struct):
    """A journal as read: what a replay needs, and every input that took effect and is still kept, in order.

    `first` is the state before the first of them, dumped: an empty one unless pings are past their retention.
    """

    header: JournalHeader
    first: bytes
    entries: list[Entry]

    def engine(self) -> Engine:
        """An engine before the first input."""
        return Engine(parse_malls(self.header.malls), self.header.settings, load_state(self.first))


def read_log(source: Source) -> Log:
    """Everything in a journal; a folder may be in use by a running server meanwhile."""
    if isinstance(source, Path):
        reader = JournalReader(source)
        try:
            return read_log(reader)
        finally:
            reader.close()
    first = first_state(source)
    return Log(source.header, dump_state(first), list(source.entries(first.seq)))


def check_all(
    source: Source,
    acked: Acked | None = None,
    state: State | None = None,
    frames: Iterable[Mapping[str, Any]] = (),
    nacks: Iterable[Mapping[str, Any]] = (),
) -> Log:
    """Check each invariant there is evidence for; the log that was read, for further questions.

    `state` is the live engine's, at the end of the journal. `frames` are those one dashboard was sent, decoded, up to
    a moment when nothing more was under way; they are compared with `state`, or with the journal's replay.
    """
    log = read_log(source)
    i1_acknowledged_exactly_once(log, acked or Acked())
    i2_seq_has_no_gap(log)
    replayed = replay_checked(log)
    if state is not None:
        i4_replay_is_the_state(log, state, replayed)
    i8_screen_shows_the_state(frames, state or replayed)
    i9_refusals_have_a_reason(nacks)
    if not isinstance(source, Path) and not hasattr(source, "path"):
        return log
    i10_chain_verifies(source if isinstance(source, Path) else Path(source.path).parent)
    return log


# ---------------------------------------------------------------- the log itself


def i1_acknowledged_exactly_once(log: Log, acked: Acked) -> None:
    """I1: what was acknowledged is in the log, and nothing is in it twice."""
    identities = Counter(identity for entry in log.entries for identity in _identities(entry.input))
    twice = [identity for identity, times in identities.items() if times > 1]
    assert not twice, f"I1: in the log more than once: {sorted(twice, key=str)[:5]}"
    lost = lost_of(log, acked)
    assert not lost, f"I1: acknowledged and not in the log: {len(lost)} of {len(acked)}, as {lost[:5]}"


def lost_of(log: Log, acked: Acked) -> list[str]:
    """What was acknowledged and is not in the log, named. Pings past their retention are not asked for."""
    first = load_state(log.first)
    there = {identity for entry in log.entries for identity in _identities(entry.input)}
    gone = {driver.id: driver.last_seq for driver in first.drivers.values()}
    lost = [f"ping {ping}" for ping in acked.pings if ("ping", *ping) not in there and ping[1] > gone.get(ping[0], -1)]
    lost += [f"report {report}" for report in acked.reports if ("report", *report) not in there]
    placed = first.orders_placed + sum(isinstance(entry.input, OrderPlaced) for entry in log.entries)
    lost += [f"order {order_id}" for order_id in acked.orders if int(order_id.removeprefix("o-")) > placed]
    decided = {f"c-{entry.seq}" for entry in log.entries if isinstance(entry.input, DECISIONS)} | set(first.commands)
    lost += [f"command {command_id}" for command_id in acked.commands - decided]
    return sorted(lost)


def _identities(item: Input) -> Iterable[tuple[object, ...]]:
    """By what an input is the same one when it is sent again."""
    match item:
        case Ping(seq=None):
            yield "ping", item.driver_id, item.fix_ms, item.lat, item.lng
        case Ping():
            yield "ping", item.driver_id, item.seq
        case Report():
            yield "report", item.driver_id, item.id
        case OrderPlaced() | OrderCommand() | HandOver() | Undo() | SetDuty() | SetAutopilot() if item.key is not None:
            yield "key", item.key
    if isinstance(item, OrderPlaced) and item.external_id is not None:
        yield "external", item.mall_id, item.external_id


def i2_seq_has_no_gap(log: Log) -> None:
    """I2: sequence numbers rise by one, and time does not fall."""
    for before, after in zip(log.entries, log.entries[1:], strict=False):
        assert after.seq == before.seq + 1, f"I2: seq {after.seq} follows {before.seq}"
        assert after.at_ms >= before.at_ms, f"I2: seq {after.seq} is earlier than the one before it"
    if log.entries:
        first = load_state(log.first).seq + 1
        assert log.entries[0].seq == first, f"I2: the log begins at seq {log.entries[0].seq}, not {first}"


def i10_chain_verifies(folder: Path) -> audit.Head:
    """I10: the audit chain holds from its first link to its head."""
    reader = JournalReader(folder)
    try:
        return audit.verify(reader.connection)
    except audit.AuditError as error:
        raise AssertionError(f"I10: {error}") from error
    finally:
        reader.close()


# ---------------------------------------------------------------- its replay


def replay_checked(log: Log) -> State:
    """The state the log leads to; I3, I5, I6 and I7 are checked on the way and at the end."""
    engine = log.engine()
    ended = {order.id: str(order.status) for order in engine.state.orders.values() if order.status in FINAL}
    believed: dict[str, Ping] = {}
    for entry in log.entries:
        outputs = engine.handle(entry.at_ms, entry.input)
        assert engine.state.seq == entry.seq, f"I4: the replay refuses seq {entry.seq}: {outputs!r}"
        if isinstance(entry.input, Ping):
            i7_position_never_older(entry, believed)
        touched = {output.order_id for output in outputs if hasattr(output, "order_id") and output.order_id}
        for order_id in touched:
            i5_ended_stays_ended(engine.state, order_id, entry.input, ended)
    i3_one_driver_an_order(engine.state)
    i6_nobody_overloaded(engine.state, log)
    i7_newest_position_shown(engine.state, believed)
    return engine.state


def i3_one_driver_an_order(state: State) -> None:
    """I3: an order under way is with exactly one driver, the one written on it; any other is with none."""
    carriers: dict[str, list[str]] = defaultdict(list)
    for driver in state.drivers.values():
        for order_id in driver.order_ids:
            carriers[order_id].append(driver.id)
    for order in state.orders.values():
        expected = [order.driver_id] if order.status in CARRIED else []
        found = carriers.pop(order.id, [])
        assert found == expected, f"I3: order {order.id} ({order.status}) is with {found}, not {expected}"
    assert not carriers, f"I3: drivers carry orders that are none: {dict(carriers)}"
    numbers = Counter(order.assignment for order in state.orders.values() if order.status in CARRIED)
    assert all(times == 1 for times in numbers.values()), f"I3: an assignment number was given out twice: {numbers}"


def i4_replay_is_the_state(log: Log, state: State, replayed: State | None = None) -> None:
    """I4: the log replayed by a fresh engine gives the live state, byte for byte."""
    if replayed is None:
        replayed = replay_checked(log)
    assert replayed.seq == state.seq, f"I4: the log ends at seq {replayed.seq}, the state at {state.seq}"
    assert state_hash(replayed) == state_hash(state), f"I4: the replay differs from the live state at seq {state.seq}"


def i5_ended_stays_ended(state: State, order_id: str, item: Input, ended: dict[str, str]) -> None:
    """I5: an order that ended keeps its status; only an undo reopens a cancelled one. `ended` is what had ended."""
    order = state.orders.get(order_id)
    if order is None:
        return
    before = ended.get(order_id)
    if before is not None and order.status != before:
        undone = before == "cancelled" and isinstance(item, Undo)
        assert undone, f"I5: order {order_id} was {before} and is {order.status} after {type(item).__name__}"
    if order.status in FINAL:
        ended[order_id] = order.status
    else:
        ended.pop(order_id, None)


def i6_nobody_overloaded(state: State, log: Log | None = None) -> None:
    """I6: nobody carries more than their capacity (unless a later registration lowered it below their load)."""
    most: Counter[str] = Counter()
    for entry in log.entries if log else ():
        if isinstance(entry.input, DriverRegistered):
            most[entry.input.driver_id] = max(most[entry.input.driver_id], entry.input.capacity)
    for driver in state.drivers.values():
        capacity = max(driver.capacity, most[driver.id])
        assert len(driver.order_ids) <= capacity, f"I6: {driver.id} carries {len(driver.order_ids)} of {capacity}"


def i7_position_never_older(entry: Entry, believed: dict[str, Ping]) -> None:
    """I7, one step: a ping that moved the marker is not older than the one it replaced. `believed` is by driver."""
    ping = entry.input
    if not isinstance(ping, Ping) or entry.verdict != "ok":
        return
    before = believed.get(ping.driver_id)
    if before is not None:
        assert ping.fix_ms >= before.fix_ms, f"I7: seq {entry.seq} moved {ping.driver_id} back in time"
    believed[ping.driver_id] = ping


def i7_newest_position_shown(state: State, believed: Mapping[str, Ping]) -> None:
    """I7, at the end: every driver is shown at the last ping that was believed."""
    for driver_id, ping in believed.items():
        assert state.drivers[driver_id].ping == ping, f"I7: {driver_id} is not where its newest ping says"


# ---------------------------------------------------------------- what the outside was told


class Screen(Struct):
    """One mall as a dashboard holds it after the frames so far (docs/feed.md)."""

    seq: int = -1
    drivers: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, frame: Mapping[str, Any]) -> None:
        """Fold one frame in.

        Raises:
            AssertionError: it does not follow the one before.
        """
        if frame["frame"] == "snapshot":
            self.drivers, self.orders = {}, {}
        else:
            assert frame["seq"] == self.seq + 1, f"I8: {frame['mall_id']} frame {frame['seq']} follows {self.seq}"
        self.seq = frame["seq"]
        columns = frame.get("drivers") or {}
        for row in zip(*columns.values(), strict=True):
            driver = dict(zip(columns, row, strict=True))
            self.drivers[driver["id"]] = driver
        for driver_id in frame.get("gone", ()):
            self.drivers.pop(driver_id, None)
        self.orders.update((order["id"], order) for order in frame.get("orders", ()))


def fold(frames: Iterable[Mapping[str, Any]]) -> dict[str, Screen]:
    """The screens, by mall, that these frames leave."""
    screens: dict[str, Screen] = defaultdict(Screen)
    for frame in frames:
        screens[frame["mall_id"]].take(frame)
    return screens


def i8_screen_shows_the_state(frames: Iterable[Mapping[str, Any]], state: State) -> None:
    """I8: the frames follow each other, and what they leave on the screen is what the state says."""
    for mall_id, screen in fold(frames).items():
        there = {driver.id: driver for driver in state.drivers.values() if driver.region == mall_id}
        assert set(screen.drivers) == set(there), f"I8: {mall_id} shows {set(screen.drivers) ^ set(there)} wrongly"
        for driver_id, shown in screen.drivers.items():
            driver = there[driver_id]
            place = (driver.ping.lat, driver.ping.lng, driver.ping.fix_ms) if driver.ping else (None, None, None)
            said = (shown["lat"], shown["lng"], shown["fix_ms"])
            assert said == place, f"I8: {driver_id} is shown at {said} and is at {place}"
            assert (shown["state"], shown["orders"]) == (driver.state, len(driver.order_ids)), f"I8: {driver_id}"
        for order in state.orders.values():
            if order.mall_id == mall_id and (order.ended_ms is None or order.id in screen.orders):
                expected = msgspec.to_builtins(order_view(order))
                # Through JSON, as the frame came: tuples are lists there.
                expected = msgspec.json.decode(msgspec.json.encode(expected))
                assert screen.orders.get(order.id) == expected, f"I8: {order.id} is shown as it is not"


def i9_refusals_have_a_reason(nacks: Iterable[Mapping[str, Any]]) -> None:
    """I9: every refusal names a known code, says whether to try again, and explains itself."""
    for nack in nacks:
        assert nack.get("code") in CODES, f"I9: no code of PROTOCOL in {nack}"
        assert isinstance(nack.get("retryable"), bool), f"I9: {nack} leaves open whether to try again"
        assert nack.get("message"), f"I9: {nack} gives no reason"
