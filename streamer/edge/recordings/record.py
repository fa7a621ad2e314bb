"""Cuts a fixture out of a journal, beside the server that writes it: a time window, one mall, without people.

It must not know how a fixture is played. Whatever is cut is handled again by an engine of its own, and only what takes
effect there is written, so that the fixture replays to the hash beside it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError, StorageError
from streamer.core.events import (
    DriverRegistered,
    HandOver,
    Input,
    OrderPlaced,
    Output,
    Ping,
    PingTaken,
    PlanMade,
    Report,
    RouteChanged,
    SetAutopilot,
    SetDuty,
)
from streamer.core.learned import Learned
from streamer.core.malls import Floor, Mall, parse_malls
from streamer.core.snapshot import dump_state, load_state
from streamer.core.state import Driver, Order, State
from streamer.edge.journal.contract import Entry, JournalDamagedError, ReadableJournal
from streamer.edge.journal.layout import utc
from streamer.edge.journal.recovery import first_state
from streamer.edge.recordings.adapt import Adapter
from streamer.edge.recordings.fixtures import (
    QUICK_LEVEL,
    SCHEMA,
    Companion,
    Counts,
    FixtureWriter,
    Header,
    write_companion,
)
from streamer.edge.recordings.pseudonyms import Pseudonyms
from streamer.edge.recordings.replay import replay
from streamer.edge.recordings.veil import Veil

PROGRESS_EVERY = 5_000
Progress = Callable[[int], None]
"""Called now and then with the number of inputs read."""


class Cut(Struct, frozen=True):
    """What to take: inputs handled in [from_ms, to_ms] (UTC epoch milliseconds), of one mall or of all."""

    from_ms: int | None = None
    to_ms: int | None = None
    mall_id: str | None = None
    pseudonymise: bool = False


def record(journal: ReadableJournal, cut: Cut, out: Path, progress: Progress | None = None) -> Companion:
    """Write the fixture `out` and its companion.

    Raises:
        ConfigurationError: nothing was recorded there, it begins before the journal's base, or there is no such mall.
        JournalDamagedError: the journal has a hole or a damaged row before or in the window; it says from when on a
            recording can be cut, if there is a snapshot behind the damage.
        OSError: a file cannot be written.
    """
    try:
        return _record(journal, cut, out, progress)
    except JournalDamagedError as error:
        behind_ms = _behind_damage(journal)
        if behind_ms is None or (cut.from_ms is not None and cut.from_ms >= behind_ms):
            raise
        raise JournalDamagedError(f"{error}; what comes after can be cut: --from {behind_ms}") from error


def _record(journal: ReadableJournal, cut: Cut, out: Path, progress: Progress | None) -> Companion:
    floor = parse_malls(journal.header.malls)
    if cut.mall_id is not None and cut.mall_id not in floor.malls:
        raise ConfigurationError(f"there is no mall {cut.mall_id} in this journal; it has {', '.join(floor.malls)}")
    before = _state_before(journal, floor, cut.from_ms)
    cutter = _Cutter(journal, floor, before, cut)
    entries = cutter.entries(progress)
    first = next(entries, None)
    if first is None:
        raise ConfigurationError("nothing was recorded in this window")
    header = Header(
        schema=SCHEMA, malls=cutter.floor.geojson(), settings=journal.header.settings, made_by="mallard record",
        licence="none: recorded from a live floor", story=_story(cut), start_ms=first.at_ms,
        start=load_state(dump_state(cutter.engine.state)) if before.seq or cut.from_ms is not None else None,
    )  # fmt: skip
    tally = _Tally()
    with FixtureWriter(out, header, QUICK_LEVEL) as fixture:
        for entry in _chain(first, entries):
            for item in cutter.take(entry):
                fixture.write(entry.at_ms, item)
                tally.count(item)
        if not tally.inputs:
            raise ConfigurationError("nothing was recorded in this window")
    return _companion(out, header, tally)


class _Tally(Struct):
    drivers: int = 0
    orders: int = 0
    pings: int = 0
    inputs: int = 0

    def count(self, item: Input) -> None:
        self.drivers += isinstance(item, DriverRegistered)
        self.orders += isinstance(item, OrderPlaced)
        self.pings += isinstance(item, Ping)
        self.inputs += 1


class _Cutter:
    """Passes the journal's inputs through what the cut asks for, into the engine of the fixture."""

    def __init__(self, journal: ReadableJournal, floor: Floor, before: State, cut: Cut) -> None:
        self._journal = journal
        self._cut = cut
        self._pseudonyms = Pseudonyms() if cut.pseudonymise else None
        self._veil = Veil(floor, journal.header.settings)
        self._members = _members(journal, floor, before, cut) if cut.mall_id is not None else None
        self._after_seq = before.seq
        self.floor = floor if cut.mall_id is None else Floor({cut.mall_id: floor.malls[cut.mall_id]})
        state = load_state(dump_state(before))
        if cut.mall_id is not None and self._members is not None:
            state = _state_of_mall(state, self.floor.malls[cut.mall_id], self._members)
        if self._pseudonyms is not None:
            state = _veiled(self._pseudonyms.state(state), self._veil)
        self.engine = Engine(self.floor, journal.header.settings, state)
        self._adapter = Adapter(state)
        # Whatever is left out or moved may change numbers; a plain cut keeps every byte.
        self._adapter.disturbed = cut.mall_id is not None or cut.pseudonymise

    def entries(self, progress: Progress | None) -> Iterator[Entry]:
        """The entries of the window."""
        return _window(self._journal, self._after_seq, self._cut, progress)

    def take(self, entry: Entry) -> Iterator[Input]:
        """What of an entry goes into the fixture: one input or none."""
        item: Input = entry.input
        mine = self._is_of_mall(item)
        if mine and isinstance(item, DriverRegistered) and self._cut.mall_id is not None:
            item = replace(item, mall_ids=tuple(mall for mall in item.mall_ids if mall == self._cut.mall_id))
        if self._pseudonyms is not None:
            item = self._pseudonyms.item(item)
            if isinstance(item, Ping):
                item = self._veil.ping(item, self.engine.state.drivers.get(item.driver_id))
        adapted = self._adapter.adapt(item, self.engine.state) if mine else None
        outputs = None
        if adapted is not None:
            seq = self.engine.state.seq
            outputs = _handled(self.engine, entry, adapted)
            if self.engine.state.seq == seq:
                outputs = None
            else:
                yield adapted
        self._adapter.follow(item, self.engine.state, outputs)

    def _is_of_mall(self, item: Input) -> bool:
        if self._members is None:
            return True
        match item:
            case Ping() | Report() | DriverRegistered() | HandOver() | SetDuty():
                return item.driver_id in self._members
            case OrderPlaced() | SetAutopilot() | PlanMade():
                return item.mall_id == self._cut.mall_id
            case _:
                # A command names its order in the journal's numbers; `renumber` knows which of them came along.
                return True


