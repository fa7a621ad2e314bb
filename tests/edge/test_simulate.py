"""A world into a file: the same bytes each time, and a replay that arrives where the simulation ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import Ping, PingTaken, Refused
from streamer.core.malls import parse_malls
from streamer.core.snapshot import state_hash
from streamer.edge.recordings.fixtures import Companion, FixtureReader, read_companion
from streamer.edge.simulation.to_file import simulate_to_file
from streamer.edge.simulation.worlds import named_script, plain_script
from streamer.sim.incidents import DriverTrouble, Incidents
from streamer.sim.stories import MINUTE_MS, Script

T0 = 1_794_693_600_000


def a_script(seed: int = 5, *troubles: DriverTrouble) -> Script:
    plain = plain_script(["baybrook"], drivers=8, orders=30, hours=0.3, seed=seed, play_ms=T0)
    return replace(plain, story=replace(plain.story, incidents=Incidents(drivers=troubles)))


def test_the_same_script_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / f"{name}.ndjson.zst" for name in ("one", "two", "other"))
    for path, seed in ((one, 5), (two, 5), (other, 6)):
        simulate_to_file(a_script(seed), path)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != other.read_bytes()
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_the_bytes_do_not_depend_on_how_strings_are_hashed(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from streamer.edge.simulation.to_file import simulate_to_file\n"
        "from streamer.edge.simulation.worlds import plain_script\n"
        "simulate_to_file(plain_script(['baybrook'], 8, 30, 0.3, 5, 1794693600000), pathlib.Path(sys.argv[1]))"
    )
    made = []
    for seed in ("1", "2"):
        path = tmp_path / f"{seed}.ndjson.zst"
        subprocess.run([sys.executable, "-c", program, path], env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        made.append(path.read_bytes())
    assert made[0] == made[1]


def test_a_replay_arrives_where_the_simulation_ended(tmp_path: Path) -> None:
    path = tmp_path / "day.ndjson.zst"
    silent = DriverTrouble("silent", 0, 0, 12 * MINUTE_MS, True)
    told = simulate_to_file(a_script(5, DriverTrouble("duplicates", 1, 0, 18 * MINUTE_MS), silent), path)
    assert read_companion(path) == told
    with FixtureReader(path) as reader:
        engine = Engine(parse_malls(reader.header.malls), reader.header.settings)
        outputs = [(line.input, engine.handle(line.at_ms, line.input)) for line in reader]
    assert state_hash(engine.state) == told.hash
    assert not any(out and isinstance(out[0], Refused) for _, out in outputs)
    duplicates = [
        one
        for one, out in outputs
        if isinstance(one, Ping) and isinstance(out[0], PingTaken) and out[0].verdict == "duplicate"
    ]
    assert len(duplicates) > 20


def test_the_header_says_what_was_simulated(tmp_path: Path) -> None:
    path = tmp_path / "day.ndjson.zst"
    script = a_script()
    told: Companion = simulate_to_file(script, path)
    with FixtureReader(path) as reader:
        header = reader.header
        first = next(iter(reader))
    assert (header.seed, header.start_ms, header.licence) == (5, T0, "CC0-1.0")
    assert header.story == told.story == script.story.sentence
    assert list(parse_malls(header.malls).malls) == ["baybrook"]
    assert first.at_ms == T0 - script.story.warmup_ms
    assert told.length_ms == round(0.3 * 3_600_000)


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    told: list[float] = []
    simulate_to_file(a_script(), tmp_path / "day.ndjson.zst", progress=told.append)
    assert told == sorted(told)
    assert len(told) > 50
    assert 0.95 < told[-1] <= 1.0


def test_nothing_is_left_of_a_fixture_that_could_not_be_finished(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        if share > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_to_file(a_script(), tmp_path / "day.ndjson.zst", progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"drivers": 0}, "drivers must be between 1 and 2000, not 0"),
        ({"drivers": 2_001}, "drivers must be"),
        ({"orders": -1}, "orders must be"),
        ({"hours": 0.0}, "hours must be"),
        ({"hours": float("nan")}, "hours must be"),
        ({"hours": 1e9}, "hours must be"),
        ({"seed": -1}, "seed must be"),
        ({"mall_ids": []}, "at least one mall"),
    ],
)
def test_numbers_out_of_bounds_are_refused(numbers: dict[str, object], reason: str) -> None:
    usual = {"mall_ids": ["baybrook"], "drivers": 5, "orders": 5, "hours": 1.0, "seed": 1, "play_ms": T0}
    with pytest.raises(ConfigurationError, match=reason):
        plain_script(**{**usual, **numbers})  # type: ignore[arg-type]


def test_an_unknown_mall_or_story_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no mall galleria; known: fashion-show"):
        simulate_to_file(plain_script(["galleria"], 5, 5, 1.0, 1, T0), tmp_path / "day.ndjson.zst")
    with pytest.raises(ConfigurationError, match="there is no story sunday; known: saturday-rush"):
        named_script("sunday")


def test_another_policy_makes_another_day_of_the_same_shoppers(tmp_path: Path) -> None:
    made = {
        policy: simulate_to_file(a_script(), tmp_path / f"{policy}.ndjson.zst", policy=policy)
        for policy in ("plan", "nearest")
    }
    assert made["plan"].counts.orders == made["nearest"].counts.orders
    assert made["plan"].hash != made["nearest"].hash
