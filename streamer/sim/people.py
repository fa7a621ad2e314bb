"""The people of a story: what dispatchers do by hand, on whatever orders they find.

It must not know the truth about stores or drivers: they see the engine's state, like everybody on the floor.
"""

from collections.abc import Callable

from streamer.core.engine import Engine
from streamer.core.events import Action, HandOver, OrderCommand
from streamer.core.orders import GIVEN, QUEUED
from streamer.core.state import Driver, Order
from streamer.dispatch.candidates import rank
from streamer.sim.incidents import Act

PATIENCE_MS = 12 * 60_000
"""An act that fits no order yet is tried for this long."""


class People:
    """Plays `acts` at `play_ms + act.at_ms`, each once, if an order fits them."""

    def __init__(self, play_ms: int, acts: tuple[Act, ...] = ()) -> None:
        self._play_ms = play_ms
        self._acts = sorted(acts, key=lambda act: act.at_ms)

    def decide(self, engine: Engine, at_ms: int) -> list[OrderCommand | HandOver]:
        """What people decide at `at_ms`, having seen the state as it is."""
        decisions: list[OrderCommand | HandOver] = []
        for act in [act for act in self._acts if self._play_ms + act.at_ms <= at_ms]:
            done = _play(engine, act)
            if done or at_ms - self._play_ms - act.at_ms >= PATIENCE_MS:
                self._acts.remove(act)
            decisions += done
        return decisions


def command(order: Order, action: Action, actor: str, driver_id: str | None, reason: str) -> OrderCommand:
    """A decision about an order as it is seen now."""
    return OrderCommand(
        action=action, order_id=order.id, expected_version=order.version, actor=actor, driver_id=driver_id,
        reason=reason,
    )  # fmt: skip


def _play(engine: Engine, act: Act) -> list[OrderCommand | HandOver]:
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
    return [command(order, act.action, act.actor, driver_id, act.reason)]


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
