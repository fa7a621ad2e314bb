"""What is to be expected by what the floor has learned: when a store is ready, how long a drive takes, and how surely.

It must not know how that was learned, nor change any of it. Everything is for planners too: expected times and their
standard deviations, in milliseconds. Hours are those of UTC: the core has no time zone database, and an hour of UTC is
always the same hour of one mall's day but for the two nights a year on which clocks change.
"""

from math import exp, sqrt

import h3.api.basic_int as h3
from msgspec import Struct

from streamer.core.estimates import Belief, Moments, above, later_of, shrunk
from streamer.core.learned import Learned, MallLearned, StoreLearned
from streamer.core.settings import LearningRules
from streamer.core.state import Order
from streamer.core.travel import Travel

HOUR_MS = 3_600_000
PAIR_RES = 7
"""Some 5 km² a hex, a neighbourhood: fine enough for a freeway or a river, coarse enough to be driven often."""

READY_PRIOR = Belief(0.0, (6 * 60_000.0) ** 2, 4.0)
"""Before anything is known stores keep their promises, give or take six minutes (assumed; learned within a day)."""
DRIVE_PRIOR = Belief(0.0, 0.25**2, 4.0)
"""The model is right but for a quarter (assumed)."""
LEAVE_PRIOR, LEAVE_WEIGHT = Belief(0.0, 60_000.0**2, 1.0), 4.0
"""From the last pick-up to the mall's edge it takes the walk out and nothing more, give or take a minute (assumed)."""
MALL_WEIGHT, STORE_WEIGHT, STORE_HOUR_WEIGHT = 4.0, 4.0, 6.0
"""How many orders the level above is worth: stores differ by a third of their spread or more, hours by less."""
DRIVE_WEIGHT, DRIVE_HOUR_WEIGHT, PAIR_WEIGHT = 10.0, 10.0, 4.0
SPEAKS_PRIOR, SPEAKS_WEIGHT = 0.8, 4.0
"""Most stores say when an order is ready (assumed)."""

PARK_SPREAD, WALK_SPREAD, SERVICE_SPREAD = 0.4, 0.25, 0.4
"""Standard deviation over mean of what the rules plan with (assumed; misses of the whole ETA correct their sum)."""
CELLS_KEPT = 20_000
LEAST_SD_MS = 20_000.0
"""No ETA is surer than this: a report is pressed sooner or later."""


NOTHING, UNKNOWN_STORE, UNKNOWN_MALL = Moments(), StoreLearned(), MallLearned()
"""What is known of what has not been seen yet; never written to."""


class Expected(Struct, frozen=True):
    """An instant or a duration as it is expected, and its standard deviation; milliseconds."""

    expected_ms: int
    sd_ms: int


