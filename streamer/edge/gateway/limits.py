"""How much one sender may ask of the gateway, in numbers.

It must not know what is counted, nor how.
"""

from msgspec import Struct


class GatewaySettings(Struct, frozen=True):
    """The limits of the driver socket.

    Source: our own choice. A phone sends a ping every 1-5 s; the rate is far higher, because one that was offline
    uploads what it kept, and must be able to do so faster than it makes more.
    """

    messages_per_s: float = 50.0
    messages_burst: float = 1_500.0
    """By driver, over all its sockets: 25 minutes of pings at one a second may come at once."""
    refusals_per_min: float = 500.0
    """So many `rate_limited` are told; a driver that goes on is closed with 4429."""
    bad_frames_per_min: float = 50.0
    """So many frames with an error in them are answered; then the socket is closed with 1008."""
    ack_interval_s: float = 1.0
    """Least time between two acks of a driver's pings, on its own socket or a gateway's."""
    backlog_bound: int = 20_000
    """Inputs waiting for their commit above which no socket is read."""
    write_soft_bytes: int = 64 * 1024
    write_hard_bytes: int = 1024 * 1024
    slow_grace_s: float = 2.0
    """More than `soft` unread for this long: closed with 1013. More than `hard`: cut off. Measured
    where a stalled reader's buffer grew without end because the library's keep-alive waits behind it."""
    close_timeout_s: float = 3.0
    """How long a closed peer may take to agree before the connection is cut."""
    max_sockets: int = 6_000
    """Sockets of drivers and gateways together; further ones are asked to come back. The server takes fewer where the
    system allows it fewer files."""
    handshakes_per_s: float = 500.0
    handshakes_burst: float = 1_000.0
    """Handshakes let in; a whole fleet that lost its connection comes back over some seconds instead of at once."""
    gateway_drivers: int = 10_000
    """Drivers that one gateway socket may speak for."""
    watch_interval_s: float = 0.5
    """How often revoked tokens are looked for."""
    origins: tuple[str, ...] = ()
    """Browser origins that may connect. Native apps send none and always may."""
