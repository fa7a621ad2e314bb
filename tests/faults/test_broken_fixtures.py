"""Fixtures with bytes flipped, cut or put in, and with lines that are JSON but not sense: refused or played, never a
traceback. The known kinds are in tests/edge/test_broken_fixtures.py.
"""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from streamer.core.errors import MallardError
from streamer.edge.recordings.replay import replay
from tests.edge.broken_fixtures import hurt_bytes, odd_lines, packed, place, played, whole_lines
from tests.faults.evidence import Evidence
from tests.faults.scale import SCALE

__all__ = ["place", "whole_lines"]
EXAMPLES = max(40, SCALE.malformed // 40)
PLAYED = max(20, EXAMPLES // 10)
"""A floor that plays costs some ten times as much as a replay."""


def relaxed(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kind", ["bytes", "lines"])
def test_no_broken_fixture_does_more_than_be_refused(
    whole_lines: list[str], place: Path, kind: str, evidence: Evidence
) -> None:
    fates: Counter[str] = Counter()
    broken = hurt_bytes(packed(whole_lines)) if kind == "bytes" else odd_lines(whole_lines).map(packed)

    @relaxed(EXAMPLES)
    @given(broken)
    def run(content: bytes) -> None:
        place.write_bytes(content)
        try:
            replay(place)
        except MallardError:
            fates["refused"] += 1
        else:
            fates["replayed"] += 1

    run()
    evidence(f"fixtures with broken {kind}", fates.total(), refused=fates["refused"], replayed=fates["replayed"])


@pytest.mark.timeout(3_600)
def test_a_floor_that_plays_a_broken_fixture_refuses_it_or_goes_on(
    whole_lines: list[str], place: Path, evidence: Evidence
) -> None:
    fates: Counter[str] = Counter()

    @relaxed(PLAYED)
    @given(odd_lines(whole_lines))
    def run(lines: list[str]) -> None:
        place.write_bytes(packed(lines))
        try:
            asyncio.run(asyncio.wait_for(played(place), 60))
        except MallardError:
            fates["refused"] += 1
        else:
            fates["played"] += 1

    run()
    evidence("broken fixtures on a floor", fates.total(), refused=fates["refused"], played=fates["played"])


def test_what_is_whole_is_played(whole_lines: list[str], place: Path) -> None:
    """Or else all of the above would be refused for another reason."""
    place.write_bytes(packed(whole_lines))
    assert replay(place).inputs == len(whole_lines) - 1
    assert asyncio.run(played(place)) > 0
