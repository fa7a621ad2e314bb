"""A fork: from a moment of a recording on, the same outside under another decision, another policy, in another world.

It must not know files, clocks or sockets. Beside the fork's own floor it keeps the recorded one, moved by the recording
alone: so it is known at every moment what of the recording still holds (`keeping`), and which drivers are still where
they were recorded. These go on saying what was recorded; each other is simulated from where it stood (`takeover`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from streamer.core.changes import Changes
from streamer.core.commands import AUTOPILOT
from streamer.core.comparison import Comparison, Difference, compare
from streamer.core.engine import Engine
from streamer.core.errors import CallerError
from streamer.core.events import (
    Command,
    CommandDone,
    DriverChanged,
    DriverRegistered,
    HandOver,
    Input,
    OrderCommand,
    OrderPlaced,
    Output,
    Ping,
    PlanMade,
    Refused,
    Report,
    RouteChanged,
    SetAutopilot,
    Tick,
    Undo,
)
from streamer.core.snapshot import dump_state, load_state
from streamer.core.state import Order, State
from streamer.sim import keeping
from streamer.sim.deciding import Deciding, check
from streamer.sim.drivers import SimDriver
from streamer.sim.keeping import Numbers
from streamer.sim.names import driver_name
from streamer.sim.outlook import Outlook, Recorded
from streamer.sim.parting import Parting
from streamer.sim.policy import EFFORT
from streamer.sim.takeover import Cast, Scene, scenes_of
from streamer.sim.town import Span
from streamer.sim.truths import Truths

STEP_MS = 1_000
ACTOR = "what-if"
"""Who makes the decisions that a fork begins with."""
ACCEPT_MS = 12_000
"""A driver that moves as recorded takes what it is given besides after so long; the mean of `habits`."""
CAPACITY = 4
"""Of drivers that are added: what most cars of a world take."""


class Fork:
    """Yields what happens in the fork, and is told what came of it.

    Attributes:
        recorded: the floor of the recording, at the same moment.
        changes: what was changed when it began.
        forked_at_ms: when the two floors were one, UTC epoch milliseconds.
        ended: the recording has no more.
        simulated: drivers that are simulated, by id.
        skipped: recorded inputs that did not hold.
    """

    def __init__(
        self, state: State, engine: Engine, lines: Iterable[Recorded], outlook: Outlook, changes: Changes | None = None,
        scenes: Mapping[str, Scene] | None = None, seed: int = 1, everybody: bool = False,
        commands: Mapping[str, str] | None = None, recorded_seq: int | None = None, effort: int = EFFORT,
    ) -> None:  # fmt: skip
        """Does not move either floor yet.

        Args:
            state: of the recorded floor at the fork; it becomes the fork's, and must be nobody else's.
            engine: of the fork's floor. It may have moved on already, by decisions of people.
            lines: the rest of the recording, in order, in the time of this floor.
            outlook: made of the same rest, or of one that began earlier.
            scenes: of `scenes_of` for this floor, in no other fork at the same time; None: roads of no seed in
                particular are drawn.
            seed: of what is simulated. The same arguments give the same fork.
            everybody: whether all drivers are simulated from the beginning; without it a fork is as near to the
                recording as it can be, with it two forks that differ in their policy are judged alike.
            commands: this floor's command ids by those of the recording; None: they are the same.
            recorded_seq: how many inputs had taken effect when the recording was made; None: as many as on this floor.
            effort: rounds of improvement of each plan.

        Raises:
            CallerError: a change names what is not there.
        """
        self.changes = changes or Changes()
        check(self.changes, engine)
        self.recorded = engine.twin(state)
        self.forked_at_ms = state.at_ms
        self.numbers = Numbers(state.orders, {one: one for one in state.commands} if commands is None else commands)
        self.ended = False
        self.simulated: dict[str, SimDriver] = {}
        self.skipped = 0
        self.outlook = outlook
        self._engine = engine
        self._parting = Parting(self.numbers)
        self._truths = Truths(outlook, self.numbers, self.changes.stores)
        self._lines = iter(lines)
        self._line = next(self._lines, None)
        self._recorded_seq = state.seq if recorded_seq is None else recorded_seq
        self._deciding = Deciding(self.changes, engine, state, effort)
        self._everybody = everybody
        span = Span(self.forked_at_ms, self.forked_at_ms, max(outlook.end_ms, self.forked_at_ms + STEP_MS))
        self._cast = Cast(seed, span)
        self._scenes = scenes_of(engine.floor, 0) if scenes is None else scenes
        for scene in self._scenes.values():
            scene.span, scene.truths = span, self._truths.by_order
        self._unanswered: dict[tuple[str, str], int] = {}
        self._restless: set[str] = set(engine.state.drivers)
        self._own: Input | None = None
        self._own_outputs: tuple[Output, ...] = ()
        self._begun = False
        self._second_ms = self._first_second()

    # ------------------------------------------------------------ what its owner calls

    def due(self, engine: Engine, until_ms: int) -> Iterator[tuple[int, Input]]:
        """What happens up to `until_ms`, each with its instant. Handle each before asking for the next, and `learn`.

        Args:
            engine: of the fork's floor, as it is now.
        """
        self._engine = engine
        self._truths.look_around(engine.state.orders)
        for scene in self._scenes.values():
            scene.orders = engine.state.orders
        if not self._begun:
            self._begun = True
            yield from self._change(engine)
            self._take_over(engine, self.forked_at_ms)
        while (at_ms := self.next_ms()) is not None and at_ms <= until_ms:
            yield from self._live(engine, at_ms)
        self.ended = self._line is None

    def learn(self, at_ms: int, item: Input, outputs: tuple[Output, ...]) -> None:
        """Hear of every input that took effect on the fork's floor, whoever it came from, in order."""
        if item is self._own:
            self._own_outputs = outputs
        elif isinstance(item, SetAutopilot):
            self._deciding.leave_to_people(item.mall_id)
        self._parting.forked(at_ms, item)
        for output in outputs:
            match output:
                case RouteChanged():
                    driver = self.simulated.get(output.driver_id)
                    if driver is not None:
                        driver.learn(output)
                    self._restless.add(output.driver_id)
                case DriverChanged():
                    self._restless.add(output.driver_id)
                case _:
                    pass

    def next_ms(self) -> int | None:
        """The instant of what happens next; None when nothing will."""
        if self._line is None:
            return None
        line_ms = self._line[0]
        lively = self.simulated or self._unanswered or self._truths.has_words or self._deciding.plans
        return min(line_ms, self._second_ms) if lively else line_ms

    @property
    def difference(self) -> Difference | None:
        """Where the decisions of both floors part; None as long as they do not."""
        return self._parting.difference

    def comparison(self, engine: Engine) -> Comparison:
        """Both worlds as they are now."""
        ids, at_ms = self.numbers.orders, self.forked_at_ms
        return compare(self.recorded.state, engine.state, ids, at_ms, self.ended, self.difference)

    # ------------------------------------------------------------ the order of things in one instant

    def _change(self, engine: Engine) -> Iterator[tuple[int, Input]]:
        """What the fork begins with: decisions, and drivers more."""
        at_ms = self.forked_at_ms
        for wish in self.changes.decisions:
            order = engine.state.orders[wish.order_id]
            action = "assign" if order.driver_id is None else "reassign"
            yield at_ms, OrderCommand(action, order.id, order.version, ACTOR, wish.driver_id)  # type: ignore[arg-type]
        number = 0
        for more in self.changes.drivers:
            for _ in range(more.number):
                number += 1
                registered = DriverRegistered(self._new_id(engine, number), driver_name(len(engine.state.drivers)),
                                              CAPACITY, (more.mall_id,))  # fmt: skip
                scene = self._scenes[more.mall_id]
                self.simulated[registered.driver_id] = self._cast.hire(registered, number, scene)
                yield at_ms, registered
        self._parting.compare()

    def _live(self, engine: Engine, at_ms: int) -> Iterator[tuple[int, Input]]:
        """Stores speak, the dispatcher looks, people and it decide; then orders, drivers, the tick: as in `World`."""
        whole = at_ms >= self._second_ms
        if whole:
            self._second_ms = at_ms + STEP_MS
        looked: Sequence[Input] | None = None
        decides = True
        for word in self._truths.words(engine.state.orders, at_ms):
            yield at_ms, word
        while self._line is not None and self._line[0] <= at_ms:
            item = self._line[1]
            self._line = next(self._lines, None)
            if looked is None and not _is_word(item):
                looked = self._look(engine, at_ms)
            if decides and not isinstance(item, Command | PlanMade):
                decides = False
                yield from _untouched(looked or (), engine, at_ms)
            if whole and isinstance(item, Tick):
                whole = False
                yield from self._simulate(engine, at_ms)
            yield from self._keep(engine, at_ms, item)
        if decides:
            yield from _untouched(self._look(engine, at_ms) if looked is None else looked, engine, at_ms)
        if whole:
            yield from self._simulate(engine, at_ms)
        self._parting.compare()
        self._take_over(engine, at_ms)

    def _keep(self, engine: Engine, at_ms: int, item: Input) -> Iterator[tuple[int, Input]]:
        """A recorded input: the recorded floor takes it, and this one, if it holds here."""
        kept = self._holding(engine, at_ms, item)
        state = self.recorded.state
        seq = state.seq
        outputs = self.recorded.handle(at_ms, self.numbers.undo_there(item))
        if state.seq == seq:
            return
        self._recorded_seq += 1
        self._parting.recorded(at_ms, item)
        for output in outputs:
            if isinstance(output, RouteChanged | DriverChanged):
                self._restless.add(output.driver_id)
        self._own, self._own_outputs = kept, ()
        if kept is None:
            self.skipped += not isinstance(item, Ping)
        else:
            yield at_ms, kept
        self._own = None
        self._name(item, outputs, self._own_outputs)

    def _name(self, item: Input, theirs: tuple[Output, ...], ours: tuple[Output, ...]) -> None:
        """Remember what a recorded order or command is called here."""
        there, here = theirs[0] if theirs else None, ours[0] if ours else None
        if isinstance(there, CommandDone):
            self.numbers.recorded_commands[f"c-{self._recorded_seq}"] = there.command_id
        if isinstance(there, CommandDone) and isinstance(here, CommandDone):
            self.numbers.commands[f"c-{self._recorded_seq}"] = here.command_id
            if isinstance(item, OrderPlaced):
                self.numbers.place(there.order_ids[0], here.order_ids[0])
                self._truths.know(self._engine.state.orders[here.order_ids[0]])

    def _holding(self, engine: Engine, at_ms: int, item: Input) -> Input | None:
        """What a recorded input is on this floor; None when it does not hold."""
        match item:
            case Ping():
                return item if self._moves_as_recorded(engine, item.driver_id) else None
            case Report():
                return self._holding_report(engine, at_ms, item)
            case OrderCommand():
                return self._holding_command(engine, at_ms, item)
            case HandOver():
                return keeping.hand_over(item, self.recorded, engine, self.numbers)
            case Undo():
                return self.numbers.undo_here(item)
            case PlanMade():
                kept = keeping.advice(item, self.recorded, engine, self.numbers)
                return None if self._deciding.is_anew(item.mall_id) else kept
            case SetAutopilot():
                return None if self._deciding.is_anew(item.mall_id) else item
            case _:
                return item

    def _moves_as_recorded(self, engine: Engine, driver_id: str) -> bool:
        """Whether a driver says what was recorded: it is not simulated, and nobody has sent it home in the fork."""
        if driver_id in self.simulated:
            return False
        ours, theirs = engine.state.drivers.get(driver_id), self.recorded.state.drivers.get(driver_id)
        return not (ours and theirs and ours.duty == "off_duty" != theirs.duty)

    def _holding_report(self, engine: Engine, at_ms: int, item: Report) -> Report | None:
        """A driver's word; not that it was given what, here, is not packed yet."""
        if not self._moves_as_recorded(engine, item.driver_id):
            return None
        kept = keeping.report(item, engine, self.numbers)
        if kept is None or kept.report != "picked_up":
            return kept
        early = [
            order_id for order_id in kept.order_ids if self._truths.is_delayed(engine.state.orders[order_id], at_ms)
        ]
        if early:
            self._restless.add(item.driver_id)
            return None
        return kept

    def _holding_command(self, engine: Engine, at_ms: int, item: OrderCommand) -> OrderCommand | None:
        kept = keeping.order_command(item, self.recorded, engine, self.numbers)
        if kept is None:
            return None
        order = engine.state.orders[kept.order_id]
        if item.action == "ready":
            if self._truths.is_delayed(order, at_ms):
                self._truths.say_later(order)
                return None
            return None if order.is_ready and not self.recorded.state.orders[item.order_id].is_ready else kept
        machine = item.actor == AUTOPILOT and item.action != "cancel"
        return None if machine and self._deciding.is_anew(order.mall_id) else kept

    def _look(self, engine: Engine, at_ms: int) -> Sequence[Input]:
        """What the dispatcher makes of the floor, when it is time for it to look."""
        return self._deciding.decide(engine, self.recorded, self.numbers, at_ms)

    def _simulate(self, engine: Engine, at_ms: int) -> Iterator[tuple[int, Input]]:
        """Simulated drivers live a second; who moves as recorded answers what it was given besides."""
        for (driver_id, order_id), when_ms in [*self._unanswered.items()]:
            if when_ms <= at_ms:
                del self._unanswered[driver_id, order_id]
                order = engine.state.orders[order_id]
                if order.driver_id == driver_id and order.status == "assigned" and driver_id not in self.simulated:
                    yield at_ms, self._accepts(engine, order, at_ms)
        for driver in [*self.simulated.values()]:
            known = engine.state.drivers.get(driver.id)
            if known is None or (driver.on_duty and known.duty == "off_duty"):
                continue  # The floor has sent it home.
            for item in driver.step(at_ms):
                yield at_ms, item

    def _accepts(self, engine: Engine, order: Order, at_ms: int) -> Report:
        driver = engine.state.drivers[order.driver_id or ""]
        report_id = f"{driver.id}-takes-{order.assignment}"
        return Report(report_id[-64:], "accepted", at_ms, driver.id, (order.id,), driver.assignment)

    # ------------------------------------------------------------ who is where

    def _take_over(self, engine: Engine, at_ms: int) -> None:
        """Hand drivers whose next stop is no longer the recorded one to the simulator; take back who went home."""
        state, there = engine.state, self.recorded.state
        for driver_id in sorted(self._restless):
            ours, theirs = state.drivers.get(driver_id), there.drivers.get(driver_id)
            if ours is None or theirs is None:
                continue
            simulated = self.simulated.get(driver_id)
            if simulated is not None:
                if not simulated.on_duty and ours.duty == theirs.duty == "off_duty":
                    del self.simulated[driver_id]
                continue
            if ours.duty == "off_duty":
                continue
            if self._everybody or not keeping.is_on_course(theirs, ours, self.numbers):
                scene = self._scenes[ours.region or next(iter(self._scenes))]
                number = list(state.drivers).index(driver_id)
                life = self.outlook.life(driver_id)
                self.simulated[driver_id] = self._cast.take_over(ours, number, scene, life, at_ms)
                continue
            for order_id in ours.order_ids:
                order = state.orders[order_id]
                origin = there.orders.get(self.numbers.origin(order_id) or "")
                if order.status == "assigned" and (origin is None or origin.driver_id != driver_id):
                    self._unanswered.setdefault((driver_id, order_id), at_ms + ACCEPT_MS)
        self._restless.clear()

    def _new_id(self, engine: Engine, number: int) -> str:
        driver_id = f"extra-{number:02d}"
        while driver_id in engine.state.drivers:
            driver_id += "x"
        return driver_id

    def _first_second(self) -> int:
        """The first whole second of the recording's own beat after the fork."""
        beat_ms = (self._line[0] if self._line is not None else self.forked_at_ms) % STEP_MS
        return self.forked_at_ms + 1 + (beat_ms - self.forked_at_ms - 1) % STEP_MS


