"""A small world to test with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct, field

from streamer.core.engine import Engine
from streamer.core.events import Input, Output, Refused
from streamer.core.malls import Floor, parse_malls
from streamer.sim.incidents import Incidents
from streamer.sim.policy import Dispatcher, store_words
from streamer.sim.stories import MINUTE_MS
from streamer.sim.town import Span, Town
from streamer.sim.world import HOUR_MS, STEP_MS, Story, World

T0 = 1_794_693_600_000
MALLS = Path(__file__).parents[2] / "fixtures" / "malls.geojson"


class Lived(Struct):
    """A world lived to its end with an engine: every input with its outputs, and the engine as it was left."""

    world: World
    engine: Engine
    lines: list[tuple[int, Input, tuple[Output, ...]]] = field(default_factory=list)

    def play(self, at_ms: int) -> float:
        """Minutes after play begins."""
        return (at_ms - self.world.play_ms) / MINUTE_MS

    def refused(self) -> list[tuple[Input, Refused]]:
        return [(entered, out[0]) for _, entered, out in self.lines if out and isinstance(out[0], Refused)]


def live(world: World, engine: Engine, until_ms: int | None = None) -> Lived:
    """As `streamer.edge.simulation.to_file.run`, which the tests below the edge cannot import."""
    lived = Lived(world, engine)
    dispatcher = Dispatcher(world.play_ms, world.story.acts)
    for at_ms in range(world.start_ms, (until_ms or world.end_ms) + 1, STEP_MS):
        words = store_words(engine, world.newly_ready(at_ms))
        for decided in words:
            lived.lines.append((at_ms, decided, engine.handle(at_ms, decided)))
        for entered in (*dispatcher.decide(engine, at_ms), *world.step(at_ms)):
            outputs = engine.handle(at_ms, entered)
            world.learn(outputs)
            lived.lines.append((at_ms, entered, outputs))
    return lived


@pytest.fixture(scope="session")
def floor() -> Floor:
    return parse_malls(json.loads(MALLS.read_text()))


@pytest.fixture
def town(floor: Floor) -> Town:
    span = Span(T0, T0, T0 + HOUR_MS)
    return Town(floor.malls["fashion-show"], 5, 0, span, 60, Incidents(), 1001)


@pytest.fixture
def lively(floor: Floor) -> Callable[..., Lived]:
    """Lives a small world with any story; `until_ms` counts from its beginning."""

    def run(story: Story | None = None, drivers: int = 6, orders: int = 20, hours: float = 0.5, seed: int = 3) -> Lived:
        world = World(floor, ("baybrook",), seed, T0, hours, drivers, orders, story)
        return live(world, Engine(floor))

    return run
