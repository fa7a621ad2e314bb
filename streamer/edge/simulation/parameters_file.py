"""Parameters of the world as a JSON file.

It must not know what they mean.
"""

from pathlib import Path

import msgspec

from streamer.core.errors import ConfigurationError
from streamer.sim.parameters import Parameters

MAX_BYTES = 1_000_000


def read_parameters(path: Path) -> Parameters:
    """Read parameters; what the file does not name is as usual.

    Raises:
        ConfigurationError: the file cannot be read, or names what there is not, or holds a value that cannot be.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot open {path}: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise ConfigurationError(f"{path} holds no parameters: it has more than {MAX_BYTES:,} bytes")
    try:
        return msgspec.json.decode(text, type=Parameters)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path} holds no parameters: {error}") from error


def write_parameters(path: Path, parameters: Parameters) -> None:
    """Write parameters, indented for people.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_bytes(msgspec.json.format(msgspec.json.encode(parameters), indent=2) + b"\n")
