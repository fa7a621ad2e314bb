"""Fits a world's parameters to a fixture or a live journal, and judges the fit by the part that was held out.

It must not know how anything is estimated; `sim.calibration` does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import Input
from streamer.core.malls import parse_malls
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.recovery import first_state
from streamer.edge.recordings.fixtures import FixtureReader
from streamer.edge.recordings.replay import blaming, floor_of
from streamer.sim.calibration.check import Check, check
from streamer.sim.calibration.drives import references
from streamer.sim.calibration.fit import fit
from streamer.sim.calibration.fitter import Row
from streamer.sim.calibration.observed import Observed, Watcher
from streamer.sim.parameters import USUAL, Parameters

HeldOut = Literal["time", "drivers"]
FITTED_SHARE = 0.7
"""Of the recording's time, from its beginning; the rest is held out."""
EVERY = 3
"""With `drivers`, one of so many is held out."""
BY_STORE = frozenset({"readiness", "orders"})
"""What belongs to no driver: its last part is always held out, by its own count."""
TOWNS = 3
PROGRESS_EVERY = 5_000


class Calibrated(Struct, frozen=True):
    """What came of it. `judged_on` says what was held out."""

    source: str
    judged_on: str
    parameters: Parameters
    rows: list[Row]
    checks: list[Check]


def calibrate(
    source: Path, held_out: HeldOut = "time", before: Parameters = USUAL, progress: Callable[[int], None] | None = None
) -> Calibrated:
    """Fit parameters to a recording.

    Args:
        source: a fixture, or the directory of a journal (also of a running server).
        held_out: judge by the last part of the time, or by every third driver.
        before: what a parameter stays that too little is seen of.
        progress: told now and then how many inputs were read.

    Raises:
        ConfigurationError: the recording is damaged, or too little is in it; or it is no recording.
        JournalDamagedError: the journal has a hole or a damaged row.
    """
    engine, seen = observe(source, progress)
    keep = _fitted_part(seen, held_out)
    malls = [engine.floor.malls[mall_id] for mall_id in sorted({drive.mall_id for drive in seen.drives})]
    fitted, unseen = seen.part(keep), seen.part(lambda name, at_ms, who: not keep(name, at_ms, who))
    known = references(malls, before, TOWNS)
    fitter = fit(fitted, known, before)
    checks = check(unseen, known, before, fitter.parameters)
    if not checks:
        raise ConfigurationError("too little to judge the fit by: nothing was seen often enough in what was held out")
    judged_on = "the last 30 % of the time" if held_out == "time" else "every third driver"
    return Calibrated(source.name, judged_on, fitter.parameters, fitter.rows, checks)


def observe(source: Path, progress: Callable[[int], None] | None = None) -> tuple[Engine, Observed]:
    """Run a recording through an engine and collect what it shows."""
    with _opened(source) as (engine, lines), blaming(source):
        watcher = Watcher(engine)
        for number, (at_ms, entered) in enumerate(lines, 1):
            watcher.see(at_ms, entered, engine.handle(at_ms, entered))
            if progress is not None and number % PROGRESS_EVERY == 0:
                progress(number)
        return engine, watcher.finish()


@contextmanager
def _opened(source: Path) -> Iterator[tuple[Engine, Iterator[tuple[int, Input]]]]:
    if not source.is_dir():
        with FixtureReader(source) as fixture:
            yield floor_of(fixture.header, fixture.header.start_ms), ((line.at_ms, line.input) for line in fixture)
        return
    reader = JournalReader(source)
    try:
        state = first_state(reader)
        engine = Engine(parse_malls(reader.header.malls), reader.header.settings, state)
        yield engine, ((entry.at_ms, entry.input) for entry in reader.entries(state.seq))
    finally:
        reader.close()


def _fitted_part(seen: Observed, held_out: HeldOut) -> Callable[[str, int, str], bool]:
    until_ms = seen.first_ms + FITTED_SHARE * (seen.last_ms - seen.first_ms)
    drivers = sorted({sample.who for sample in seen.latency_ms})
    kept = {who for number, who in enumerate(drivers) if number % EVERY}
    own_ms = {name: _instant_of_share([sample.at_ms for sample in getattr(seen, name)]) for name in BY_STORE}

    def keep(name: str, at_ms: int, who: str) -> bool:
        if name in BY_STORE:
            return at_ms <= own_ms[name]
        return who in kept if held_out == "drivers" else at_ms <= until_ms

    return keep


def _instant_of_share(instants: list[int]) -> int:
    """When `FITTED_SHARE` of some instants had passed."""
    return sorted(instants)[int(FITTED_SHARE * (len(instants) - 1))] if instants else 0
