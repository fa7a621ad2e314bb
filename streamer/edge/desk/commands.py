"""The calls that change the floor: orders placed, commands, bulk, undo, hand-overs, duty and the autopilot's rules.

It must not check roles, and it must not decide: the engine does, and its refusals are worded here as HTTP statuses.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from streamer.core.events import (
    CommandDone,
    DriverRegistered,
    HandOver,
    OrderCommand,
    OrderPlaced,
    Output,
    Refused,
    SetAutopilot,
    SetDuty,
    Undo,
)
from streamer.core.snapshot import dump_state, load_state
from streamer.core.views import driver_view, order_view
from streamer.edge.accounts import Accounts
from streamer.edge.desk import calls
from streamer.edge.desk.calls import Answer, Caller, CallRefusedError
from streamer.edge.desk.reads import Reads
from streamer.edge.runner import Runner

STATUSES: dict[str, int] = {
    "not_found": 404, "unknown_driver": 404, "forbidden": 403, "key_reused": 422, "bad_field": 422,
    "bad_coordinate": 422, "storage_full": 503, "internal": 500,
}  # fmt: skip
"""HTTP status by the engine's code; every other refusal is a 409: the request was fine, the floor is not so."""


class Commands:
    """Carries callers' changes to the runner and words what came of them."""

    def __init__(self, runner: Runner, reads: Reads, accounts: Accounts) -> None:
        self.runner = runner
        self.accounts = accounts
        self.reads = reads

    async def place(self, who: Caller, params: calls.Place) -> Answer:
        """Place an order: 201, or 200 when it was there already."""
        order = replace(params.order, actor=who.name, key=params.key or params.order.key)
        if not who.may_see(order.mall_id):
            raise CallRefusedError(403, "forbidden", f"mall {order.mall_id} is outside your scope")
        done = self._done(await self.runner.ask(order))
        stored = self._stored(order)
        return Answer(self._order_after(done, stored), 200 if done.repeated and stored is None else 201)

    async def command(self, who: Caller, params: calls.OrderChange) -> Answer:
        """One command on one order: the order as it now is, and the command's id."""
        command = self._order_command(who, params)
        done = self._done(await self.runner.ask(command))
        return Answer(self._order_after(done, self._stored(command)))

    async def bulk(self, who: Caller, params: calls.Bulk) -> Answer:
        """Many commands; a result for each, in their order. Of an atomic bulk that was refused, none is a success."""
        checked = [self._check(who, raw) for raw in params.commands]
        if params.atomic:
            if refused := self._refused_together(checked):
                return Answer({"items": [self._result(problem, problem) for problem in refused]})
            waits = _handed_in_together(self.runner, [entry for entry in checked if isinstance(entry, OrderCommand)])
        else:
            # All are handed in before the first is waited for: nothing gets in between, and they share a commit.
            waits = [_handed_in(self.runner, entry) for entry in checked]
        came = [await wait for wait in waits]
        return Answer({"items": [self._result(one, entry) for one, entry in zip(came, checked, strict=True)]})

    async def undo(self, who: Caller, params: calls.UndoOf) -> Answer:
        """Take a command back: the orders as they now are."""
        record = self.runner.engine.state.commands.get(params.command_id)
        for was in record.before if record else ():
            self.reads.find_order(who, was.order_id)
        undo = Undo(params.command_id, who.name, params.reason, params.key)
        done = self._done(await self.runner.ask(undo))
        return Answer(self._orders_after(done, self._stored(undo)))

    async def hand_over(self, who: Caller, params: calls.HandOverOf) -> Answer:
        """Give all orders of a driver to another, or back to the queue: the orders as they now are."""
        driver = self.reads.find_driver(who, params.driver_id)
        if params.to_driver_id is not None:
            self.reads.find_driver(who, params.to_driver_id)
        for order_id in driver.order_ids:
            self.reads.find_order(who, order_id)
        item = HandOver(params.driver_id, params.to_driver_id, who.name, params.reason, params.key)
        done = self._done(await self.runner.ask(item))
        return Answer(self._orders_after(done, self._stored(item)))

    async def duty(self, who: Caller, params: calls.DutyOf) -> Answer:
        """Put a driver on or off duty; one nobody knows is registered first, for the malls of the caller's scope."""
        if params.driver_id in self.runner.engine.state.drivers:
            driver = self.reads.find_driver(who, params.driver_id)
            for order_id in driver.order_ids if params.duty != "on_duty" else ():
                self.reads.find_order(who, order_id)
        else:
            self.runner.submit(self._newcomer(who, params.driver_id))
        item = SetDuty(params.driver_id, params.duty, who.name, params.reason, params.key)
        done = self._done(await self.runner.ask(item))
        view = driver_view(self.runner.engine.state.drivers[params.driver_id], self.runner.now_ms())
        return Answer({**msgspec.structs.asdict(view), "command_id": done.command_id})

    async def set_autopilot(self, who: Caller, params: calls.AutopilotOf) -> Answer:
        """Change how the autopilot works at a mall: its rules as they now are."""
        mall_id = self.reads.find_mall(who, params.mall_id)
        if params.rules.mode not in {"off", "suggest"} and not self.reads.autopilot.may_decide:
            detail = "a recording has its own decisions: its autopilot is off or suggests"
            raise CallRefusedError(409, "only_suggests", detail)
        item = SetAutopilot(mall_id, params.rules, who.name, params.reason, params.key)
        done = self._done(await self.runner.ask(item))
        return Answer({**self.reads.autopilot_of(mall_id), "command_id": done.command_id})

    def _newcomer(self, who: Caller, driver_id: str) -> DriverRegistered:
        """A driver the floor has not met: as the accounts have it, else of the caller's malls."""
        driver = self.accounts.driver(driver_id) or DriverRegistered(driver_id)
        if driver.mall_ids and not any(who.may_see(mall_id) for mall_id in driver.mall_ids):
            raise CallRefusedError(403, "forbidden", f"driver {driver_id} is of a mall outside your scope")
        return replace(driver, mall_ids=driver.mall_ids or who.mall_ids)

    # ------------------------------------------------------------ in

    def _order_command(self, who: Caller, params: calls.OrderChange) -> OrderCommand:
        order = self.reads.find_order(who, params.order_id)
        if params.expected_version is None:
            raise CallRefusedError(
                428, "version_required", f"name the version of order {order.id} you saw as expected_version"
            )
        if params.driver_id is not None:
            self.reads.find_driver(who, params.driver_id)
        return OrderCommand(
            params.action, params.order_id, params.expected_version, who.name, params.driver_id, params.position,
            params.ready_ms, params.reason, params.key,
        )  # fmt: skip

    def _check(self, who: Caller, raw: msgspec.Raw) -> OrderCommand | CallRefusedError:
        """One command of a bulk, or what is wrong with it: a bad one never loses the good ones."""
        try:
            return self._order_command(who, msgspec.json.decode(raw, type=calls.OrderChange))
        except msgspec.DecodeError as error:
            return CallRefusedError(422, "bad_field", str(error))
        except CallRefusedError as error:
            return error

    def _refused_together(self, checked: Sequence[OrderCommand | CallRefusedError]) -> list[CallRefusedError]:
        """Tries all on a copy of the state: empty when every one would take effect, else what to tell each."""
        engine = self.runner.engine
        trial = engine.twin(load_state(dump_state(engine.state)))
        spared = CallRefusedError(424, "not_applied", "another command of this atomic bulk was refused")
        problems: list[CallRefusedError] = []
        for entry in checked:
            if isinstance(entry, CallRefusedError):
                problems.append(entry)
                continue
            outputs = trial.handle(self.runner.now_ms(), entry)
            problems.append(self._refusal(outputs[0]) if isinstance(outputs[0], Refused) else spared)
        return problems if any(problem is not spared for problem in problems) else []

    # ------------------------------------------------------------ out

    def _done(self, outputs: tuple[Output, ...]) -> CommandDone:
        match outputs[0]:
            case CommandDone() as done:
                return done
            case Refused() as refused:
                raise self._refusal(refused)
            case other:
                raise CallRefusedError(500, "internal", f"a command came to {type(other).__name__}")

    def _refusal(self, refused: Refused) -> CallRefusedError:
        status = STATUSES.get(refused.code, 409)
        order = self.runner.engine.state.orders.get(refused.order_id or "")
        shown = order_view(order) if order is not None and status == 409 else None
        return CallRefusedError(status, refused.code, refused.message, shown)

    def _result(
        self, came: tuple[Output, ...] | CallRefusedError, entry: OrderCommand | CallRefusedError
    ) -> dict[str, object]:
        try:
            if isinstance(came, CallRefusedError):
                raise came
            stored = None if isinstance(entry, CallRefusedError) else self._stored(entry)
            return {"status": 200, "body": self._order_after(self._done(came), stored)}
        except CallRefusedError as error:
            return {"status": error.status, "problem": error.problem}

    def _stored(self, item: OrderPlaced | OrderCommand | HandOver | Undo) -> list[dict[str, object]] | None:
        """The orders as the first answer to this key showed them, or None without a key (or a key never used)."""
        record = self.runner.engine.state.keys.get(f"{item.actor}:{item.key}") if item.key else None
        return msgspec.json.decode(record.answer, type=list[dict[str, object]]) if record else None

    def _order_after(self, done: CommandDone, stored: list[dict[str, object]] | None) -> dict[str, object]:
        if stored:
            return {**stored[0], "command_id": done.command_id}
        order = self.runner.engine.state.orders.get(done.order_ids[0])
        if order is None:
            raise CallRefusedError(410, "gone", f"order {done.order_ids[0]} ended long ago")
        return {**msgspec.structs.asdict(order_view(order)), "command_id": done.command_id}

    def _orders_after(self, done: CommandDone, stored: list[dict[str, object]] | None) -> dict[str, object]:
        if stored is not None:
            return {"command_id": done.command_id, "items": stored}
        orders = self.runner.engine.state.orders
        return {
            "command_id": done.command_id,
            "items": [order_view(orders[order_id]) for order_id in done.order_ids if order_id in orders],
        }


Came = asyncio.Future[tuple[Output, ...] | CallRefusedError]


def _handed_in(runner: Runner, entry: OrderCommand | CallRefusedError) -> Came:
    """A command given to the runner now, to be waited for later; what was refused before is its own answer."""
    future: Came = asyncio.get_running_loop().create_future()
    if isinstance(entry, CallRefusedError):
        future.set_result(entry)
    else:
        runner.submit(entry, partial(_came, future))
    return future


def _handed_in_together(runner: Runner, entries: Sequence[OrderCommand]) -> list[Came]:
    """Commands given to the runner now that become durable all or none."""
    futures: list[Came] = [asyncio.get_running_loop().create_future() for _ in entries]
    runner.submit_together(entries, [partial(_came, future) for future in futures])
    return futures


def _came(future: Came, outputs: Sequence[Output]) -> None:
    if not future.done():
        future.set_result(tuple(outputs))
