"""One run of the real server: recovered from the disk, on the simulated network, until it stops or crashes.

It must not know the seed's plans. Engine, runner, gateway, desk and feed are the product's.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from websockets.http11 import Response

from streamer.core.errors import StorageError
from streamer.core.events import DriverRegistered, Input, Output
from streamer.edge.accounts import TokenOwner
from streamer.edge.desk.calls import Call, CallRefusedError
from streamer.edge.desk.calls import Caller as Principal
from streamer.edge.desk.desk import Desk
from streamer.edge.feed import Feed
from streamer.edge.gateway.gateway import Gateway
from streamer.edge.journal.recovery import recover
from streamer.edge.runner import Runner
from tests.faults.simulation.dispatchers import Caller, Wish, results_of
from tests.faults.simulation.drivers import Phone
from tests.faults.simulation.network import Cable, ServerEnd, handshake
from tests.faults.simulation.readers import Beside
from tests.faults.simulation.store import SimulatedJournal

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class Registry:
    """As much of the accounts as a gateway asks for; a token is `driver.NAME` or `gateway.NAME`."""

    def __init__(self, driver_ids: list[str]) -> None:
        self._drivers = {driver_id: DriverRegistered(driver_id, driver_id, 3) for driver_id in driver_ids}

    def version(self) -> tuple[int, int]:
        return 0, 0

    def owner(self, token: str) -> TokenOwner | None:
        kind, _, name = token.partition(".")
        return TokenOwner(kind, name, (), token.encode())  # type: ignore[arg-type]

    def driver(self, driver_id: str) -> DriverRegistered | None:
        return self._drivers.get(driver_id)

    def is_live(self, digest: bytes) -> bool:
        return True


class Server:
    """A run of the server. `crash` is a kill: nothing of it happens any more."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.ends: dict[ServerEnd, None] = {}
        self.is_up = True
        self.journal = SimulatedJournal(world.disk, world.loop)
        recovered = recover(self.journal)
        world.checker.began(recovered.engine, "recovery")
        world.note("recovered", recovered.engine.state.seq, recovered.replayed)
        self.runner = Runner(recovered.engine, self.journal, world.clock, recovered.snapshot_seq)
        self.runner.hooks.append(self._took_effect)
        registry: Any = Registry(world.driver_ids)
        self.gateway = Gateway(self.runner, registry, wall=world.clock)
        self.desk = Desk(self.runner, registry, world.clock)
        self.feed = Feed(self.runner)
        # The product draws it; a simulation may not.
        self.feed.epoch = f"run-{number}"
        self.beside = Beside(world)
        self.feed.join(self.beside, self.feed.mall_ids)
        self._rebuild = self.runner._rebuild
        self.runner._rebuild = self._rebuilt  # type: ignore[method-assign]

    async def run(self) -> None:
        """Serve."""
        await self.runner.start(ticking=True)
        await self.feed.run()

    def crash(self) -> None:
        """Everything in memory is gone, at once."""
        self.is_up = False
        self.journal.crash()
        # Nor does what was read in this turn of the loop ever reach the engine.
        self.gateway.intake._pings.clear()
        self.gateway.intake._sockets.clear()
        for end in self.ends:
            end.is_dead = True
        for task in list(self.world.loop.tasks):
            task.cancel()

    async def stop(self) -> None:
        """An orderly end."""
        await self.gateway.close()
        await self.runner.stop()

    # ------------------------------------------------------------ sockets

    def admit(self, cable: Cable, token: str) -> None:
        """A handshake has come."""
        end = ServerEnd(cable, self._said)
        connection: Any = end
        answer: Response | None = self.gateway.check_request(connection, handshake(token))
        if answer is not None:
            cable.down.carry(lambda: cable.over(answer.status_code))
            return
        cable.server = end
        self.ends[end] = None
        cable.down.carry(lambda: None if cable.is_over else cable.peer.opened())
        self.world.loop.create_task(self._serve(end))

    async def _serve(self, end: ServerEnd) -> None:
        connection: Any = end
        try:
            await self.gateway.handle(connection)
        finally:
            self.ends.pop(end, None)

    def _said(self, end: ServerEnd, text: bytes) -> None:
        """A message leaves for a phone: check what it promises."""
        phone, message = end.cable.peer, msgspec.json.decode(text)
        assert isinstance(phone, Phone)
        self.world.note("said", phone.name, text)
        driver_id = message.get("driver_id") or next(iter(phone.drivers))
        checker = self.world.checker
        match message["type"]:
            case "welcome":
                self._judge_sockets(end, phone)
                if not phone.is_gateway:
                    checker.welcomed(driver_id, message["last_seq"])
            case "ack" if "id" in message:
                checker.acked_report(driver_id, message["id"])
            case "ack":
                seqs = phone.pings_up_to(driver_id, message["seq"])
                checker.acked_pings(driver_id, [seq for seq in seqs if (driver_id, seq) not in end.nacked])
            case "nack":
                checker.nacked(message)
                if message.get("seq") is not None:
                    end.nacked.add((driver_id, message["seq"]))
            case "route":
                checker.told_route(driver_id, message["assignment"])

    def _judge_sockets(self, end: ServerEnd, phone: Phone) -> None:
        """A driver has one live socket: once a newer one is welcome, the older no longer counts."""
        older = [other for other in self.ends if other is not end and other.cable.peer is phone and other.is_welcome]
        zombies = sum(other.is_listening for other in older)
        end.is_welcome = True
        self.world.checker.require(not zombies or phone.is_gateway, "sockets", f"{phone.name} has a zombie socket")

    # ------------------------------------------------------------ calls

    async def answer(self, caller: Caller, wish: Wish) -> None:
        """A call has come: answer it, unless the run ends first."""
        params = msgspec.Raw(msgspec.json.encode(wish.params))
        try:
            answer = await self.desk.answer(Call(wish.call, 1, params, Principal(caller.name, "dispatcher")))
            status, said = answer.status, answer.body
        except CallRefusedError as error:
            status, said = error.status, error.problem
        except StorageError:
            # As the link does: nobody can say what became of the call, so nobody says anything.
            wish.copies -= 1
            return
        except asyncio.CancelledError:
            wish.copies -= 1
            raise
        wish.copies -= 1
        wish.finished += 1
        if not self.is_up:
            return
        body = msgspec.json.decode(msgspec.json.encode(said))
        self.world.note("answer", wish.operations[0].key, status, msgspec.json.encode(said))
        for operation, (result, part) in zip(wish.operations, results_of(wish, status, body), strict=True):
            self.world.checker.history.said(operation.key, result, part)
        self.world.carry(caller.answered, wish, wish.finished, status, body)

    # ------------------------------------------------------------ the engine

    def _rebuilt(self) -> None:
        """The runner goes back to the journal: nothing else is left of what it knew."""
        self._rebuild()
        self.world.checker.began(self.runner.engine, "rebuild")

    def _took_effect(self, item: Input, outputs: tuple[Output, ...]) -> None:
        self.world.checker.took_effect(self.runner.engine.state, item, outputs)
