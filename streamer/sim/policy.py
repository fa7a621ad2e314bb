"""The recording's dispatcher: gives orders to drivers as the autopilot, and plays the people of the story.

It must not know the truth about stores or drivers: it sees the engine's state, like everybody on the floor.
"""

from collections.abc import Callable, Iterable

from streamer.core.engine import Engine
from streamer.core.events import Action, HandOver, OrderCommand, OrderPlaced
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.state import Driver, Order
from streamer.dispatch.candidates import Candidate, rank
from streamer.sim.incidents import Act

ACTOR = "autopilot"
EVERY_MS = 10_000
LEAD_MS = 13 * 60_000
"""An order is given out when its store's promise is this near: a driver then arrives about when it is ready."""
TIGHT_MS = 35 * 60_000
"""With less than this left until due, an order is given out whatever its store says."""
SETTLE_MS = 45_000
"""Every order stays in the queue this long, so that people may look at it first."""
TOGETHER_MIN = 14.0
"""What joining a trip that has not left the mall yet is worth, in minutes of cost: the service lives on its fill."""
GIVEN_AT_ONCE = 6
"""Orders given out in one look; the rest waits for the next."""
PATIENCE_MS = 12 * 60_000
"""An act that fits no order yet is tried for this long."""
LOOKED_AT = 14
"""Candidates considered for each order."""

Decision = OrderCommand | HandOver


class Dispatcher:
    """Decides for one recording. `acts` are played at `play_ms + act.at_ms`, each once, if an order fits them."""

    def __init__(self, play_ms: int, acts: tuple[Act, ...] = ()) -> None:
        self._play_ms = play_ms
        self._acts = sorted(acts, key=lambda act: act.at_ms)
        self._next_ms = 0

    def decide(self, engine: Engine, at_ms: int) -> list[Decision]:
        """What people and autopilot decide at `at_ms`, having seen the state as it is.

        Each decision concerns other orders, so all may be handled one after the other; but a driver may be full by
        then, and then the later one is refused.
        """
        decisions: list[Decision] = []
        for act in [act for act in self._acts if self._play_ms + act.at_ms <= at_ms]:
            done = _play(engine, act)
            if done or at_ms - self._play_ms - act.at_ms >= PATIENCE_MS:
                self._acts.remove(act)
            decisions += done
        if at_ms < self._next_ms:
            return decisions
        self._next_ms = at_ms + EVERY_MS
        touched = {d.order_id for d in decisions if isinstance(d, OrderCommand)}
        due = [o for o in engine.state.orders.values() if o.id not in touched and _is_due(o, at_ms)]
        due.sort(key=lambda o: (-o.priority, o.due_ms, o.id))
        taken: set[str] = set()
        for order in due[:GIVEN_AT_ONCE]:
            chosen = _choose(engine, order, taken)
            if chosen is not None:
                taken.add(chosen.driver_id)
                decisions.append(_command(order, "assign", ACTOR, chosen.driver_id, _reason(engine, chosen)))
        return decisions


def store_words(engine: Engine, packed: Iterable[OrderPlaced]) -> list[OrderCommand]:
    """What the stores' tablets say of orders they have packed, for those that are still to be collected."""
    words: list[OrderCommand] = []
    for placed in packed:
        order_id = engine.state.external.get(f"{placed.mall_id}/{placed.external_id}", "")
        order = engine.state.orders.get(order_id)
        if order is not None and order.status in (*QUEUED, *GIVEN) and not order.is_ready:
            words.append(_command(order, "ready", placed.stores[0], None, ""))
    return words


def _is_due(order: Order, at_ms: int) -> bool:
    if order.status not in QUEUED or order.held or at_ms - order.updated_ms < SETTLE_MS:
        return False
    near = order.is_ready or order.ready_ms is None or order.ready_ms - at_ms <= LEAD_MS
    return near or order.due_ms - at_ms <= TIGHT_MS


def _choose(engine: Engine, order: Order, taken: set[str]) -> Candidate | None:
    """The cheapest candidate, trips that are still at the mall or on the way to it being preferred.

    A driver given an order in this look is left out: its route is about to change under the others' costs.
    """
    candidates = [c for c in rank(engine, order.id, LOOKED_AT).items if c.driver_id not in taken]
    return min(candidates, key=lambda c: (c.cost - _together(engine, c), c.driver_id), default=None)


def _together(engine: Engine, candidate: Candidate) -> float:
    collects = any(stop.kind == "pickup" for stop in engine.state.drivers[candidate.driver_id].route)
    return TOGETHER_MIN if collects and candidate.terms.get("lateness", 0.0) <= 0.0 else 0.0


def _reason(engine: Engine, chosen: Candidate) -> str:
    carried = len(engine.state.drivers[chosen.driver_id].order_ids)
    return f"cost {chosen.cost:.1f} min" + (f", joins {carried} on the trip" if carried else "")


# ---------------------------------------------------------------- the people of the story


def _play(engine: Engine, act: Act) -> list[Decision]:
    if act.action == "hand_over":
        silent = _longest_silent(engine)
        return [HandOver(driver_id=silent.id, actor=act.actor, reason=act.reason)] if silent is not None else []
    order = _picked(engine, act)
    if order is None:
        return []
    driver_id: str | None = None
    if act.action in {"assign", "reassign"}:
        best = next(iter(rank(engine, order.id, 1).items), None)
        if best is None:
            return []
        driver_id = best.driver_id
    return [_command(order, act.action, act.actor, driver_id, act.reason)]


def _longest_silent(engine: Engine) -> Driver | None:
    """The driver silent longest of those with orders not collected yet: what it has on board cannot be taken away."""
    orders = engine.state.orders
    silent = [
        driver
        for driver in engine.state.drivers.values()
        if driver.state == "silent" and any(orders[order_id].status in GIVEN for order_id in driver.order_ids)
    ]
    return min(silent, key=lambda driver: (driver.received_ms, driver.id), default=None)


def _picked(engine: Engine, act: Act) -> Order | None:
    wanted = GIVEN if act.action in {"pin", "reassign", "unassign"} else QUEUED
    orders = [o for o in engine.state.orders.values() if o.status in wanted]
    match act.pick:
        case "held":
            return _first([o for o in orders if o.held], lambda o: o.updated_ms)
        case "newest":
            return _first([o for o in orders if not o.held], lambda o: -o.placed_ms)
        case "waiting":
            standing = [o for o in orders if o.status == "arrived_at_pickup" and not o.is_ready]
            return _first(standing, lambda o: o.arrived_pickup_ms or 0)
        case _:
            return _first([o for o in orders if not o.held], lambda o: o.due_ms)


def _first(orders: list[Order], by: Callable[[Order], int]) -> Order | None:
    return min(orders, key=lambda order: (by(order), order.id), default=None)


def _command(order: Order, action: Action, actor: str, driver_id: str | None, reason: str) -> OrderCommand:
    return OrderCommand(
        action=action, order_id=order.id, expected_version=order.version, actor=actor, driver_id=driver_id,
        reason=reason,
    )  # fmt: skip
