"""One seed's world: who lives in it, what goes wrong when, how it calms down, and whether everything held.

It must not know the checks; it stops at the first that fails, with the last things that happened.
"""

import asyncio
from collections import deque
from collections.abc import Callable, MutableMapping
from hashlib import blake2b
from random import Random
from typing import Any

import structlog
from msgspec import Struct

from streamer.core.settings import Settings
from streamer.edge.journal import audit
from streamer.edge.journal.contract import SCHEMA, JournalHeader
from tests.builders import T0, a_floor
from tests.faults.simulation.checker import Checker
from tests.faults.simulation.dispatchers import Caller, Dispatcher, Shop, Wish
from tests.faults.simulation.drivers import Phone
from tests.faults.simulation.loop import SimulatedLoop, StalledError
from tests.faults.simulation.network import HARD_LOSS, Cable
from tests.faults.simulation.readers import Dashboard
from tests.faults.simulation.server import Server
from tests.faults.simulation.store import BROKEN, Disk
from tests.faults.simulation.troubles import Troubles
from tests.faults.simulation.watch import watched

LAST_EVENTS = 40
CALM_S = 120.0
"""After the last fault everything must be answered within this time; mostly it takes a few seconds."""
EXPECTED_TROUBLE = {"journal_full": "disk is full", "journal_failed": BROKEN, "input_quarantined": "poison"}
"""What the product may complain of, and a word of the error it then names."""


class Outcome(Struct, frozen=True):
    """What came of one seed. `check` is the one that failed, empty if none did."""

    seed: int
    trace: str
    check: str = ""
    message: str = ""
    last: tuple[str, ...] = ()
    entries: int = 0
    acked: int = 0
    crashes: int = 0

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.check


