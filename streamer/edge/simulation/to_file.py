"""Simulates a world into a fixture file (`live` drives one against a running floor).

It must not know how drivers and stores behave: it carries inputs from the world to the engine, and outputs back.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from streamer.core.changes import PolicyName
from streamer.core.engine import Engine
from streamer.core.events import DriverRegistered, Input, OrderPlaced, Output, Ping, Refused
from streamer.core.kpis import kpis
from streamer.core.malls import Floor
from streamer.core.snapshot import state_hash
from streamer.edge.recordings.fixtures import SCHEMA, Companion, Counts, FixtureWriter, Header, write_companion
from streamer.edge.simulation.worlds import demo_floor, only_malls, world_of
from streamer.sim.parameters import USUAL, Parameters
from streamer.sim.policy import Dispatcher, store_words
from streamer.sim.stories import Script
from streamer.sim.world import STEP_MS, World

LICENCE = "CC0-1.0"
TOLD_EVERY_MS = 30_000
Progress = Callable[[float], None]
"""Called with the share of the world lived through, 0-1."""


class _Tally(Struct):
    drivers: int = 0
    orders: int = 0
    pings: int = 0
    inputs: int = 0

    def count(self, entered: Input) -> None:
        self.drivers += isinstance(entered, DriverRegistered)
        self.orders += isinstance(entered, OrderPlaced)
        self.pings += isinstance(entered, Ping)
        self.inputs += 1


def run(world: World, engine: Engine, policy: PolicyName = "plan") -> Iterator[tuple[int, Input, tuple[Output, ...]]]:
    """Live the whole world with its dispatcher. Yields (at_ms, input, outputs) of every input, refused ones too."""
    dispatcher = Dispatcher(world.play_ms, world.story.acts, policy)
    for at_ms in range(world.start_ms, world.end_ms + 1, STEP_MS):
        words = store_words(engine, world.newly_ready(at_ms))
        for decided in words:
            yield at_ms, decided, engine.handle(at_ms, decided)
        for entered in (*dispatcher.decide(engine, at_ms), *world.step(at_ms)):
            outputs = engine.handle(at_ms, entered)
            world.learn(outputs)
            yield at_ms, entered, outputs


def simulate_to_file(
    script: Script, out: Path, floor: Floor | None = None, progress: Progress | None = None,
    policy: PolicyName = "plan", parameters: Parameters = USUAL,
) -> Companion:  # fmt: skip
    """Simulate a script into a fixture and its companion. The same script gives the same bytes.

    Inputs that the engine refused are left out, as a journal would; duplicate pings are kept, so that a replay meets
    them too.

    Args:
        out: NAME.ndjson.zst; NAME.json is written beside it.
        floor: the malls to choose from; the four demo malls if None.
        progress: told the share done, now and then.
        policy: who gives the orders out.
        parameters: what the world is made of; written into the header, unless they are the usual ones.

    Raises:
        ConfigurationError: the script names a mall that is not on the floor, or the demo malls cannot be read.
        OSError: a file cannot be written.
    """
    floor = only_malls(floor or demo_floor(), script.mall_ids)
    world, engine, tally = world_of(script, floor, parameters=parameters), Engine(floor), _Tally()
    header = Header(
        schema=SCHEMA, malls=floor.geojson(), settings=engine.settings, made_by="mallard simulate", licence=LICENCE,
        story=script.story.sentence, start_ms=world.play_ms, seed=script.seed,
        parameters=None if parameters == USUAL else msgspec.to_builtins(parameters),
    )  # fmt: skip
    told_ms = world.start_ms
    with FixtureWriter(out, header) as fixture:
        for at_ms, entered, outputs in run(world, engine, policy):
            if not (outputs and isinstance(outputs[0], Refused)):
                fixture.write(at_ms, entered)
                tally.count(entered)
            if progress is not None and at_ms - told_ms >= TOLD_EVERY_MS:
                told_ms = at_ms
                progress((at_ms - world.start_ms) / (world.end_ms - world.start_ms))
    counts = Counts(tally.drivers, tally.orders, tally.pings, tally.inputs)
    length_ms = world.end_ms - world.play_ms
    companion = Companion(script.story.sentence, length_ms, counts, kpis(engine.state, None), state_hash(engine.state))
    write_companion(out, companion)
    return companion