class Forecast:
    """Reads what was learned. With `rules.use` off: promises and the model as they are, and no spread."""

    def __init__(self, travel: Travel, learned: Learned, rules: LearningRules) -> None:
        self.travel = travel
        self.learned = learned
        self.rules = rules
        # Asked for on every tick of every route, and changed only when something is learned: see `forget_stores`.
        self._cells: dict[tuple[float, float], int] = {}
        self._habits: dict[tuple[str, str, int], tuple[float, float, float]] = {}
        self._drives: dict[tuple[str, int, float, float, float, float], tuple[int, float]] = {}
        self._paces: dict[tuple[str, int, int, int], tuple[float, float]] = {}

    def forget_stores(self) -> None:
        """Something was learned of a store: what was worked out before is not to be used again."""
        self._habits.clear()

    def forget_drives(self) -> None:
        """Something was learned of driving: likewise."""
        self._paces.clear()
        self._drives.clear()

    # ------------------------------------------------------------ stores

    def ready(self, order: Order, at_ms: int) -> Expected:
        """When the order can be handed out: as its store said, or as expected now that it has not said so yet.

        An order without a promise counts as ready now.
        """
        to_go_ms, variance = self.ready_in(order, at_ms)
        return Expected(at_ms + round(to_go_ms), round(sqrt(variance)))

    def ready_in(self, order: Order, at_ms: int) -> tuple[float, float]:
        """As `ready`, but from `at_ms` on and unrounded, with the variance in ms²; of several stores the last counts.

        Instants are too large for the last digits of a float: everything unsure is counted from now.
        """
        if order.is_ready or order.ready_ms is None:
            return float(order.ready_ms - at_ms if order.ready_ms is not None else 0), 0.0
        if not self.rules.use:
            return float(order.ready_ms - at_ms), 0.0
        to_go_ms, variance = self._store_ready(order.mall_id, order.stores[0], order.ready_ms, at_ms)
        for store_id in order.stores[1:]:
            other = self._store_ready(order.mall_id, store_id, order.ready_ms, at_ms)
            to_go_ms, variance = later_of(to_go_ms, variance, *other)
        return to_go_ms, variance

    def wait(self, order: Order, now_ms: int, at_ms: int, variance: float) -> tuple[int, float]:
        """How long who comes to the counter at `at_ms`, give or take `variance` (ms²), waits there for the order.

        Returns the wait and the variance of its end. Both instants being unsure, some wait is to be expected even if
        the store is expected to be ready first.
        """
        if order.is_ready or order.ready_ms is None:
            return 0, variance
        there_ms = float(at_ms - now_ms)
        end_ms, end_variance = later_of(there_ms, variance, *self.ready_in(order, now_ms))
        return max(0, round(end_ms - there_ms)), end_variance

    def promised(self, order: Order) -> int | None:
        """When an order will be ready, told by nothing but its promise and what was learned before it."""
        if order.ready_ms is None:
            return None
        beliefs = [self.store_belief(order.mall_id, store_id, order.ready_ms) for store_id in order.stores]
        late_ms, variance = beliefs[0].mean, beliefs[0].sd ** 2
        for belief in beliefs[1:]:
            late_ms, variance = later_of(late_ms, variance, belief.mean, belief.sd**2)
        return order.ready_ms + round(late_ms)

    def store_belief(self, mall_id: str, store_id: str, promise_ms: int) -> Belief:
        """How late (ms) a store is with a promise for that hour: prior, mall, store, its hour, each on the last."""
        mall = self.learned.malls.get(mall_id, UNKNOWN_MALL)
        store = mall.stores.get(store_id, UNKNOWN_STORE)
        belief = shrunk(shrunk(READY_PRIOR, mall.ready, MALL_WEIGHT), store.any_hour, STORE_WEIGHT)
        return shrunk(belief, store.hours.get(hour_of(promise_ms), NOTHING), STORE_HOUR_WEIGHT)

    def speaks(self, mall_id: str, store_id: str) -> float:
        """The share of orders of which the store says that they are ready."""
        return speaking_share(self.learned.malls.get(mall_id, UNKNOWN_MALL).stores.get(store_id, UNKNOWN_STORE))

    def _store_ready(self, mall_id: str, store_id: str, promise_ms: int, at_ms: int) -> tuple[float, float]:
        """Mean and variance of how long after `at_ms` a store is ready, it being silent until then.

        Silence proves something only of a store that speaks: the share that does is moved to what is expected beyond
        now, the rest is left where it was.
        """
        key = (mall_id, store_id, hour_of(promise_ms))
        habit = self._habits.get(key)
        if habit is None:
            belief = self.store_belief(mall_id, store_id, promise_ms)
            habit = self._habits[key] = belief.mean, belief.sd, self.speaks(mall_id, store_id)
        late, sd, share = habit
        mean = promise_ms - at_ms + late
        later, later_variance = above(mean, sd, 0.0)
        variance = share * later_variance + (1.0 - share) * sd * sd + share * (1.0 - share) * (later - mean) ** 2
        return share * later + (1.0 - share) * mean, variance

    # ------------------------------------------------------------ driving

    def drive(self, mall_id: str, at_ms: int, lat1: float, lng1: float, lat2: float, lng2: float) -> Expected:
        """How long a driver of this mall takes from one point to another when setting off at `at_ms`."""
        expected_ms, variance = self.drive_of(mall_id, at_ms, lat1, lng1, lat2, lng2)
        return Expected(expected_ms, round(sqrt(variance)))

    def drive_of(
        self, mall_id: str, at_ms: int, lat1: float, lng1: float, lat2: float, lng2: float
    ) -> tuple[int, float]:
        """As `drive`, with the variance in ms²."""
        if not self.rules.use:
            return self.travel.drive_ms(lat1, lng1, lat2, lng2), 0.0
        # Most legs of a route are from door to door, and the same on every tick.
        leg = (mall_id, at_ms // HOUR_MS, lat1, lng1, lat2, lng2)
        drive = self._drives.get(leg)
        if drive is None:
            if len(self._drives) >= CELLS_KEPT:
                self._drives.clear()
            drive = self._drives[leg] = self._worked_out(mall_id, at_ms, lat1, lng1, lat2, lng2)
        return drive

    def _worked_out(
        self, mall_id: str, at_ms: int, lat1: float, lng1: float, lat2: float, lng2: float
    ) -> tuple[int, float]:
        key = (mall_id, hour_of(at_ms), self._cell(lat1, lng1), self._cell(lat2, lng2))
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= CELLS_KEPT:
                self._paces.clear()
            belief = self.drive_belief(mall_id, at_ms, lat1, lng1, lat2, lng2)
            pace = self._paces[key] = exp(belief.mean), belief.variance * (1.0 + 1.0 / belief.weight)
        expected = self.travel.drive_ms(lat1, lng1, lat2, lng2) * pace[0]
        return round(expected), expected * expected * pace[1]

    def drive_belief(self, mall_id: str, at_ms: int, lat1: float, lng1: float, lat2: float, lng2: float) -> Belief:
        """log(actual / model) of such a drive: prior, mall, hour, pair of hexes, each resting on the last."""
        mall = self.learned.malls.get(mall_id, UNKNOWN_MALL)
        by_hour = hour_belief(mall, at_ms)
        pair = mall.drive_pairs.get(self.pair(lat1, lng1, lat2, lng2), NOTHING)
        left = shrunk(Belief(0.0, by_hour.variance, by_hour.weight), pair, PAIR_WEIGHT)
        return Belief(by_hour.mean + left.mean, left.variance, left.weight)

    def pace(self, mall_id: str, at_ms: int) -> float:
        """Actual over model driving time at a mall in this hour; 1 when nothing is made of what was learned."""
        if not self.rules.use:
            return 1.0
        return exp(hour_belief(self.learned.malls.get(mall_id, UNKNOWN_MALL), at_ms).mean)

    def pair(self, lat1: float, lng1: float, lat2: float, lng2: float) -> str:
        """The pair of hexes a drive goes from and to, as text."""
        return f"{self._cell(lat1, lng1):x}-{self._cell(lat2, lng2):x}"

    def _cell(self, lat: float, lng: float) -> int:
        """Stops are asked for again and again, so their cells are kept a while; forgetting them costs only time."""
        cell = self._cells.get((lat, lng))
        if cell is None:
            if len(self._cells) >= CELLS_KEPT:
                self._cells.clear()
            cell = self._cells[lat, lng] = h3.latlng_to_cell(lat, lng, PAIR_RES)
        return cell

    def leave_of(self, mall_id: str) -> tuple[int, float]:
        """What it takes to get out of a mall beyond the walk: loading, the lot. Mean (ms, never below 0), variance."""
        if not self.rules.use:
            return 0, 0.0
        mall = self.learned.malls.get(mall_id, UNKNOWN_MALL)
        belief = shrunk(LEAVE_PRIOR, mall.leave, LEAVE_WEIGHT)
        return max(0, round(belief.mean)), belief.variance

    # ------------------------------------------------------------ ETAs

    def doubt(self, planned_ms: int, spread: float) -> float:
        """The variance (ms²) of what is planned with `planned_ms`; none where nothing is made of it."""
        return (planned_ms * spread) ** 2 if self.rules.use else 0.0

    def interval(self, mall_id: str, on_board: bool, eta_ms: int, sd_ms: float, at_ms: int) -> tuple[int, int] | None:
        """Between when and when four of five such deliveries come, by this mall's own misses; None without a spread."""
        if not self.rules.use:
            return None
        known = self.learned.malls.get(mall_id, UNKNOWN_MALL)
        misses = known.aboard if on_board else known.assigned
        low_ms = eta_ms + round(misses.low * sd_ms)
        high_ms = eta_ms + round(misses.high * sd_ms)
        return min(eta_ms, max(at_ms, low_ms)), max(eta_ms, high_ms)


def hour_of(at_ms: int) -> int:
    """The hour of the UTC day, 0-23."""
    return at_ms // HOUR_MS % 24


def hour_belief(mall: MallLearned, at_ms: int) -> Belief:
    """log(actual / model) of any drive of a mall at that hour."""
    belief = shrunk(DRIVE_PRIOR, mall.drive, DRIVE_WEIGHT)
    return shrunk(belief, mall.drive_hours.get(hour_of(at_ms), NOTHING), DRIVE_HOUR_WEIGHT)


def speaking_share(store: StoreLearned) -> float:
    """The share of orders of which a store says that they are ready, 0-1."""
    own = store.speaks
    return (own.weight * own.mean + SPEAKS_WEIGHT * SPEAKS_PRIOR) / (own.weight + SPEAKS_WEIGHT)
