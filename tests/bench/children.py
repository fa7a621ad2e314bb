"""Programs under measurement, each pinned to a core of its own: started, timed and weighed from outside, and ended.

It must not know what they do, except that they print `ready PORT`.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_S = 90.0
END_S = 20.0
_USABLE = sorted(os.sched_getaffinity(0))


class BenchError(RuntimeError):
    """Something under measurement did not work; the message is one line for whoever runs the bench."""


def cores() -> tuple[int, int]:
    """The core of what is measured, and that of the load.

    Raises:
        BenchError: there is only one.
    """
    if len(_USABLE) < 2:
        raise BenchError("the bench needs two cores: one for what is measured, one for the load")
    return _USABLE[0], _USABLE[1]


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process, user and system, to the nanosecond.

    Source: clock_getcpuclockid(3); Linux numbers a process's CPU clock as ~pid << 3 | 2.
    """
    return time.clock_gettime((~pid << 3) | 2)


def rss_kib(pid: int) -> int:
    """Resident memory of a process, KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise BenchError(f"process {pid} has no resident memory: it has ended")


class Child:
    """A program that said it is ready. `ready_s`: how long that took, from before its start."""

    def __init__(self, process: subprocess.Popen[str], port: int, ready_s: float) -> None:
        self.process = process
        self.port = port
        self.ready_s = ready_s

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


def launch(module: str, arguments: list[str], core: int, log: Path) -> "subprocess.Popen[str]":
    """Start a module of this package on a core, with as many open files as the system lets it have."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    os.sched_setaffinity(process.pid, {core})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, most))
    return process


@contextmanager
def running(module: str, *arguments: str, log: Path, stop: signal.Signals = signal.SIGTERM) -> Iterator[Child]:
    """A child on the measured core, from `ready` to its end, which `stop` brings about.

    Raises:
        BenchError: it ended, or did not get ready in time.
    """
    begun = time.monotonic()
    process = launch(module, list(arguments), cores()[0], log)
    try:
        yield Child(process, _port_of(process, log), time.monotonic() - begun)
    finally:
        process.send_signal(stop)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _port_of(process: "subprocess.Popen[str]", log: Path) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["ready"]:
            return int(words[1])
    raise BenchError(f"a program ended before it was ready: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last line a program wrote on stderr."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
