"""`python -m streamer.edge.rooms`: the process of one room, started by a floor and ended with it.

It must not know why it was started. It reads its order from standard input, whose end is its own; it says what it has
to say on standard output, and logs to standard error.
"""

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec
import structlog
import uvloop

from streamer.core.errors import ConfigurationError, StorageError
from streamer.edge.rooms.contract import RoomOrder, RoomSaid
from streamer.edge.rooms.room import Room

NICE = 10
"""Whatever a room has to do, the live floor goes first."""


def main() -> int:
    """Be a room until standard input ends; the exit code is 1 when it cannot be one."""
    os.nice(NICE)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=RoomOrder)
    secret = os.environ.pop("MALLARD_LINK_SECRET")
    try:
        uvloop.run(_be(order, Path(order.folder), secret))
    except (ConfigurationError, StorageError) as error:
        _say(RoomSaid(problem=str(error)))
        return 1
    finally:
        shutil.rmtree(order.folder, ignore_errors=True)
    return 0


async def _be(order: RoomOrder, folder: Path, secret: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    room = Room(order, folder, secret)
    telling: asyncio.Task[None] | None = None
    try:
        opening = asyncio.create_task(room.open())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((opening, stopped), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            await opening
            _say(RoomSaid(port=room.port))
            telling = asyncio.create_task(room.tell_readers(lambda readers: _say(RoomSaid(readers=readers))))
            await stopped
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
    finally:
        if telling is not None:
            telling.cancel()
        loop.remove_reader(sys.stdin.fileno())
        await room.close()


def _say(said: RoomSaid) -> None:
    """Say a line; a keeper that has gone hears nothing, and standard input has ended too."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - so that the interpreter's last flush does not fail


if __name__ == "__main__":
    sys.exit(main())
