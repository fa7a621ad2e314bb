"""State to bytes, bytes to state, and the hash that says two states are one.

It must not know files; `dump_state` is what a file holds.
"""

from hashlib import blake2b

import msgspec

from streamer.core.errors import StorageError
from streamer.core.state import State

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def dump_state(state: State) -> bytes:
    """The whole state as MessagePack; mappings keep the order things happened in, which replay repeats."""
    return _encoder.encode(state)


def load_state(dumped: bytes) -> State:
    """The state `dump_state` wrote.

    Raises:
        StorageError: the bytes are damaged or of another version.
    """
    try:
        return _decoder.decode(dumped)
    except msgspec.MsgspecError as error:
        raise StorageError(f"this snapshot cannot be read: {error}") from error


def state_hash(state: State) -> str:
    """128 bits in hexadecimal; equal for equal histories, whatever process, hash seed or transport made them."""
    return blake2b(dump_state(state), digest_size=16).hexdigest()
