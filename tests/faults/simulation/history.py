"""The commands people gave and what they were told, held against the log: a history in the manner of Jepsen.

It must not know how a command travelled. Each ends `ok`, `refused` or `unknown`; the log has to explain them all.
Source: jepsen.io, for the three outcomes and for real-time order; the rest is far simpler, since the log is at hand.
"""

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from tests.faults.simulation.checker import Checker

Outcome = Literal["unknown", "ok", "refused"]


class Operation(Struct):
    """One command under one idempotency key, however often it was sent. Instants are simulated seconds."""

    actor: str
    key: str
    what: str
    invoked_s: float
    answered_s: float = 0.0
    outcome: Outcome = "unknown"
    command_id: str = ""


class History:
    """Everything that was asked for, in the order it was."""

    def __init__(self, checker: "Checker") -> None:
        self._checker = checker
        self.operations: dict[str, Operation] = {}

    def invoke(self, operation: Operation) -> None:
        """Somebody wants something done."""
        self.operations[operation.key] = operation

    def said(self, key: str, status: int, body: dict[str, Any]) -> None:
        """The server answered one of the times this key was sent; the answer may yet be lost on its way."""
        if status < 300:
            self._said_done(key, body)
        else:
            has_reason = bool(body.get("code")) and bool(body.get("detail"))
            self._checker.require(has_reason, "I9", f"{key} was refused with {status} and {body}")

    def _said_done(self, key: str, body: dict[str, Any]) -> None:
        """A success was said: it is durable, and the same answer every time."""
        effect = self._checker.effects.get(key)
        self._checker.require(effect is not None, "I1", f"{key} was answered with success and is not durable")
        if effect is None:
            return
        told = f"{key} was told {body['command_id']}, the log has {effect.command_id}"
        self._checker.require(body["command_id"] == effect.command_id, "history", told)
        what = self.operations[key].what
        one = [{name: value for name, value in body.items() if name != "command_id"}]
        shown = body["items"] if what in {"undo", "hand_over"} else one
        if what != "duty":
            other = f"{key} was shown {shown}, it made {effect.orders}"
            self._checker.require(shown == effect.orders, "history", other)
        self._checker.acked.commands.add(effect.command_id)

    def finish(self) -> None:
        """Every command did what its sender was told, and in an order that time allows."""
        for operation in self.operations.values():
            effect = self._checker.effects.get(operation.key)
            if operation.outcome == "ok":
                self._checker.require(effect is not None, "history", f"{operation.key} succeeded and is not in the log")
            elif operation.outcome == "refused":
                self._checker.require(effect is None, "history", f"{operation.key} was refused and is in the log")
        self._judge_order()

    def _judge_order(self) -> None:
        """What was answered before something else was asked for is before it in the log."""
        done = [op for op in self.operations.values() if op.outcome == "ok" and op.key in self._checker.effects]
        latest = 0
        answered = sorted(done, key=lambda op: (op.answered_s, op.key))
        at = 0
        for operation in sorted(done, key=lambda op: (op.invoked_s, op.key)):
            while at < len(answered) and answered[at].answered_s < operation.invoked_s:
                latest = max(latest, self._checker.effects[answered[at].key].seq)
                at += 1
            seq = self._checker.effects[operation.key].seq
            self._checker.require(seq > latest, "history", f"{operation.key} took effect before what it came after")
