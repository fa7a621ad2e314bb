"""The load: raw sockets, epoll and frames made by hand, so that the generator is never what is measured.

It must not know who it talks to; a plan says how many sockets, what is sent on them and what comes back. Its own CPU
is part of what it reports: above nine tenths of its core a figure would be the generator's, and is not valid.
"""

import re
import select
import socket
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.bench.children import cpu_s, rss_kib
from tests.bench.dial import connect
from tests.bench.fleet import Fleet, framed
from tests.bench.plan import DRAIN_S, Outcome, Plan, Sent, quantile

ACK = re.compile(rb'"type":"ack","seq":(\d+)(?:,"driver_id":"d-(\d+)")?')
DUTY = b'"id":"duty"'
NACK = re.compile(rb'\{"type":"nack"[^{}]*\}')
POLL_S = 0.0005
SENDS_A_POLL = 200
"""So many sends at most before what came back is read."""
DUTY_BATCH = 500
DUTY_AT_ONCE = 4_000
AT_ONCE, ENTRY_S = 900, 0.0025
"""A fleet comes in by itself: more at once, or sooner after one another, and the product would rightly send it away."""


class Lane:
    """One socket: who speaks on it, what is unsent, what is unanswered."""

    __slots__ = ("drivers", "out", "sock", "tail", "turn", "unanswered")

    def __init__(self, sock: socket.socket, drivers: list[int]) -> None:
        self.sock = sock
        self.drivers = drivers
        self.turn = 0
        self.out = b""
        self.tail = b""
        self.unanswered: deque[tuple[int, int, int, int]] = deque()
        """Of each frame: its last driver and `seq`, when it was sent, how many pings it has."""

    def next_drivers(self, count: int) -> list[int]:
        """Whose turn it is."""
        at, size = self.turn, len(self.drivers)
        self.turn = (at + count) % size
        return [self.drivers[(at + step) % size] for step in range(count)]


