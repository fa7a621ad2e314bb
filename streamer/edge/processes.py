"""Starts programs of ours as children that cannot outlive this one, and ends them.

It must not know what they do.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

END_S = 4.0
"""A child that is asked to end has so long, before it is made to."""
LINE_BYTES = 1 << 20
"""Of a line that a child says, at the most."""


async def start_child(
    module: str, env: Mapping[str, str] | None = None, stdout: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    """`python -m module`, with `env` besides our own environment: secrets belong there, and in no command line.

    In a session of its own, since a Ctrl-C is for us, and we end it in order. Its stdin is the leash: when we are
    killed, the pipe closes and it ends too.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env={**os.environ, **(env or {})}, start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=stdout, limit=LINE_BYTES,
    )  # fmt: skip


async def tell_child(child: asyncio.subprocess.Process, line: bytes) -> None:
    """Write a line to its stdin; if it has ended already, nobody hears it."""
    assert child.stdin is not None
    with suppress(ConnectionError):
        child.stdin.write(line + b"\n")
        await child.stdin.drain()


async def end_child(child: asyncio.subprocess.Process | None) -> None:
    """Ask a child to end, and make it after some seconds; when this returns, it has."""
    if child is None or child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), END_S)
        except TimeoutError:
            child.kill()
            await child.wait()