def _state_before(journal: ReadableJournal, floor: Floor, from_ms: int | None) -> State:
    """The state just before the first input of the window; without one, of the first input that is still there."""
    if from_ms is None:
        return first_state(journal)
    base = journal.base()
    if base is not None and from_ms <= base.at_ms:
        raise ConfigurationError(f"pings up to {utc(base.at_ms)} are past their retention: --from {base.at_ms + 1}")
    earlier = (load_state(snapshot.body) for snapshot in journal.snapshots() if snapshot.at_ms < from_ms)
    state = next(earlier, None) or first_state(journal)
    engine = Engine(floor, journal.header.settings, state)
    for entry in journal.entries(state.seq):
        if entry.at_ms >= from_ms:
            break
        _handled(engine, entry, entry.input)
    return engine.state


def _handled(engine: Engine, entry: Entry, item: Input) -> tuple[Output, ...]:
    """What the engine makes of an entry, or of what became of it in this cut."""
    try:
        return engine.handle(entry.at_ms, item)
    except Exception as error:
        raise JournalDamagedError(f"seq {entry.seq} of the journal cannot be handled: {error!r}") from error


def _behind_damage(journal: ReadableJournal) -> int | None:
    """The first instant behind the newest snapshot from which the journal is whole; None if it is not even there."""
    newest = next(iter(journal.snapshots()), None)
    if newest is None:
        return None
    try:
        load_state(newest.body)
        last = max((entry.at_ms for entry in journal.entries(newest.seq)), default=newest.at_ms)
    except StorageError:
        return None
    return newest.at_ms + 1 if last > newest.at_ms else None


