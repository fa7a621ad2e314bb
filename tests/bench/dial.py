"""Opening a WebSocket by hand, blocking until the answer is there.

It must not know what is said on it afterwards.
"""

import socket

from tests.bench.fleet import upgrade


def connect(port: int, token: str) -> tuple[socket.socket, bytes]:
    """A socket after its handshake, not blocking, and what came after the answer.

    Raises:
        ConnectionError: the handshake was refused.
    """
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(upgrade("/v1/drivers", token))
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = sock.recv(4096)
        if not chunk:
            raise ConnectionError("the server ended a handshake")
        answer += chunk
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head.splitlines()[0].decode())
    sock.setblocking(False)
    return sock, rest
