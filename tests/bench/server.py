"""The product itself under load: `run_live` as `python -m streamer` runs it, with the bench's limits and notes.

It must not know what is measured. Beside the product it does three things, each only when asked: other gateway limits,
Python's own garbage collection instead of the product's, and a note of the instant each ping was applied.
"""

import argparse
import asyncio
import gc
import logging
import time
from array import array
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct
from msgspec.structs import replace

from streamer.cli.shown import configure_logging
from streamer.core.events import Input, Ping
from streamer.edge.server import LiveOptions, Streamer, run_live

NO_LIMIT = 1e9
PYTHON_THRESHOLDS = (700, 10, 10)
"""Source: docs.python.org/3.11/library/gc.html, as an interpreter starts."""


class Marks(Struct):
    """When which ping was applied: three columns. `ns` is CLOCK_MONOTONIC, which all processes share."""

    drivers: list[str]
    seqs: list[int]
    ns: list[int]


class Noting:
    """A hook of the runner; it allocates nothing that the garbage collector would have to walk."""

    def __init__(self) -> None:
        self.drivers: list[str] = []
        self.seqs = array("q")
        self.ns = array("q")

    def __call__(self, item: Input, _outputs: object) -> None:
        if isinstance(item, Ping):
            self.drivers.append(item.driver_id)
            self.seqs.append(item.seq or 0)
            self.ns.append(time.monotonic_ns())

    def write(self, path: Path) -> None:
        """Leaves the notes in a file."""
        path.write_bytes(msgspec.msgpack.encode(Marks(self.drivers, self.seqs.tolist(), self.ns.tolist())))


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.server")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--malls", type=Path)
    parser.add_argument("--ack-interval-s", type=float, help="instead of the product's")
    parser.add_argument("--python-gc", action="store_true", help="collect garbage as Python does by default")
    parser.add_argument("--marks", type=Path, help="note when each ping was applied, and leave the notes here")
    asked = parser.parse_args()
    configure_logging(logging.INFO)
    noting = Noting() if asked.marks else None

    async def beside(streamer: Streamer) -> None:
        gateway = streamer.gateway
        # A load generator has few drivers that say much; a floor has many that say little.
        gateway.settings = replace(gateway.settings, messages_per_s=NO_LIMIT, messages_burst=NO_LIMIT)
        if asked.ack_interval_s is not None:
            gateway.settings = replace(gateway.settings, ack_interval_s=asked.ack_interval_s)
        gateway.intake.settings = gateway.settings
        if asked.python_gc:
            gc.unfreeze()
            gc.set_threshold(*PYTHON_THRESHOLDS)
            gc.enable()
        if noting is not None:
            streamer.runner.hooks.append(noting)
        print(f"ready {streamer.port}", flush=True)
        await asyncio.Event().wait()

    uvloop.run(run_live(LiveOptions(data=asked.data, malls=asked.malls, port=0), beside))
    if noting is not None:
        noting.write(asked.marks)


if __name__ == "__main__":
    main()
