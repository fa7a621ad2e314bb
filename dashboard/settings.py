"""The dashboard's settings: one object, read once from the environment, passed down.

It must not know what the values are used for.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from streamer.core.errors import ConfigurationError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Settings(Struct, frozen=True):
    """How this process is reached, and how it reaches the streamer."""

    link_url: str = "ws://127.0.0.1:8765/v1/link"
    link_secret: str = ""
    host: str = "127.0.0.1"
    port: int = 8050
    hosts: tuple[str, ...] = ()
    """Names, beside the loopback ones, that a request may put into `Host` (no port)."""
    secure: bool = False
    """Served over TLS (by a proxy in front): cookies are `Secure` and carry the `__Host-` prefix."""

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Every name that a request may put into `Host`."""
        return (*LOOPBACK, *self.hosts)

    @property
    def cookie(self) -> str:
        """Name of the session cookie."""
        return "__Host-mallard_session" if self.secure else "mallard_session"


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads `MALLARD_HOST`, `_PORT`, `_LINK`, `_LINK_SECRET` (or `_LINK_SECRET_FILE`), `_HOSTS`, `_SECURE`.

    Raises:
        ConfigurationError: when the secret is missing, a value cannot be read, or a public address lacks `_SECURE`.
    """
    host = environment.get("MALLARD_HOST", "127.0.0.1")
    secure = environment.get("MALLARD_SECURE", "") == "1"
    if host not in {"127.0.0.1", "localhost", "::1"} and not secure:
        raise ConfigurationError(
            f"cannot listen on {host}: set MALLARD_SECURE=1 once TLS stands in front, or use 127.0.0.1"
        )
    return Settings(
        link_url=environment.get("MALLARD_LINK", Settings().link_url),
        link_secret=_secret(environment),
        host=host,
        port=_port(environment.get("MALLARD_PORT", "8050")),
        hosts=tuple(name.strip().lower() for name in environment.get("MALLARD_HOSTS", "").split(",") if name.strip()),
        secure=secure,
    )


def _secret(environment: Mapping[str, str]) -> str:
    if secret := environment.get("MALLARD_LINK_SECRET", ""):
        return secret
    name = environment.get("MALLARD_LINK_SECRET_FILE", "")
    if not name:
        raise ConfigurationError("no link secret: set MALLARD_LINK_SECRET, or MALLARD_LINK_SECRET_FILE=DIR/link.secret")
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read the link secret: {error}") from error


def _port(text: str) -> int:
    if not text.isdecimal() or not int(text) <= 65_535:
        raise ConfigurationError(f"MALLARD_PORT is no port number: {text}")
    return int(text)
