"""Phones: they move, ping, report on their orders, lose their connection, and send again what was not answered.

It must not know the server's state; a phone knows PROTOCOL §2 and what it was told. A `Phone` speaks for one driver,
or, as a mall's gateway, for several, and then in arrays.
"""

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct, field

from tests.builders import MALL
from tests.faults.simulation.network import Cable, Peer

if TYPE_CHECKING:
    from tests.faults.simulation.world import World

Stage = Literal["given", "accepted", "at_store", "on_board", "at_door", "coming_back"]
Key = tuple[str, str, int | str]
"""What a message is about: ("ping", driver id, seq) or ("report", driver id, report id)."""

BATCH = 20
STEP_M = 0.0003
"""Degrees a driver moves between two looks at its phone; well below what is believed."""
NEXT: dict[Stage, tuple[tuple[str, Stage | None], ...]] = {
    "given": (("accepted", "accepted"),) * 5 + (("arrived_at_pickup", "at_store"), ("declined", None)),
    "accepted": (("arrived_at_pickup", "at_store"),) * 3 + (("picked_up", "on_board"), ("declined", None)),
    "at_store": (("picked_up", "on_board"),),
    "on_board": (("arrived_at_dropoff", "at_door"), ("delivered", None), ("failed", "coming_back")),
    "at_door": (("delivered", None),) * 4 + (("failed", "coming_back"),),
    "coming_back": (("returned", None),),
}
"""By where an order stands, what its driver may report, and where it stands then; None: it is off the driver's list."""


class Message(Struct):
    """Something said that was not answered yet. `orders` are those a report was about, with their new stage."""

    said: dict[str, Any]
    orders: dict[str, Stage | None] = field(default_factory=dict)


class Driver(Struct):
    """One driver as its phone knows it."""

    id: str
    lat: float
    lng: float
    next_seq: int = 0
    reports: int = 0
    duty: str = "off_duty"
    assignment: int = 0
    stages: dict[str, Stage] = field(default_factory=dict)
    behind_ms: int = 0
    """How far its clock is behind; a phone's clock may be set."""


