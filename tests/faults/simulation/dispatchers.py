"""People at the floor, and the shop: they see a dashboard that is behind, give commands, and repeat unanswered ones.

It must not know the engine. A caller knows its screen, PROTOCOL §3, and which of its commands were answered.
"""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tests.builders import MALL
from tests.faults.simulation.history import Operation

if TYPE_CHECKING:
    from tests.faults.simulation.readers import Dashboard
    from tests.faults.simulation.world import World

PATIENCE_S = 3.0
"""A call that was not answered for so long is made again, under the same key."""
RETRYABLE = frozenset({429, 503})
QUEUED = frozenset({"placed", "ready"})
GIVEN = frozenset({"assigned", "enroute_to_pickup", "arrived_at_pickup"})
ON_BOARD = frozenset({"picked_up", "enroute_to_dropoff", "arrived_at_dropoff", "failed", "returning"})


class Wish(Struct):
    """A call and what it is to do; a bulk has several operations, anything else one."""

    call: str
    params: dict[str, Any]
    operations: list[Operation]
    tries: int = 0
    copies: int = 0
    """Times it is under way and may still take effect."""
    finished: int = 0
    """Times the server was done with it."""
    is_over: bool = False


class Caller:
    """Somebody who makes calls over a network that loses them, and their answers."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.open: dict[str, Wish] = {}
        self.done: list[str] = []
        """Commands that succeeded, for an undo."""
        self._made = 0

    def want(self, call: str, what: str, params: dict[str, Any]) -> Wish:
        """A call with one effect."""
        operation = self.operation(what)
        return self._begin(Wish(call, {**params, "key": operation.key}, [operation]))

    def operation(self, what: str) -> Operation:
        """Something to be done, under a new key."""
        self._made += 1
        operation = Operation(self.name, f"{self.name}-{self._made}", what, self.world.loop.time())
        self.world.checker.history.invoke(operation)
        return operation

    def _begin(self, wish: Wish) -> Wish:
        self.open[wish.operations[0].key] = wish
        self._try(wish)
        return wish

    def _try(self, wish: Wish) -> None:
        if wish.is_over:
            return
        wish.tries += 1
        for _ in range(2 if self.world.rng.random() < 0.05 else 1):
            wish.copies += 1
            self.world.call(self, wish)
        self.world.loop.call_later(PATIENCE_S * self.world.rng.uniform(0.5, 2.0), self._try, wish)

    def answered(self, wish: Wish, number: int, status: int, body: Any) -> None:
        """The answer to the `number`th time the server did this has come; the first that is final counts."""
        results = results_of(wish, status, body)
        if wish.is_over or any(result in RETRYABLE for result, _ in results):
            return
        wish.is_over = True
        del self.open[wish.operations[0].key]
        # With another copy under way, or done later, it may be refused here and succeed there: that stays unknown.
        is_last = wish.copies == 0 and number == wish.finished
        for operation, (result, answer) in zip(wish.operations, results, strict=True):
            self._settle(operation, result, answer, is_last)

    def _settle(self, operation: Operation, status: int, body: Any, is_last: bool) -> None:
        operation.answered_s = self.world.loop.time()
        if status < 300:
            operation.outcome = "ok"
            operation.command_id = body["command_id"]
            self.done.append(operation.command_id)
        elif is_last:
            operation.outcome = "refused"


def results_of(wish: Wish, status: int, body: Any) -> list[tuple[int, Any]]:
    """Status, and body or problem, of each operation of a call."""
    if wish.call == "bulk" and status < 300:
        return [(item["status"], item.get("body", item.get("problem"))) for item in body["items"]]
    return [(status, body)] * len(wish.operations)


class Shop(Caller):
    """Places orders, each under its own number."""

    def look(self) -> None:
        """Place an order, now and then."""
        if self.world.is_over:
            return
        rng, now_ms = self.world.rng, self.world.true_ms()
        number = self._made + 1
        order = {
            "type": "order", "mall_id": "plaza", "stores": rng.choice((["macys"], ["zara"], ["macys", "zara"])),
            "dropoff": {"lat": MALL[0] + rng.uniform(-0.03, 0.03), "lng": MALL[1] + rng.uniform(-0.03, 0.03)},
            "placed_ms": now_ms, "due_ms": now_ms + rng.choice((60_000, 3_600_000)), "external_id": f"x-{number}",
        }  # fmt: skip
        if rng.random() < 0.02:
            order["external_id"] = f"poison-{number}"
        if rng.random() < 0.3:
            order["ready_ms"] = now_ms + rng.randint(0, 60_000)
        self.want("place", "place", {"order": order})
        self.world.loop.call_later(rng.uniform(0.3, 4.0), self.look)


class Dispatcher(Caller):
    """Assigns, takes back, holds, hands over and undoes, by what its screen shows."""

    def __init__(self, world: "World", name: str, screen: "Dashboard") -> None:
        super().__init__(world, name)
        self.screen = screen

    def look(self) -> None:
        """Decide something, now and then."""
        if self.world.is_over:
            return
        rng = self.world.rng
        orders, drivers = self.screen.orders(), self.screen.driver_ids()
        luck = rng.random()
        if self.done and luck < 0.12:
            everyone = [done for caller in self.world.callers for done in caller.done]
            self.want("undo", "undo", {"command_id": rng.choice(rng.choice((self.done[-3:], everyone[-5:])))})
        elif drivers and luck < 0.2:
            self._about_driver(drivers)
        elif orders and drivers and luck < 0.28:
            self._bulk(orders, drivers)
        elif orders and drivers:
            self.want("command", *self._decision(rng.choice(orders), drivers))
        self.world.loop.call_later(rng.uniform(0.1, 1.2), self.look)

    def _about_driver(self, drivers: list[str]) -> None:
        rng = self.world.rng
        driver_id = rng.choice(drivers)
        if rng.random() < 0.7:
            to = rng.choice([None, *drivers])
            self.want("hand_over", "hand_over", {"driver_id": driver_id, "to_driver_id": to})
        else:
            duty = rng.choice(("on_duty", "on_duty", "off_duty", "on_break"))
            self.want("duty", "duty", {"driver_id": driver_id, "duty": duty})

    def _bulk(self, orders: list[dict[str, Any]], drivers: list[str]) -> None:
        rng = self.world.rng
        chosen = rng.sample(orders, min(len(orders), rng.randint(2, 4)))
        if rng.random() < 0.3:
            # The same order twice: the second command saw a version that the first ends.
            chosen.append(chosen[0])
        operations, commands = [], []
        for order in chosen:
            what, params = self._decision(order, drivers)
            operations.append(self.operation(what))
            commands.append({**params, "key": operations[-1].key})
        self._begin(Wish("bulk", {"commands": commands, "atomic": rng.random() < 0.5}, operations))

    def _decision(self, order: dict[str, Any], drivers: list[str]) -> tuple[str, dict[str, Any]]:
        rng = self.world.rng
        action = rng.choice(_sensible(order["status"])) if rng.random() < 0.95 else rng.choice(("assign", "cancel"))
        # Now and then by a picture that is older still.
        version = max(1, order["version"] - (rng.random() < 0.05))
        params: dict[str, Any] = {"action": action, "order_id": order["id"], "expected_version": version}
        if action in {"assign", "reassign"}:
            favourites = [*drivers[:3]] if rng.random() < 0.5 else drivers
            params["driver_id"] = rng.choice(favourites)
            if rng.random() < 0.2:
                params["position"] = rng.randint(0, 3)
        if action == "ready" and rng.random() < 0.5:
            params["ready_ms"] = self.world.true_ms() + rng.randint(-5_000, 60_000)
        return action, params


def _sensible(status: str) -> tuple[str, ...]:
    if status in QUEUED:
        return ("assign",) * 8 + ("hold", "release", "ready", "cancel")
    if status in GIVEN:
        return ("reassign",) * 4 + ("unassign", "pin", "hold", "release", "ready", "cancel")
    return ("assign", "reassign", "cancel")
