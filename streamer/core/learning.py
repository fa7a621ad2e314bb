"""Learns from what happens: stores that are ready, doors that are reached, deliveries that come when they come.

It must not know how what is learned is used. It is told by the steps of the engine, never by a single ping.
"""

from collections.abc import Sequence
from math import exp, log

from streamer.core.estimates import Belief, Moments, below, density, under
from streamer.core.forecast import HOUR_MS, Forecast, hour_belief, hour_of
from streamer.core.geo import flat_m
from streamer.core.learned import EtaScore, Leg, MallLearned, Said, SaidEta, StoreLearned
from streamer.core.orders import ON_BOARD
from streamer.core.state import Driver, Order, Tally

WILD_MS = 4 * HOUR_MS
"""A store further than this off its promise has mistyped one of the two."""
SILENCE_MS = 90_000
"""A driver not heard for so long may have done anything, and is where its last fix says only until then."""
STILL_MS, STILL_M = 180_000, 60.0
"""Nobody stands at a light this long within this many metres: the driver stopped for something else."""
LONGEST_LEAVE_MS = 20 * 60_000
"""Who is still at the mall so long after the last pick-up does something else there."""
DOOR_M = 400.0
"""A driver says that it is at a door from within this distance, or it is not there."""
LEAST_MS = 60_000
"""A drive the model gives less is all start and stop."""
WILDEST = log(4.0)
"""A drive four times as long as the model's, or as short, was no drive."""