def _is_word(item: Input) -> bool:
    return isinstance(item, OrderCommand) and item.action == "ready"


def _untouched(looked: Sequence[Input], engine: Engine, at_ms: int) -> Iterator[tuple[int, Input]]:
    """What was decided at a look, less what people decided about in the same instant: that is theirs."""
    orders = engine.state.orders
    for item in looked:
        if not (isinstance(item, OrderCommand) and orders[item.order_id].touched_ms == at_ms):
            yield at_ms, item


def run(
    fork: Fork, engine: Engine, until_ms: int | None = None, progress: Callable[[int], None] | None = None
) -> Comparison:
    """Live a fork to its end, or up to an instant, on an engine of its own.

    Raises:
        CallerError: the floor refuses a decision the fork was to begin with.
    """
    for at_ms, item in fork.due(engine, 2**53 if until_ms is None else until_ms):
        seq = engine.state.seq
        outputs = engine.handle(at_ms, item)
        if engine.state.seq > seq:
            fork.learn(at_ms, item, outputs)
        elif isinstance(item, OrderCommand) and item.actor == ACTOR:
            raise CallerError(_why(outputs))
        if progress is not None and isinstance(item, Tick):
            progress(at_ms)
    return fork.comparison(engine)


def _why(outputs: Sequence[Output]) -> str:
    return outputs[0].message if outputs and isinstance(outputs[0], Refused) else "this decision had no effect"


def copied(state: State) -> State:
    """The same state, nobody else's."""
    return load_state(dump_state(state))