class MachineClock:
    """The machine's clock, which somebody sets now and then, also back."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.wrong_ms = 0

    def now_ms(self) -> int:
        """What the machine believes."""
        return T0 + round(self._loop.time() * 1000) + self.wrong_ms


class World:
    """Everything, in simulated time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.loop = SimulatedLoop()
        self.loop.set_exception_handler(self._escaped)
        self.clock = MachineClock(self.loop)
        self.server: Server | None = None
        self.is_over = False
        self.crashes = self.runs = 0
        self._failed: tuple[str, str] | None = None
        self._trace = blake2b(digest_size=16)
        self._last: deque[str] = deque(maxlen=LAST_EVENTS)
        header = JournalHeader(SCHEMA, a_floor().geojson(), Settings(), "the simulation", T0)
        self.checker = Checker(header, self.fail)
        self.disk = Disk(header, self.rng, self.checker.committed)
        self.troubles = Troubles(self)
        self._populate()

    def _populate(self) -> None:
        singles = [f"d-{number}" for number in range(self.rng.randint(2, 5))]
        fleets = {f"g-{number}": [f"g{number}-d{of}" for of in range(self.rng.randint(2, 4))]
                  for number in range(self.rng.randint(0, 2))}  # fmt: skip
        self.driver_ids = [*singles, *(driver_id for fleet in fleets.values() for driver_id in fleet)]
        self.phones = [Phone(self, name, f"driver.{name}", [name], is_gateway=False) for name in singles]
        self.phones += [Phone(self, name, f"gateway.{name}", fleet, is_gateway=True) for name, fleet in fleets.items()]
        self.dashboards = [Dashboard(self, f"screen-{number}") for number in range(self.rng.randint(1, 3))]
        self.shop = Shop(self, "shop")
        self.dispatchers = [
            Dispatcher(self, name, self.rng.choice(self.dashboards)) for name in ("maya", "omar", "ines")
        ][: self.rng.randint(1, 3)]
        self.callers: list[Caller] = [self.shop, *self.dispatchers]
        self.cables: dict[Cable, None] = {}

    # ------------------------------------------------------------ what everybody uses

    def true_ms(self) -> int:
        """The time by the stars, which phones have."""
        return T0 + round(self.loop.time() * 1000)

    def note(self, *what: object) -> None:
        """Something happened: it becomes part of the trace."""
        line = f"{self.loop.time():.6f} " + " ".join(map(str, what))
        self._trace.update(line.encode())
        self._last.append(line)

    def fail(self, check: str, message: str) -> None:
        """Something does not hold: the world ends here."""
        if self._failed is None:
            self._failed = check, message
            self._last.append(f"{self.loop.time():.6f} FAILED {check}: {message}")
            self.loop.stop()

    def carry(self, receiver: Callable[..., None], *news: Any) -> None:
        """Bring an answer over a network that loses some."""
        if self.rng.random() > 0.06:
            self.loop.call_later(self.rng.uniform(0.001, 0.5), receiver, *news)

    def call(self, caller: Caller, wish: Wish) -> None:
        """Bring a call to whichever server runs when it arrives."""
        if self.rng.random() < 0.06:
            wish.copies -= 1
        else:
            delay_s = self.rng.uniform(0.001, 0.3) if self.rng.random() < 0.9 else self.rng.uniform(0.0, 6.0)
            self.loop.call_later(delay_s, self._call_arrives, caller, wish)

    def _call_arrives(self, caller: Caller, wish: Wish) -> None:
        if self.server is None:
            wish.copies -= 1
        else:
            self.note("call", wish.call, wish.params)
            self.loop.create_task(self.server.answer(caller, wish))

    def dial(self, phone: Phone, token: str) -> None:
        """Open a socket to whichever server runs when the handshake arrives."""
        cable = Cable(self.loop, self.rng, phone)
        phone.dialled(cable)
        self.cables[cable] = None
        cable.up.carry(lambda: self._handshake_arrives(cable, token))

    def _handshake_arrives(self, cable: Cable, token: str) -> None:
        if self.server is None:
            cable.down.carry(lambda: cable.over(HARD_LOSS))
        else:
            self.server.admit(cable, token)

    # ------------------------------------------------------------ a life

    def run(self) -> Outcome:
        """Live through trouble, calm down, and be judged."""
        with watched(self._logged):
            self.loop.call_soon(self.boot)
            for begin in [actor.begin for actor in self.phones] + [screen.begin for screen in self.dashboards]:
                self.loop.call_later(self.rng.uniform(0.0, 1.0), begin)
            for look in (self.shop.look, *(dispatcher.look for dispatcher in self.dispatchers)):
                self.loop.call_later(self.rng.uniform(1.0, 3.0), look)
            troubled_s = self.rng.uniform(15.0, 40.0)
            self.troubles.plan(troubled_s)
            self.loop.call_later(troubled_s, self._calm)
            try:
                self.loop.run_forever()
            except StalledError as error:
                self.fail("liveness", str(error))
            finally:
                self._end()
        check, message = self._failed or ("", "")
        return Outcome(
            self.seed, self._trace.hexdigest(), check, message, tuple(self._last) if check else (),
            len(self.checker.entries), len(self.checker.acked), self.crashes,
        )  # fmt: skip

    def boot(self) -> None:
        """Start the server again from what the disk has."""
        if self.server is None and self._failed is None:
            self.runs += 1
            self.note("boot", self.runs)
            self.server = Server(self, self.runs)
            self.loop.create_task(self.server.run())

    # ------------------------------------------------------------ the end

    def _calm(self) -> None:
        """No more trouble and nothing new; what is unanswered is asked for until it is answered."""
        self.note("calm")
        self.is_over = True
        self.disk.is_full = self.disk.breaks = False
        self.disk.slow_s = 0.03
        for phone in self.phones:
            phone.is_winding_down = True
        self._wait_for_rest(self.loop.time() + CALM_S)

    def _wait_for_rest(self, until_s: float) -> None:
        server = self.server
        waiting = [phone.name for phone in self.phones if not phone.is_settled]
        waiting += [key for caller in self.callers for key in caller.open]
        if server is None or server.runner.full or waiting:
            if self.loop.time() > until_s:
                self.fail("liveness", f"nobody answers {waiting[:5]}")
            self.loop.call_later(1.0, self._wait_for_rest, until_s)
        else:
            self._judge(until_s)

    def _judge(self, until_s: float) -> None:
        """At a moment when nothing waits for the disk and no frame is under way. Ticks go on, so it may take a few."""
        server = self.server
        assert server is not None
        wrong = "" if server.runner.backlog else self._wrong_screens(server)
        if (server.runner.backlog or wrong) and self.loop.time() < until_s:
            self.loop.call_later(0.1, self._judge, until_s)
            return
        live = server.runner.engine
        self.checker.require(not wrong, "I8", wrong)
        self.checker.matches(live, "at the end")
        self.checker.finish(server.journal, live)
        self.checker.ask(self._judge_chain)
        self.loop.stop()

    def _wrong_screens(self, server: Server) -> str:
        try:
            for screens in (server.beside.screens, *(dashboard.screens for dashboard in self.dashboards)):
                screens.judge(server.runner.engine.state)
        except AssertionError as error:
            return f"after {CALM_S:g} s of calm: {error}"
        return ""

    def _judge_chain(self) -> None:
        """I10, with a link for each decision."""
        try:
            head = self.disk.verify_chain()
        except audit.AuditError as error:
            raise AssertionError(f"I10: {error}") from error
        decided = len(self.checker.effects)
        assert head.links >= decided, f"I10: the chain has {head.links} links for {decided} decisions"

    def _end(self) -> None:
        """Let go of every task, without the product noticing anything but a cancellation."""
        if self.server is not None:
            self.server.crash()
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self.loop.close()
        self.disk.connection.close()

    # ------------------------------------------------------------ watching the product

    def _escaped(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.fail("no handler fails", repr(context.get("exception") or context["message"]))

    def _logged(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        """Receivers' failures are only logged by the product; here they count."""
        what, error = event["event"], str(event.get("error") or event.get("exc_info") or "")
        if EXPECTED_TROUBLE.get(what, "nothing is") not in error:
            self.fail("no handler fails", f"{what}: {error}")
        if what == "journal_failed":
            # The product's program ends now; until it has, nobody may be answered.
            self.loop.call_later(self.rng.uniform(0.0, 0.5), self.troubles.crash)
        raise structlog.DropEvent


def simulate(seed: int) -> Outcome:
    """Live through one seed."""
    return World(seed).run()
