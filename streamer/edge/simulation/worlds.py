"""From a script, a named story's or one made of a few numbers, to the world it describes.

It must not know files being written or sockets being opened.
"""

from collections.abc import Sequence

import msgspec

from streamer.core.errors import ConfigurationError
from streamer.core.malls import Floor, parse_malls
from streamer.edge.recordings.fixtures import demo_malls_path
from streamer.sim.parameters import USUAL, Parameters
from streamer.sim.stories import MINUTE_MS, STORIES, Script
from streamer.sim.world import HOUR_MS, Story, World

LEAST_HOURS = 0.01
MOST_DRIVERS, MOST_ORDERS, MOST_HOURS = 2_000, 50_000, 48.0
"""Beyond these a run is a slip of the finger: it would take hours and fill the disk."""


def demo_floor() -> Floor:
    """Read the four demo malls.

    Raises:
        FixtureError: the file is not installed.
        MallFileError: it is damaged.
    """
    return parse_malls(msgspec.json.decode(demo_malls_path().read_bytes()))


def only_malls(floor: Floor, mall_ids: Sequence[str]) -> Floor:
    """The floor reduced to some malls, in that order.

    Raises:
        ConfigurationError: a mall is not on the floor.
    """
    for mall_id in mall_ids:
        if mall_id not in floor.malls:
            raise ConfigurationError(f"there is no mall {mall_id}; known: {', '.join(floor.malls)}")
    return Floor({mall_id: floor.malls[mall_id] for mall_id in mall_ids})


def named_script(name: str) -> Script:
    """The script of one of the fixtures.

    Raises:
        ConfigurationError: there is no such story.
    """
    if name not in STORIES:
        raise ConfigurationError(f"there is no story {name}; known: {', '.join(STORIES)}")
    return STORIES[name]


def plain_script(mall_ids: Sequence[str], drivers: int, orders: int, hours: float, seed: int, play_ms: int) -> Script:
    """A day without scripted trouble, with the fixtures' warm-up before it.

    Args:
        hours: length of play; the warm-up comes before it.
        play_ms: when play begins, UTC epoch ms; shoppers order by the hour of the day there.

    Raises:
        ConfigurationError: a number is out of bounds, or no mall is named.
    """
    bounds = (("drivers", drivers, 1, MOST_DRIVERS), ("orders", orders, 0, MOST_ORDERS),
              ("hours", hours, LEAST_HOURS, MOST_HOURS), ("seed", seed, 0, 2**53))  # fmt: skip
    for what, value, least, most in bounds:
        if not least <= value <= most:
            raise ConfigurationError(f"{what} must be between {least} and {most}, not {value}")
    if not mall_ids:
        raise ConfigurationError("name at least one mall")
    # Whole seconds: the world lives in steps of one.
    play_ms = play_ms // 1000 * 1000
    story = Story(sentence=f"A simulated day at {', '.join(mall_ids)}, seed {seed}.", warmup_ms=25 * MINUTE_MS)
    return Script("simulated", tuple(mall_ids), seed, play_ms, hours, drivers, orders, story)


def world_of(script: Script, floor: Floor, first_number: int = 0, parameters: Parameters = USUAL) -> World:
    """The world of a script, its warm-up included; `first_number` and `parameters` as in `World`."""
    warmup_ms = script.story.warmup_ms
    return World(
        floor, script.mall_ids, script.seed, script.play_ms - warmup_ms, script.hours + warmup_ms / HOUR_MS,
        script.drivers, script.orders, script.story, first_number=first_number, parameters=parameters,
    )  # fmt: skip
