"""A Redis of our own as a peer: started on a free port, without persistence, on the other core, and ended again.

It must not know what is asked of it. Redis and its client are of the bench only; the product needs neither.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.bench.children import BenchError, cores

START_S = 10.0
HOST = "127.0.0.1"


def absence() -> str:
    """Why there is no Redis to compare with, or nothing."""
    if shutil.which("redis-server") is None:
        return "redis-server is not on this machine"
    try:
        import redis  # noqa: F401
    except ImportError:
        return "the Python client redis is not installed"
    return ""


@contextmanager
def own_redis() -> Iterator[Any]:
    """A client (with hiredis, if that is installed) of a server that is ended afterwards."""
    import redis

    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sched_setaffinity(process.pid, {cores()[0]})
    client = redis.Redis(host=HOST, port=port)
    try:
        _wait(client)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait(START_S)


def _wait(client: Any) -> None:
    import redis

    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s:
        with suppress(redis.ConnectionError):
            client.ping()
            return
        time.sleep(0.05)
    raise BenchError("redis-server did not answer")
