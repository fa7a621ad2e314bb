"""A real streamer in a process of its own, started, signalled and read like an operator would.

It must not know what is sent to it.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

SECRET = "the-link-of-a-floor-in-trouble"
START_S = 30.0


class Program:
    """`python -m streamer` on a data directory, at a free port. Use as a context manager, or call `end`.

    Attributes:
        port: where drivers, gateways and dashboards connect.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        module: str = "streamer",
        port: int = 0,
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        """`module` is what `python -m` runs; `prefix` goes before the command (`prlimit --nofile=128`)."""
        self.data = data
        self.port = 0
        self._log = (data.parent / f"{data.name}.log").open("ab")
        self._begun = self._log.tell()
        command = (*prefix, sys.executable, "-m", module, "--data", str(data), "--ingest-port", str(port), *options)
        self.running = subprocess.Popen(
            command, stdout=self._log, stderr=self._log,
            env={**os.environ, "MALLARD_LINK_SECRET": SECRET, **(env or {})},
        )  # fmt: skip

    def wait_ready(self) -> Self:
        """Return once it listens.

        Raises:
            AssertionError: it ended, or took too long.
        """
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            if found := re.search(r'"port": (\d+)', self.log()):
                self.port = int(found[1])
                return self
            assert self.running.poll() is None, self.log()
            time.sleep(0.02)
        raise AssertionError(f"the streamer did not start: {self.log()}")

    def log(self) -> str:
        """What this run has printed so far."""
        with Path(self._log.name).open("rb") as file:
            file.seek(self._begun)
            return file.read().decode(errors="replace")

    def events(self, name: str) -> list[dict[str, object]]:
        """The lines logged under this name."""
        lines = (line for line in self.log().splitlines() if line.startswith("{"))
        return [event for line in lines if (event := json.loads(line)).get("event") == name]

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self.running.send_signal(number)

    def wait(self, timeout_s: float = 20.0) -> int:
        """The exit code."""
        return self.running.wait(timeout_s)

    async def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        """Signal it, wait without holding up the loop, and return the exit code."""
        self.send(number)
        code = await asyncio.to_thread(self.wait, timeout_s)
        self._log.close()
        return code

    def __enter__(self) -> Self:
        return self.wait_ready()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running.poll() is None:
            self.running.kill()
            self.running.wait(20)
        self._log.close()
