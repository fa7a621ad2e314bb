"""Runs the dashboard as a child of this program, and ends it by its own process id.

It must not know what the dashboard shows.
"""

import asyncio
import socket
import sys
import time
from contextlib import suppress

import httpx

from streamer.core.errors import ConfigurationError
from streamer.edge.processes import end_child, start_child
from streamer.edge.server import port_fault

READY_S = 60.0
POLL_S = 0.1
LEASH_S = 1.0


class DashboardChild:
    """`python -m dashboard`, connected to a link."""

    def __init__(self, link_url: str, secret: str, host: str, port: int) -> None:
        self.url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared, not bound
        self._host, self._port = host, port
        self._environment = {
            "MALLARD_LINK": link_url, "MALLARD_LINK_SECRET": secret, "MALLARD_HOST": host, "MALLARD_PORT": str(port),
            "MALLARD_LEASH": "1",
        }  # fmt: skip
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ConfigurationError: its port is taken, or it ended at once, or it does not answer within a minute.
        """
        check_free(self._host, self._port)
        self._child = await start_child("dashboard", self._environment, stdout=sys.stderr.fileno())
        ready, ended = asyncio.create_task(self._answers()), asyncio.create_task(self._child.wait())
        try:
            done, _ = await asyncio.wait((ready, ended), timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ready, ended):
                task.cancel()
        if ready not in done:
            raise ConfigurationError(
                "the dashboard ended while starting" if ended in done else "the dashboard does not answer"
            )

    async def run(self) -> None:
        """Wait for its end, which is a fault as long as nobody asked for it.

        Raises:
            ConfigurationError: it ended.
        """
        assert self._child is not None
        code = await self._child.wait()
        raise ConfigurationError(f"the dashboard ended by itself (exit code {code})")

    async def end(self) -> None:
        """Ask it to end, and make it after some seconds."""
        await end_child(self._child)

    async def _answers(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=2.0, trust_env=False) as client:
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get("/healthz")).status_code == 200:
                        return
                await asyncio.sleep(POLL_S)


def check_free(host: str, port: int) -> None:
    """See that a port can be listened on, before a child is started that wants to.

    A dashboard whose streamer was killed a moment ago is given `LEASH_S` to let go of it.

    Raises:
        ConfigurationError: it cannot.
    """
    until_s = time.monotonic() + LEASH_S
    while True:
        try:
            with socket.create_server((host, port)):
                return
        except OSError as error:
            if time.monotonic() > until_s:
                raise port_fault(error, port) from error
        time.sleep(POLL_S)