class Learning:
    """Writes what is learned into the state. All methods do nothing when `rules.learn` is off.

    Args:
        forecast: what was expected; each observation is first held against it, then learned from.
    """

    def __init__(self, forecast: Forecast) -> None:
        self.forecast = forecast
        self.learned = forecast.learned
        self.rules = forecast.rules

    # ------------------------------------------------------------ stores

    def promised(self, order: Order) -> None:
        """A store promised: remember what was made of it, to hold against what comes."""
        if self.rules.learn and not order.is_ready:
            said = _said(order)
            said.promise_ms, said.ready_ms = order.ready_ms, self.forecast.promised(order)

    def ready(self, order: Order, ready_ms: int) -> None:
        """The store said when it was ready; `order` is as it was before."""
        if self.rules.learn and not order.is_ready and order.ready_ms is not None:
            self._learn_ready(order, order.ready_ms, ready_ms, exact=True)

    def collected(self, order: Order, stood_since_ms: int | None, at_ms: int) -> None:
        """It was handed over; `order` is as it was before.

        Of a store that had not said a word this tells when it was ready only if the driver stood at the counter for
        it (`stood_since_ms`) longer than a handing over takes; otherwise no more than that it was ready by then.
        """
        if not self.rules.learn:
            return
        for store_id in order.stores:
            speaks = self._store(order.mall_id, store_id).speaks
            speaks.add(float(order.is_ready), self.rules.store_kept)
        self.forecast.forget_stores()
        if order.is_ready or order.ready_ms is None:
            return
        handing_ms = self.forecast.travel.rules.pickup_ms
        waited = stood_since_ms is not None and at_ms - stood_since_ms > 2 * handing_ms
        by_ms = at_ms - handing_ms if stood_since_ms is None or waited else min(at_ms - handing_ms, stood_since_ms)
        self._learn_ready(order, order.ready_ms, by_ms, exact=waited)

    def _learn_ready(self, order: Order, promise_ms: int, ready_ms: int, exact: bool) -> None:
        late = float(ready_ms - promise_ms)
        if abs(late) > WILD_MS:
            return
        mall = self.learned.mall(order.mall_id)
        if exact:
            self._score_ready(mall, order, promise_ms, ready_ms)
        beliefs = [self.forecast.store_belief(order.mall_id, store_id, promise_ms) for store_id in order.stores]
        shares = _last_shares(beliefs, late) if exact else [0.0] * len(beliefs)
        earliest = float(min(order.placed_ms - promise_ms, ready_ms - promise_ms))
        for store_id, belief, share in zip(order.stores, beliefs, shares, strict=True):
            store = self._store(order.mall_id, store_id)
            self._add_ready(mall, store, promise_ms, late, share, 0.0)
            if share < 1.0:
                # It was ready by then: the expected value under that ceiling, with the weight of what it tells.
                mean, variance = under(belief.mean, belief.sd, late)
                told = (1.0 - share) * max(0.0, 1.0 - variance / belief.sd**2)
                self._add_ready(mall, store, promise_ms, max(mean, earliest), told, variance)

    def _add_ready(
        self, mall: MallLearned, store: StoreLearned, promise_ms: int, late: float, weight: float, variance: float
    ) -> None:
        kept = self.rules.store_kept
        hour = store.hours.setdefault(hour_of(promise_ms), Moments())
        mall.ready.add(late, kept * 4.0, weight, variance)
        store.any_hour.add(late, kept, weight, variance)
        hour.add(late, kept, weight, variance)
        self.forecast.forget_stores()

    def _score_ready(self, mall: MallLearned, order: Order, promise_ms: int, ready_ms: int) -> None:
        """Holds promise and forecast against what came; the forecast is the one made with the promise."""
        said = order.said
        expected_ms = said.ready_ms if said is not None and said.promise_ms == promise_ms else None
        if expected_ms is None:
            expected_ms = self.forecast.promised(order) or promise_ms
        mall.ready_score.add(promise_ms - ready_ms, expected_ms - ready_ms)
        if len(order.stores) == 1:
            self._store(order.mall_id, order.stores[0]).score.add(promise_ms - ready_ms, expected_ms - ready_ms)

    def _store(self, mall_id: str, store_id: str) -> StoreLearned:
        return self.learned.mall(mall_id).stores.setdefault(store_id, StoreLearned())

    # ------------------------------------------------------------ driving

    def left_mall(self, driver: Driver, orders: Sequence[Order], walk_ms: int, at_ms: int) -> None:
        """A driver was seen to leave the mall with these; `walk_ms` is the way from the last counter to the car."""
        if self.rules.learn:
            mall = self.learned.mall(orders[0].mall_id)
            taken_ms = at_ms - max(order.picked_up_ms or 0 for order in orders) - walk_ms
            if taken_ms < LONGEST_LEAVE_MS:
                mall.leave.add(float(taken_ms), self.rules.drives_kept)
            self.set_off(driver, at_ms)

    def set_off(self, driver: Driver, at_ms: int) -> None:
        """A driver is on its way from where it is with something to deliver: a leg begins, if it is known where."""
        if not self.rules.learn:
            return
        self.learned.legs.pop(driver.id, None)
        to_door = any(stop.kind == "dropoff" for stop in driver.route)
        if to_door and driver.ping is not None and _is_fresh(driver, at_ms):
            lat, lng = driver.ping.lat, driver.ping.lng
            self.learned.legs[driver.id] = Leg(at_ms, lat, lng, driver.assignment, at_ms, lat, lng)

    def watch(self, driver: Driver, at_ms: int) -> None:
        """Time passed on a leg: it is given up when the driver falls silent, jumps, or stands where no light is red."""
        leg = self.learned.legs.get(driver.id)
        if leg is None or driver.ping is None:
            return
        if flat_m(leg.moved_lat, leg.moved_lng, driver.ping.lat, driver.ping.lng) > STILL_M:
            leg.moved_ms, leg.moved_lat, leg.moved_lng = at_ms, driver.ping.lat, driver.ping.lng
        silent = at_ms - driver.received_ms > SILENCE_MS
        if silent or driver.jumps or at_ms - leg.moved_ms > STILL_MS or driver.duty != "on_duty":
            del self.learned.legs[driver.id]

    def drop_leg(self, driver: Driver) -> None:
        """The driver did something that is no drive to a door."""
        self.learned.legs.pop(driver.id, None)

    def arrived(self, driver: Driver, order: Order, at_ms: int) -> None:
        """A driver says that it is at the door: the leg tells how long such a drive takes, if both ends are sure."""
        leg = self.learned.legs.pop(driver.id, None)
        if leg is None or driver.ping is None or not _is_fresh(driver, at_ms) or leg.assignment != driver.assignment:
            return
        door = (order.dropoff.lat, order.dropoff.lng)
        if flat_m(driver.ping.lat, driver.ping.lng, *door) > DOOR_M or driver.jumps:
            return
        model_ms, actual_ms = self.forecast.travel.drive_ms(leg.lat, leg.lng, *door), at_ms - leg.at_ms
        if model_ms < LEAST_MS or actual_ms <= 0 or abs(log(actual_ms / model_ms)) > WILDEST:
            return
        self._learn_drive(order.mall_id, leg, door, model_ms, actual_ms)

    def _learn_drive(self, mall_id: str, leg: Leg, door: tuple[float, float], model_ms: int, actual_ms: int) -> None:
        mall, kept = self.learned.mall(mall_id), self.rules.drives_kept
        expected = exp(self.forecast.drive_belief(mall_id, leg.at_ms, leg.lat, leg.lng, *door).mean)
        mall.drive_score.add(model_ms / actual_ms - 1.0, model_ms * expected / actual_ms - 1.0)
        ratio = log(actual_ms / model_ms)
        left = ratio - hour_belief(mall, leg.at_ms).mean
        mall.drive.add(ratio, kept)
        mall.drive_hours.setdefault(hour_of(leg.at_ms), Moments()).add(ratio, kept)
        pair = self.forecast.pair(leg.lat, leg.lng, *door)
        moments = mall.drive_pairs.pop(pair, None) or Moments()
        moments.add(left, kept)
        # Put back at the end: the first is the one driven longest ago.
        mall.drive_pairs[pair] = moments
        self.forecast.forget_drives()
        while len(mall.drive_pairs) > self.rules.pairs_kept:
            del mall.drive_pairs[next(iter(mall.drive_pairs))]

    # ------------------------------------------------------------ ETAs

    def say(self, order: Order, eta_ms: int, sd_ms: float, interval: tuple[int, int] | None) -> None:
        """An ETA is shown: keep the first one under an assignment, and the first one after the pick-up."""
        if interval is None or not self.rules.learn or order.assignment is None:
            return
        said = _said(order)
        if said.assigned is None or said.assigned.assignment != order.assignment:
            said.assigned = SaidEta(order.assignment, eta_ms, *interval, round(sd_ms))
            said.aboard = None
        if said.aboard is None and order.status in ON_BOARD:
            said.aboard = SaidEta(order.assignment, eta_ms, *interval, round(sd_ms))

    def delivered(self, order: Order, tally: Tally, at_ms: int) -> None:
        """It came true: hold what was said against it, and widen or narrow what will be said."""
        said, order.said = order.said, None
        if said is None or not self.rules.learn:
            return
        mall = self.learned.mall(order.mall_id)
        if said.assigned is not None and said.assigned.assignment == order.assignment:
            mall.assigned.add(_miss(said.assigned, at_ms))
            _count(tally.eta_assigned, said.assigned, at_ms)
        if said.aboard is not None:
            mall.aboard.add(_miss(said.aboard, at_ms))
            _count(tally.eta_aboard, said.aboard, at_ms)


def _said(order: Order) -> Said:
    if order.said is None:
        order.said = Said()
    return order.said


def _last_shares(beliefs: list[Belief], late: float) -> list[float]:
    """Of several stores, how likely each is the one that was ready last, all of them being ready at `late`."""
    if len(beliefs) == 1:
        return [1.0]
    rates = []
    for belief in beliefs:
        z = max(-8.0, min(8.0, (late - belief.mean) / belief.sd))
        rates.append(density(z) / below(z) / belief.sd)
    return [rate / sum(rates) for rate in rates]


def _is_fresh(driver: Driver, at_ms: int) -> bool:
    return at_ms - driver.received_ms <= SILENCE_MS


def _miss(said: SaidEta, at_ms: int) -> float:
    return (at_ms - said.eta_ms) / said.sd_ms


def _count(score: EtaScore, said: SaidEta, at_ms: int) -> None:
    score.n += 1
    score.inside += said.low_ms <= at_ms <= said.high_ms
    score.miss_ms += abs(at_ms - said.eta_ms)
    score.width_ms += said.high_ms - said.low_ms
