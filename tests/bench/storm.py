"""A fleet that lost its connection comes back all at once: how long until everybody is welcome again.

It must not know the server's limits: it obeys 503 and `Retry-After`, with full jitter on top, as the protocol asks.
"""

import heapq
import select
import socket
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from streamer.edge.simulation.backoff import Backoff, retry_after_s
from tests.bench.fleet import upgrade

GIVE_UP_S = 180.0
AT_ONCE = 512
"""Connections begun between two looks at the answers; a listening queue is finite, a metropolis is not in step."""


class StormPlan(Struct):
    """One socket a token."""

    port: int
    tokens: list[str]


class StormOutcome(Struct):
    """`errors`: connections that ended otherwise than by 503 or a welcome. `refused`: answered with 503."""

    seconds: float
    welcomed: int
    errors: int
    refused: int
    load_share: float


class Caller:
    """One phone: its token, its socket, what it heard, how long it waits next."""

    def __init__(self, token: str) -> None:
        self.request = upgrade("/v1/drivers", token)
        self.sock: socket.socket | None = None
        self.heard = b""
        self.backoff = Backoff()


class Storm:
    """All callers, and those that wait for another try."""

    def __init__(self, plan: StormPlan) -> None:
        self.port = plan.port
        self.callers = [Caller(token) for token in plan.tokens]
        self.welcomed = self.errors = self.refused = 0
        self._epoll = select.epoll()
        self._by_fd: dict[int, Caller] = {}
        self._due: list[tuple[float, int]] = [(0.0, number) for number in range(len(self.callers))]
        self._number = {id(caller): number for number, caller in enumerate(self.callers)}

    def run(self) -> StormOutcome:
        """Call until everybody is in, or it takes too long."""
        begun, own = time.monotonic(), time.process_time()
        while self.welcomed < len(self.callers) and time.monotonic() - begun < GIVE_UP_S:
            self._call_due()
            self._listen()
        seconds = time.monotonic() - begun
        share = (time.process_time() - own) / seconds
        return StormOutcome(seconds, self.welcomed, self.errors, self.refused, share)

    def close(self) -> None:
        """Hang up."""
        for caller in self.callers:
            if caller.sock is not None:
                caller.sock.close()
        self._epoll.close()

    def _call_due(self) -> None:
        for _ in range(AT_ONCE):
            if not self._due or self._due[0][0] > time.monotonic():
                return
            _, number = heapq.heappop(self._due)
            self._call(self.callers[number])

    def _call(self, caller: Caller) -> None:
        caller.sock = sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", self.port))
        caller.heard = b""
        self._by_fd[sock.fileno()] = caller
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _listen(self) -> None:
        for fd, event in self._epoll.poll(0.01):
            caller = self._by_fd[fd]
            try:
                if event & select.EPOLLOUT:
                    self._ask(caller)
                else:
                    self._hear(caller)
            except OSError:
                self.errors += 1
                self._again(caller, 0.0)

    def _ask(self, caller: Caller) -> None:
        assert caller.sock is not None
        caller.sock.send(caller.request)
        self._epoll.modify(caller.sock.fileno(), select.EPOLLIN)

    def _hear(self, caller: Caller) -> None:
        assert caller.sock is not None
        chunk = caller.sock.recv(4096)
        caller.heard += chunk
        if b'"welcome"' in caller.heard:
            self.welcomed += 1
            self._epoll.unregister(caller.sock.fileno())
        elif caller.heard.startswith(b"HTTP/1.1 503") and b"\r\n\r\n" in caller.heard:
            self.refused += 1
            self._again(caller, _advice(caller.heard))
        elif not chunk:
            raise ConnectionError("ended without an answer")

    def _again(self, caller: Caller, advised_s: float) -> None:
        assert caller.sock is not None
        del self._by_fd[caller.sock.fileno()]
        caller.sock.close()
        wait_s = caller.backoff.wait_s(advised_s)
        heapq.heappush(self._due, (time.monotonic() + wait_s, self._number[id(caller)]))


def _advice(answer: bytes) -> float:
    for line in answer.decode(errors="replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "retry-after":
            return retry_after_s(value.strip()) or 0.0
    return 0.0


def main() -> None:
    plan = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=StormPlan)
    print(msgspec.json.encode(Storm(plan).run()).decode())


if __name__ == "__main__":
    main()