class Load:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.fleet = Fleet(plan.drivers, plan.first_seq)
        self.acked = [0] * plan.drivers
        self.sent = self.done = self.nacks = self.on_duty = self.welcomed = 0
        self.complaint = ""
        self.ack_ns: array[int] = array("q")
        self.noted = Sent([], [], [], 0) if plan.notes else None
        self._clogged: dict[int, Lane] = {}
        self._epoll = select.epoll()
        self._lanes: list[Lane] = []
        self._by_fd: dict[int, Lane] = {}
        self._reported = 0
        self._began_s = 0.0
        self._bursts = 0

    # ------------------------------------------------------------ opening

    def open(self) -> None:
        """Connect every socket, and have every driver put on duty if the peer wants that."""
        plan = self.plan
        for number in range(plan.connections):
            if number >= AT_ONCE:
                time.sleep(ENTRY_S)
            token = plan.tokens[number] if plan.tokens else ""
            sock, early = connect(plan.port, token)
            lane = Lane(sock, list(range(number, plan.drivers, plan.connections)))
            self._lanes.append(lane)
            self._by_fd[sock.fileno()] = lane
            self._epoll.register(sock.fileno(), select.EPOLLIN)
            self._read(lane, early)
        if plan.tokens:
            self._until(lambda: self.welcomed >= plan.connections, "welcomes")
        if plan.duty:
            self._go_on_duty()

    def _go_on_duty(self) -> None:
        for lane in self._lanes:
            for at in range(0, len(lane.drivers), DUTY_BATCH):
                some = lane.drivers[at : at + DUTY_BATCH]
                reports = [self.fleet.on_duty(number, now_ms()) for number in some]
                one = len(lane.drivers) == 1
                self._write(lane, framed(reports[0] if one else b"[" + b",".join(reports) + b"]"))
                self._reported += len(some)
                self._until(lambda: self._reported - self.on_duty < DUTY_AT_ONCE, "reports taken")
        self._until(lambda: self.on_duty >= self._reported, "reports taken")

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + DRAIN_S
        while not reached():
            self._poll(0.01)
            if time.monotonic() > end_s:
                raise TimeoutError(f"no {what} for {DRAIN_S:.0f} s: {self.complaint or 'and no complaint'}")

    # ------------------------------------------------------------ driving

    def run(self) -> Outcome:
        """Open, warm up, measure, and wait for the last answers."""
        plan = self.plan
        before_kib = rss_kib(plan.server_pid)
        self.open()
        time.sleep(0.3)
        open_kib = rss_kib(plan.server_pid)
        self._start()
        self._drive(plan.warm_s)
        self.ack_ns = array("q")
        begun_s, server_s, own_s, sent, done = self._reading()
        if self.noted is not None:
            self.noted.from_ns = int(begun_s * 1e9)
        self._drive(plan.seconds)
        ended_s, server_end_s, own_end_s, sent_end, done_end = self._reading()
        self._drain()
        pings = done_end - done if plan.answers else sent_end - sent
        acks = sorted(self.ack_ns)
        return Outcome(
            pings, ended_s - begun_s, server_end_s - server_s, (own_end_s - own_s) / (ended_s - begun_s),
            self.sent - self.done, self.nacks, self.complaint, quantile(acks, 0.5) / 1e6, quantile(acks, 0.99) / 1e6,
            before_kib, open_kib, rss_kib(plan.server_pid),
        )  # fmt: skip

    def _reading(self) -> tuple[float, float, float, int, int]:
        return time.monotonic(), cpu_s(self.plan.server_pid), time.process_time(), self.sent, self.done

    def _start(self) -> None:
        self._began_s = time.monotonic()
        self._bursts = 0
        if self.plan.mode == "window":
            for lane in self._lanes:
                self._send(lane, self.plan.window)

    def _drive(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        if self.plan.mode == "paced":
            self._drive_paced(end_s)
        elif self.plan.mode == "window":
            self._drive_window(end_s)
        else:
            while time.monotonic() < end_s:
                self._poll(0.05)

    def _drive_paced(self, end_s: float) -> None:
        plan = self.plan
        bursts_a_second = plan.rate / plan.batch / plan.burst
        while (now_s := time.monotonic()) < end_s:
            due = min(int((now_s - self._began_s) * bursts_a_second), self._bursts + SENDS_A_POLL)
            while self._bursts < due:
                self._send(self._lanes[self._bursts % plan.connections], plan.burst)
                self._bursts += 1
            self._poll(POLL_S)

    def _drive_window(self, end_s: float) -> None:
        while time.monotonic() < end_s:
            for lane, frames in self._poll(0.001):
                self._send(lane, frames)

    def _drain(self) -> None:
        """Wait for what is not answered yet, or until a peer that only counts has counted everything."""
        end_s = time.monotonic() + self.plan.drain_s
        if self.plan.answers:
            while self.done < self.sent and time.monotonic() < end_s:
                self._poll(0.01)
            return
        while self._clogged and time.monotonic() < end_s:
            self._poll(0.01)
        frames = self.sent // self.plan.batch
        while (counted := self._count()) < frames and time.monotonic() < end_s:
            time.sleep(0.02)
        self.done = counted * self.plan.batch

    def _count(self) -> int:
        sock, rest = connect(self.plan.port, "")
        with sock:
            sock.setblocking(True)
            sock.sendall(framed(b"count"))
            while len(rest) < 2 or len(rest) < 2 + rest[1]:
                rest += sock.recv(64)
        return int(rest[2 : 2 + rest[1]])

    # ------------------------------------------------------------ sending

    def _send(self, lane: Lane, frames: int) -> None:
        plan, fleet, fix_ms = self.plan, self.fleet, now_ms()
        sent_ns = time.monotonic_ns()
        parts: list[bytes] = []
        for _ in range(frames):
            numbers = lane.next_drivers(plan.batch)
            parts.append(framed(fleet.ping(numbers[0], fix_ms) if plan.batch == 1 else fleet.batch(numbers, fix_ms)))
            last = numbers[-1]
            if plan.answers:
                lane.unanswered.append((last, fleet.seqs[last], sent_ns, plan.batch))
            if self.noted is not None:
                for number in numbers:
                    self.noted.drivers.append(number)
                    self.noted.seqs.append(fleet.seqs[number])
                    self.noted.ns.append(sent_ns)
        self.sent += frames * plan.batch
        self._write(lane, b"".join(parts))

    def _write(self, lane: Lane, data: bytes) -> None:
        if lane.out:
            lane.out += data
            return
        try:
            written = lane.sock.send(data)
        except BlockingIOError:
            written = 0
        if written < len(data):
            lane.out = data[written:]
            self._clogged[lane.sock.fileno()] = lane

    def _unclog(self) -> None:
        for fd, lane in list(self._clogged.items()):
            data, lane.out = lane.out, b""
            del self._clogged[fd]
            self._write(lane, data)

    # ------------------------------------------------------------ hearing

    def _poll(self, wait_s: float) -> list[tuple[Lane, int]]:
        """Reads what came back; the sockets on which frames were answered, and how many."""
        if self._clogged:
            self._unclog()
        answered = []
        for fd, _ in self._epoll.poll(wait_s):
            lane = self._by_fd[fd]
            heard = lane.sock.recv(1 << 18)
            if not heard:
                raise ConnectionError(f"the server closed a socket: {self.complaint or lane.tail[-80:]!r}")
            frames = self._read(lane, heard)
            if frames:
                answered.append((lane, frames))
        return answered

    def _read(self, lane: Lane, heard: bytes) -> int:
        """Takes the answers out of the bytes; frames need not be cut apart for that, since a server masks nothing."""
        text = lane.tail + heard
        end = text.rfind(b"}") + 1
        lane.tail = text[end:]
        if b'"nack"' in text or b'"welcome"' in text or DUTY in text:
            self._read_rare(text[:end])
        for seq, driver in ACK.findall(text, 0, end):
            self.acked[int(driver) if driver else lane.drivers[0]] = int(seq)
        return self._settle(lane)

    def _read_rare(self, text: bytes) -> None:
        self.welcomed += text.count(b'"welcome"')
        self.on_duty += text.count(DUTY)
        refusals = NACK.findall(text)
        self.nacks += len(refusals)
        if refusals:
            self.complaint = refusals[-1].decode(errors="replace")

    def _settle(self, lane: Lane) -> int:
        frames, now_ns, unanswered = 0, time.monotonic_ns(), lane.unanswered
        while unanswered and self.acked[unanswered[0][0]] >= unanswered[0][1]:
            _, _, sent_ns, pings = unanswered.popleft()
            self.ack_ns.append(now_ns - sent_ns)
            self.done += pings
            frames += 1
        return frames


def now_ms() -> int:
    """Now, UTC epoch milliseconds."""
    return time.time_ns() // 1_000_000


def main() -> None:
    plan = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    load = Load(plan)
    try:
        outcome = load.run()
    except (OSError, TimeoutError) as error:
        sys.exit(f"the load failed: {error}")
    if load.noted is not None:
        Path(plan.notes).write_bytes(msgspec.msgpack.encode(load.noted))
    print(msgspec.json.encode(outcome).decode())


if __name__ == "__main__":
    main()