class Phone(Peer):
    """One program with one socket at a time."""

    def __init__(self, world: "World", name: str, token: str, driver_ids: list[str], is_gateway: bool) -> None:
        self.world = world
        self.name = name
        self.token = token
        self.is_gateway = is_gateway
        self.drivers = {driver_id: self._placed(driver_id) for driver_id in driver_ids}
        self.unanswered: dict[Key, Message] = {}
        self.cable: Cable | None = None
        self.is_welcome = False
        self.is_winding_down = False
        self._later: dict[Key, Message] = {}

    def _placed(self, driver_id: str) -> Driver:
        rng = self.world.rng
        return Driver(driver_id, MALL[0] + rng.uniform(-0.004, 0.004), MALL[1] + rng.uniform(-0.004, 0.004))

    # ------------------------------------------------------------ its day

    def begin(self) -> None:
        """Open the socket, and look at the phone every now and then."""
        self._connect()
        self.world.loop.call_later(self.world.rng.uniform(0.0, 1.0), self._look)

    def _look(self) -> None:
        rng = self.world.rng
        fresh: dict[Key, Message] = {}
        for driver in self.drivers.values():
            if not self.is_winding_down:
                self._live(driver, fresh)
        self._say(fresh)
        if self.is_welcome and self.unanswered and rng.random() < 0.03:
            # A phone may be unsure whether it said something, and says it again.
            self._send([rng.choice(list(self.unanswered.values())).said])
        self.world.loop.call_later(rng.uniform(0.3, 2.0), self._look)

    def _live(self, driver: Driver, fresh: dict[Key, Message]) -> None:
        rng = self.world.rng
        if driver.duty != "on_duty":
            if rng.random() < 0.4:
                self._report(driver, "on_duty", {}, fresh)
                driver.duty = "on_duty"
            return
        self._ping(driver, fresh)
        if rng.random() < 0.7:
            self._work(driver, fresh)
        if not driver.stages and rng.random() < 0.02:
            driver.duty = rng.choice(("off_duty", "on_break"))
            self._report(driver, driver.duty, {}, fresh)

    def _ping(self, driver: Driver, fresh: dict[Key, Message]) -> None:
        rng = self.world.rng
        driver.lat += rng.uniform(-STEP_M, STEP_M)
        driver.lng += rng.uniform(-STEP_M, STEP_M)
        if rng.random() < 0.03:
            driver.behind_ms = rng.choice((0, 0, 3_000, 40_000, -2_000, -60_000))
        lat = driver.lat + (0.5 if rng.random() < 0.02 else 0.0)
        fix_ms = self.world.true_ms() - driver.behind_ms
        said = {"type": "ping", "seq": driver.next_seq, "fix_ms": fix_ms, "lat": lat, "lng": driver.lng,
                "accuracy_m": rng.choice((5.0, 12.0, 80.0, 900.0))}  # fmt: skip
        fresh["ping", driver.id, driver.next_seq] = Message(self._signed(driver, said))
        driver.next_seq += 1

    def _work(self, driver: Driver, fresh: dict[Key, Message]) -> None:
        """Report the next thing about one order, or about all that stand where it stands."""
        busy = {order_id for message in self.unanswered.values() for order_id in message.orders}
        free = [order_id for order_id in driver.stages if order_id not in busy]
        if not free:
            return
        rng = self.world.rng
        stage = driver.stages[rng.choice(free)]
        report, then = rng.choice(NEXT[stage])
        alike = [order_id for order_id in free if driver.stages[order_id] == stage]
        chosen = alike if rng.random() < 0.3 else alike[:1]
        self._report(driver, report, dict.fromkeys(chosen, then), fresh)

    def _report(self, driver: Driver, report: str, orders: dict[str, Stage | None], fresh: dict[Key, Message]) -> None:
        driver.reports += 1
        name = f"{driver.id}-r{driver.reports}"
        said: dict[str, Any] = {"type": "report", "id": name, "report": report, "fix_ms": self.world.true_ms()}
        if orders:
            said.update(order_ids=list(orders), assignment=driver.assignment)
        fresh["report", driver.id, name] = Message(self._signed(driver, said), orders)

    def _signed(self, driver: Driver, said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "driver_id": driver.id} if self.is_gateway else said

    # ------------------------------------------------------------ saying

    def _say(self, fresh: dict[Key, Message]) -> None:
        self.unanswered.update(fresh)
        if self.is_welcome:
            self._send([message.said for message in fresh.values()])

    def _send(self, messages: list[dict[str, Any]]) -> None:
        assert self.cable is not None
        size = BATCH if self.is_gateway else 1
        for at in range(0, len(messages), size):
            part = messages[at : at + size]
            self.cable.send(msgspec.json.encode(part if self.is_gateway else part[0]))

    def _say_again(self) -> None:
        """What was refused for now: a ping as a new one, since acks are cumulative, a report as the same one."""
        later, self._later = self._later, {}
        fresh: dict[Key, Message] = {}
        for key, message in later.items():
            fresh[self._renumbered(key, message)] = message
        self._say(fresh)

    def _renumbered(self, key: Key, message: Message) -> Key:
        kind, driver_id, _ = key
        if kind != "ping":
            return key
        driver = self.drivers[driver_id]
        message.said["seq"] = seq = driver.next_seq
        driver.next_seq += 1
        return kind, driver_id, seq

    # ------------------------------------------------------------ the socket

    def _connect(self) -> None:
        self.is_welcome = False
        self.cable = None
        self.world.dial(self, self.token)

    def dialled(self, cable: Cable) -> None:
        """The handshake is on its way."""
        self.cable = cable

    def opened(self) -> None:
        """Nothing may be said before the welcome."""

    def ended(self, code: int) -> None:
        self.world.note("phone", self.name, "ended", code)
        self.is_welcome = False
        self.cable = None
        self.world.loop.call_later(self.world.rng.uniform(0.05, 4.0), self._connect)

    def heard(self, text: bytes) -> None:
        message = msgspec.json.decode(text)
        self.world.note("phone", self.name, text)
        match message["type"]:
            case "welcome":
                self.is_welcome = True
                self._send([waiting.said for waiting in self.unanswered.values()])
            case "ack":
                self._acked(message)
            case "nack":
                self._nacked(message)
            case "route" if message.get("driver_id", self.name) in self.drivers:
                # A gateway hears of every driver of its malls, also of those that others speak for.
                self._told(message)

    def _of(self, message: dict[str, Any]) -> Driver:
        return self.drivers[message["driver_id"]] if "driver_id" in message else next(iter(self.drivers.values()))

    def _acked(self, message: dict[str, Any]) -> None:
        driver = self._of(message)
        if "id" in message:
            done = self.unanswered.pop(("report", driver.id, message["id"]), None)
            for order_id, stage in done.orders.items() if done else ():
                if stage is None:
                    driver.stages.pop(order_id, None)
                elif order_id in driver.stages:
                    driver.stages[order_id] = stage
        else:
            for seq in self.pings_up_to(driver.id, message["seq"]):
                del self.unanswered["ping", driver.id, seq]

    def pings_up_to(self, driver_id: str, seq: int) -> list[int]:
        """The unanswered pings that a cumulative ack speaks for."""
        return [
            name for kind, of, name in self.unanswered if kind == "ping" and of == driver_id and isinstance(name, int)
            and name <= seq
        ]  # fmt: skip

    def _nacked(self, message: dict[str, Any]) -> None:
        driver = self._of(message)
        key: Key = ("report", driver.id, message["id"]) if "id" in message else ("ping", driver.id, message["seq"])
        refused = self.unanswered.pop(key, None)
        if refused is None:
            return
        if message["retryable"]:
            self._later[key] = refused
            self.world.loop.call_later(self.world.rng.uniform(0.5, 2.0), self._say_again)
        elif message["code"] in {"stale_assignment", "not_yours", "bad_transition"}:
            for order_id in refused.orders:
                driver.stages.pop(order_id, None)

    def _told(self, message: dict[str, Any]) -> None:
        """All stops as they are now: what is on the list stays where it stood, what is not is somebody else's."""
        driver = self._of(message)
        driver.assignment = message["assignment"]
        kinds: dict[str, set[str]] = {}
        for stop in message["stops"]:
            kinds.setdefault(stop["order_id"], set()).add(stop["kind"])
        driver.stages = {order_id: _stage(driver.stages.get(order_id), kind) for order_id, kind in kinds.items()}

    @property
    def is_settled(self) -> bool:
        """Whether everything it ever said was answered."""
        return not self.unanswered and not self._later


def _stage(known: Stage | None, kinds: set[str]) -> Stage:
    if "pickup" in kinds:
        return known if known in {"given", "accepted", "at_store"} else "given"
    if "return" in kinds:
        return "coming_back"
    return known if known in {"on_board", "at_door"} else "on_board"
