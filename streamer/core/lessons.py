"""What a mall has taught the floor, as people and programs are shown it: stores, driving, and how true ETAs were.

It must not know who asks, nor change what was learned.
"""

from math import exp

from msgspec import Struct

from streamer.core.estimates import Belief, Quantiles, shrunk
from streamer.core.forecast import (
    DRIVE_HOUR_WEIGHT,
    DRIVE_PRIOR,
    DRIVE_WEIGHT,
    LEAVE_PRIOR,
    LEAVE_WEIGHT,
    UNKNOWN_MALL,
    UNKNOWN_STORE,
    Forecast,
    speaking_share,
)
from streamer.core.learned import EtaScore, MallLearned, Score
from streamer.core.malls import Mall
from streamer.core.state import State, Tally


class StoreLesson(Struct, frozen=True):
    """One store: what is expected of a promise for now, and how that did. Durations in ms, None before the first.

    `late_ms` is ready less promised, with the standard deviation of the next order about it. `promise_error_ms` and
    `learned_error_ms` are mean absolute errors of the promise and of the forecast made with it, over `scored` orders.
    """

    store_id: str
    name: str
    late_ms: int
    sd_ms: int
    orders: float
    """How many orders stand behind it, older ones fading."""
    speaks: float
    """The share of orders of which it says that they are ready, 0-1."""
    scored: int
    promise_error_ms: int | None
    learned_error_ms: int | None


class HourLesson(Struct, frozen=True):
    """Driving at an hour of the UTC day: actual over model time."""

    utc_hour: int
    factor: float
    drives: float


class DriveLesson(Struct, frozen=True):
    """Driving to doors: actual over model time, its spread as a share, and mean absolute percentage errors (0-1)."""

    factor: float
    spread: float
    drives: float
    pairs: int
    """Pairs of hexes remembered."""
    hours: tuple[HourLesson, ...]
    leave_ms: int
    """From the last pick-up to the mall's edge, beyond the walk."""
    scored: int
    model_error: float | None
    learned_error: float | None


class EtaLesson(Struct, frozen=True):
    """Deliveries against an ETA said once, and the ends of the next interval in predicted standard deviations."""

    scored: int
    inside_share: float | None
    error_ms: int | None
    width_ms: int | None
    low: float
    high: float


class Lessons(Struct, frozen=True):
    """All that one mall has taught."""

    mall_id: str
    learning: bool
    """Whether it goes on."""
    used: bool
    """Whether ETAs rest on it."""
    stores: tuple[StoreLesson, ...]
    ready_scored: int
    ready_promise_error_ms: int | None
    ready_learned_error_ms: int | None
    drive: DriveLesson
    eta_assigned: EtaLesson
    """As said when an order was given to the driver who delivered it."""
    eta_aboard: EtaLesson
    """As said when it was collected."""


def lessons(state: State, mall: Mall, forecast: Forecast) -> Lessons:
    """What was learned at a mall up to now."""
    known = state.learned.malls.get(mall.id, UNKNOWN_MALL)
    tally = state.tallies.get(mall.id) or Tally()
    return Lessons(
        mall.id,
        forecast.rules.learn,
        forecast.rules.use,
        tuple(_store(known, mall, place.id, place.name, forecast, state.at_ms) for place in mall.stores),
        known.ready_score.n,
        *_errors_ms(known.ready_score),
        _drive(known),
        _eta(tally.eta_assigned, known.assigned),
        _eta(tally.eta_aboard, known.aboard),
    )


def _store(known: MallLearned, mall: Mall, store_id: str, name: str, forecast: Forecast, at_ms: int) -> StoreLesson:
    belief = forecast.store_belief(mall.id, store_id, at_ms)
    store = known.stores.get(store_id, UNKNOWN_STORE)
    return StoreLesson(
        store_id, name, round(belief.mean), round(belief.sd), round(store.any_hour.weight, 2),
        round(speaking_share(store), 3),
        store.score.n, *_errors_ms(store.score),
    )  # fmt: skip


def _drive(known: MallLearned) -> DriveLesson:
    belief, score = shrunk(DRIVE_PRIOR, known.drive, DRIVE_WEIGHT), known.drive_score
    hours = tuple(
        HourLesson(hour, round(exp(shrunk(belief, own, DRIVE_HOUR_WEIGHT).mean), 3), round(own.weight, 2))
        for hour, own in sorted(known.drive_hours.items())
    )
    leave: Belief = shrunk(LEAVE_PRIOR, known.leave, LEAVE_WEIGHT)
    return DriveLesson(
        round(exp(belief.mean), 3), round(belief.sd, 3), round(known.drive.weight, 2), len(known.drive_pairs), hours,
        max(0, round(leave.mean)), score.n,
        round(score.plain / score.n, 4) if score.n else None, round(score.learned / score.n, 4) if score.n else None,
    )  # fmt: skip


def _eta(score: EtaScore, misses: Quantiles) -> EtaLesson:
    ends = round(misses.low, 3), round(misses.high, 3)
    if not score.n:
        return EtaLesson(0, None, None, None, *ends)
    return EtaLesson(
        score.n, round(score.inside / score.n, 4), score.miss_ms // score.n, score.width_ms // score.n, *ends
    )


def _errors_ms(score: Score) -> tuple[int | None, int | None]:
    return (round(score.plain / score.n), round(score.learned / score.n)) if score.n else (None, None)
