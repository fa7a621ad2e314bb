"""Drivers as the load sees them: their pings as bytes, and the WebSocket frames around those.

It must not know sockets. Written for speed: building a ping costs the load core less than sending it does.
"""

import numpy as np

from tests.bench.places import homes

STEP_DEG = 5e-5
"""Spread of a driver's move between two pings, some 6 m."""
STEPS = 4096
MASK = b"\0\0\0\0"
"""A mask is any four bytes (RFC 6455 §5.3); unmasking by zeros is the same work for every server measured."""
PING = (
    b'{"type":"ping","driver_id":"%b","seq":%d,"fix_ms":%d,"lat":%.6f,"lng":%.6f,'
    b'"accuracy_m":8.5,"speed_mps":11.6,"heading_deg":271.0,"battery":0.83}'
)


def driver_name(number: int) -> str:
    """The id of a driver."""
    return f"d-{number:06d}"


class Fleet:
    """Drivers that wander by a few metres with each ping; `seqs` holds the last `seq` of each."""

    def __init__(self, drivers: int, first_seq: int = 1) -> None:
        where = homes(drivers)
        self.names = [driver_name(number).encode() for number in range(drivers)]
        self.seqs = [first_seq - 1] * drivers
        self._lat: list[float] = where[:, 0].tolist()
        self._lng: list[float] = where[:, 1].tolist()
        draw = np.random.Generator(np.random.PCG64(9))
        self._steps: list[float] = draw.normal(0, STEP_DEG, STEPS).tolist()
        self._at = 0

    def ping(self, number: int, fix_ms: int) -> bytes:
        """The next ping of a driver, as JSON."""
        at = self._at = (self._at + 2) % STEPS
        self._lat[number] += self._steps[at]
        self._lng[number] += self._steps[at + 1]
        self.seqs[number] = seq = self.seqs[number] + 1
        return PING % (self.names[number], seq, fix_ms, self._lat[number], self._lng[number])

    def batch(self, numbers: list[int], fix_ms: int) -> bytes:
        """The next pings of several drivers, as one JSON array."""
        return b"[" + b",".join([self.ping(number, fix_ms) for number in numbers]) + b"]"

    def on_duty(self, number: int, fix_ms: int) -> bytes:
        """The report that has a driver's pings accepted."""
        name = self.names[number]
        return b'{"type":"report","id":"duty","report":"on_duty","driver_id":"%b","fix_ms":%d}' % (name, fix_ms)


def framed(message: bytes) -> bytes:
    """A whole, masked text frame, as a client sends it."""
    length = len(message)
    if length < 126:
        return b"\x81%c%b%b" % (0x80 | length, MASK, message)
    if length < 2**16:
        return b"\x81\xfe%b%b%b" % (length.to_bytes(2), MASK, message)
    return b"\x81\xff%b%b%b" % (length.to_bytes(8), MASK, message)


def upgrade(path: str, token: str) -> bytes:
    """A handshake; `token` may be empty for a peer that asks for none."""
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{bearer}\r\n"
    ).encode()