def _window(journal: ReadableJournal, after_seq: int, cut: Cut, progress: Progress | None = None) -> Iterator[Entry]:
    for number, entry in enumerate(journal.entries(after_seq), 1):
        if cut.to_ms is not None and entry.at_ms > cut.to_ms:
            return
        if progress is not None and number % PROGRESS_EVERY == 0:
            progress(number)
        yield entry


def _members(journal: ReadableJournal, floor: Floor, before: State, cut: Cut) -> frozenset[str]:
    """The drivers who have anything to do with the mall: shown there, or carrying an order of it."""
    engine = Engine(floor, journal.header.settings, load_state(dump_state(before)))
    members = {driver.id for driver in engine.state.drivers.values() if _serves(engine.state, driver, cut.mall_id)}
    for entry in _window(journal, before.seq, cut):
        for output in _handled(engine, entry, entry.input):
            if isinstance(output, PingTaken | RouteChanged) and output.driver_id not in members:
                driver = engine.state.drivers[output.driver_id]
                if _serves(engine.state, driver, cut.mall_id):
                    members.add(driver.id)
    return frozenset(members)


def _serves(state: State, driver: Driver, mall_id: str | None) -> bool:
    return driver.region == mall_id or any(state.orders[order_id].mall_id == mall_id for order_id in driver.order_ids)


def _state_of_mall(state: State, mall: Mall, members: frozenset[str]) -> State:
    """The part of a state that belongs to one mall; sequence numbers and counters stay."""
    orders = {order.id: order for order in state.orders.values() if order.mall_id == mall.id}
    fences = {mall.id, f"{mall.id}:approach", *(place.id for place in mall.places)}
    drivers = {
        driver.id: _driver_of_mall(driver, orders, mall.id, fences)
        for driver in state.drivers.values()
        if driver.id in members
    }
    return replace(
        state,
        drivers=drivers,
        orders=orders,
        external={key: order_id for key, order_id in state.external.items() if order_id in orders},
        commands={
            record.id: record
            for record in state.commands.values()
            if all(was.order_id in orders for was in record.before)
        },
        keys={},
        tallies={mall_id: tally for mall_id, tally in state.tallies.items() if mall_id == mall.id},
        autopilot={mall_id: rules for mall_id, rules in state.autopilot.items() if mall_id == mall.id},
        learned=Learned(
            {mall_id: known for mall_id, known in state.learned.malls.items() if mall_id == mall.id},
            {driver_id: leg for driver_id, leg in state.learned.legs.items() if driver_id in members},
        ),
    )


def _veiled(state: State, veil: Veil) -> State:
    """The state without the places where drivers stood at doors, and without what was learned of ways between hexes:
    too few drivers go each of them for it to be nobody's.
    """
    drivers = {driver.id: veil.driver(driver, state.orders) for driver in state.drivers.values()}
    legs = {driver_id: veil.leg(leg) for driver_id, leg in state.learned.legs.items()}
    malls = {mall_id: replace(known, drive_pairs={}) for mall_id, known in state.learned.malls.items()}
    return replace(state, drivers=drivers, learned=replace(state.learned, malls=malls, legs=legs))


def _driver_of_mall(driver: Driver, orders: dict[str, Order], mall_id: str, fences: set[str]) -> Driver:
    return replace(
        driver,
        mall_ids=tuple(mall for mall in driver.mall_ids if mall == mall_id),
        region=mall_id if driver.region is not None else None,
        mall_id=driver.mall_id if driver.mall_id == mall_id else None,
        order_ids=[order_id for order_id in driver.order_ids if order_id in orders],
        route=[stop for stop in driver.route if stop.order_id in orders],
        fences={fence_id: presence for fence_id, presence in driver.fences.items() if fence_id in fences},
    )


def _chain(first: Entry, rest: Iterator[Entry]) -> Iterator[Entry]:
    yield first
    yield from rest


def _story(cut: Cut) -> str:
    where = f" at {cut.mall_id}" if cut.mall_id else ""
    return f"Recorded from a live floor{where}{', without people' if cut.pseudonymise else ''}."


def _companion(out: Path, header: Header, tally: _Tally) -> Companion:
    """What a replay of the written file arrives at."""
    outcome = replay(out)
    counts = Counts(tally.drivers, tally.orders, tally.pings, tally.inputs)
    companion = Companion(header.story, outcome.at_ms - header.start_ms, counts, outcome.kpis, outcome.hash)
    write_companion(out, companion)
    return companion
