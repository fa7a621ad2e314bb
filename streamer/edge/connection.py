"""A websocket connection that hands whole messages straight to a sink: most of what a single ping costs is framing.

It must not know what a message says. Source: RFC 6455 §5; everything unusual in it is left to the library.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode, apply_mask  # type: ignore[attr-defined]
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

Sink = Callable[[bytes], None]
"""Takes one message, as bytes whether it was text or binary; never waits."""

MAX_FRAGMENTS = 4096
"""Of one message, as in the library: its size limit does not count empty ones."""
OPEN = State.OPEN
TEXT_FRAME = 0x81
WHOLE_FRAMES = frozenset({TEXT_FRAME, 0x82})
"""First bytes of a whole, final, uncompressed frame of text or bytes; nothing else is read here."""
LONGEST_HEADER = 14
SHORT_HEADERS = tuple(bytes((TEXT_FRAME, length)) for length in range(126))
"""Of the text frames a server sends, by length; acks are all short, and there are many."""
BLANK_LINE = b"\r\n\r\n"


class DirectConnection(ServerConnection):
    """A library connection with a way past its queue, for sockets that `claim` it; for others it is the library's.

    What is read here is cut into frames first, so that the library's parser only ever sees complete ones, or the
    beginning of one that it will refuse: it stands between two frames whenever this class reads one by itself.
    """

    def __init__(self, protocol: ServerProtocol, server: Server, **limits: Any) -> None:
        super().__init__(protocol, server, **limits)
        self.fault: Exception | None = None
        """What the sink raised; the socket was then closed with 1011."""
        self._claimed = False
        self._limit = 2**63
        self.is_open = False
        """Whether messages are taken; a cheaper thing to ask than the library's `state`."""
        self._sink: Sink | None = None
        self._early: list[bytes] = []
        self._request_end = b""
        """The last bytes of the request so far: its blank line may come in two pieces."""
        self._asked = False
        """Whether the request has come whole."""
        self._spoke_early = False
        """Whether anything came behind it before it was answered."""
        self._tail = bytearray()
        """The beginning of a frame that has not come whole yet."""
        self._needed = 0
        """Bytes that `_tail` must have before it is worth looking at again."""
        self._parts: list[bytes] | None = None
        """The fragments of the message under way."""
        self._is_text = False
        self._held = False
        self.ending: asyncio.Future[None] = self.loop.create_future()
        """Done once no more messages will come, unless the connection was lost first."""

    def claim(self) -> bool:
        """Have messages go to the sink of `listen`; to be said during the handshake, before one can come.

        Returns False, and changes nothing, when the peer sent more than its request without waiting for the answer,
        which RFC 6455 §4.1 forbids: the library may then be in the middle of a frame.
        """
        self._claimed = not self._spoke_early
        self._limit = self.protocol.max_message_size or self._limit
        return self._claimed

    def listen(self, sink: Sink) -> None:
        """Have `sink` called with each message, in order, as its last byte arrives."""
        self._sink, self._held = sink, False
        early, self._early = self._early, []
        for message in early:
            if self.is_open:
                self._deliver(message, is_text=False)  # What had to be looked at in its text was, as it came.
        if not self._held:
            self.go_on()

    def say(self, *texts: bytes) -> None:
        """Write text frames at once, in one piece; when the connection is no longer open they are dropped."""
        if self.is_open and texts and not self.transport.is_closing():
            self.transport.write(b"".join([_framed(text) for text in texts]) if len(texts) > 1 else _framed(texts[0]))

    @property
    def unread(self) -> int:
        """Bytes in the write buffer, which the peer has not taken yet."""
        return 0 if self.transport.is_closing() else self.transport.get_write_buffer_size()

    def hold(self) -> None:
        """Stop after this message: the sender will feel it."""
        self._held = True
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again, beginning with what had come already."""
        self._held = False
        if self._tail:
            self._read_tail()
        if not self._held and not self.transport.is_closing():
            self.transport.resume_reading()

    def end(self, code: int, reason: str) -> None:
        """Say goodbye; never waits, whatever lies in the write buffer."""
        if self.protocol.state is OPEN:
            self.protocol.send_close(code, reason)
            self.send_data()

    async def ended(self, timeout_s: float) -> None:
        """Return when the connection is lost; a peer that takes longer than `timeout_s` to agree is cut off."""
        await asyncio.wait((self.ending, self.connection_lost_waiter), return_when=asyncio.FIRST_COMPLETED)
        self.go_on()
        done, _ = await asyncio.wait((self.connection_lost_waiter,), timeout=timeout_s)
        if not done:
            self.transport.abort()
            await asyncio.wait((self.connection_lost_waiter,))

    # ------------------------------------------------------------ the library's hooks

    def data_received(self, data: bytes) -> None:
        """Takes bytes off the network: messages to the sink, the unusual to the library."""
        if not self.is_open:
            if self.protocol.state is State.CONNECTING:
                self._note_request(data)
            self._to_library(data)
        elif self._tail or self._held:
            self._tail += data
            if len(self._tail) >= self._needed and not self._held:
                self._read_tail()
        else:
            self._read(data)

    def eof_received(self) -> None:
        """The peer will say no more; what it left unfinished never will be finished."""
        self._tail.clear()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come, and what was not read is let go: the library takes no bytes after the end."""
        self.is_open = False
        self._tail.clear()
        super().connection_lost(exc)

    def send_data(self) -> None:
        """Writes what the library has to say; that is how it comes to be open, and not to be, whoever wanted it so."""
        super().send_data()
        if self._claimed and self.protocol.state > OPEN:
            self._note_end()
        elif self._claimed:
            self.is_open = self.protocol.state is OPEN

    def process_event(self, event: Event) -> None:
        """Takes what the library made of the bytes: requests and control frames are its own."""
        if self._claimed and isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            if self.is_open:
                self._join(event)
        else:
            super().process_event(event)

    # ------------------------------------------------------------ reading

    def _note_request(self, data: bytes) -> None:
        """Sees where the request ends, which is at its first blank line: a frame behind it may hold another."""
        if self._asked:
            self._spoke_early = True
            return
        _, blank_line, rest = (self._request_end + data).partition(BLANK_LINE)
        self._asked, self._spoke_early = bool(blank_line), bool(rest)
        self._request_end = (self._request_end + data)[-3:]

    def _read_tail(self) -> None:
        data = bytes(self._tail)
        self._tail.clear()
        self._read(data)

    def _read(self, data: bytes) -> None:
        """Reads frame by frame; each is either delivered, or given to the library whole."""
        at, end, limit = 0, len(data), self._limit
        while at < end and self.is_open:
            first, body = data[at], at + 6
            if self._held:
                return self._keep(data[at:], 0)
            if end - at < 2:
                return self._keep(data[at:], 2)
            length = data[at + 1] - 0x80
            if length >= 126:
                body = at + (8 if length == 126 else LONGEST_HEADER)
                if end < body - 4:
                    return self._keep(data[at:], body - 4 - at)
                length = int.from_bytes(data[at + 2 : body - 4])
            if length < 0 or length > limit:
                break  # Not masked, or too long: the library refuses it by its header alone.
            stop = body + length
            if stop > end:
                return self._keep(data[at:], stop - at)
            if first in WHOLE_FRAMES and self._parts is None:
                self._deliver(apply_mask(data[body:stop], data[body - 4 : body]), first == TEXT_FRAME)
            else:
                self._to_library(data[at:stop])
            at = stop
        if at < end:
            self._to_library(data[at:])
        return None

    def _keep(self, rest: bytes, needed: int) -> None:
        self._tail += rest
        self._needed = needed

    def _to_library(self, data: bytes) -> None:
        if self._tail:
            data = bytes(self._tail) + data
            self._tail.clear()
        super().data_received(data)

    def _join(self, frame: Frame) -> None:
        """Puts the fragments of a message together; the library has seen to it that they are in order."""
        if self._parts is None:
            self._parts, self._is_text = [], frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if frame.fin:
            message, self._parts = b"".join(self._parts), None
            self._deliver(message, self._is_text)
        elif len(self._parts) >= MAX_FRAGMENTS:
            self._refuse(CloseCode.MESSAGE_TOO_BIG, "too many fragments")

    def _deliver(self, message: bytes, is_text: bool) -> None:
        if is_text and not message.isascii():
            try:
                message.decode()
            except UnicodeDecodeError as error:
                self._refuse(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
                return
        if self._sink is None:
            self._early.append(message)
            self.hold()
            return
        try:
            self._sink(message)
        except Exception as error:
            self.fault = error
            self.end(CloseCode.INTERNAL_ERROR, "internal error")

    def _refuse(self, code: CloseCode, reason: str) -> None:
        self.protocol.fail(code, reason)
        self.send_data()

    def _note_end(self) -> None:
        self.is_open = False
        if not self.ending.done():
            self.ending.set_result(None)


def _framed(text: bytes) -> bytes:
    """A whole text frame, as a server sends it: not masked."""
    length = len(text)
    if length < 126:
        return SHORT_HEADERS[length] + text
    if length < 2**16:
        return b"\x81\x7e%b%b" % (length.to_bytes(2), text)
    return b"\x81\x7f%b%b" % (length.to_bytes(8), text)
