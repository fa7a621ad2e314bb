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
    proxies: tuple[str, ...] = ()
    """Addresses of proxies in front, whose word is taken about where a request comes from."""
    secure: bool = False
    """Served over TLS (by a proxy in front): cookies are `Secure` and carry the `__Host-` prefix."""

    person_per_s: float = 100.0
    person_burst: float = 1_000.0
    """Requests of one person or program, over all its log-ins."""
    stranger_per_s: float = 20.0
    stranger_burst: float = 400.0
    """Requests of one address that no log-in stands behind."""
    login_per_s: float = 0.5
    login_burst: float = 20.0
    """Passwords that one address may have looked at; each costs 50 ms of CPU."""

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Every name that a request may put into `Host`."""
        return (*LOOPBACK, *self.hosts)

    @property
    def cookie(self) -> str:
        """Name of the session cookie."""
        return "__Host-mallard_session" if self.secure else "mallard_session"


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads `MALLARD_HOST`, `_PORT`, `_LINK`, `_LINK_SECRET` (or `_LINK_SECRET_FILE`), `_HOSTS`, `_PROXIES`, `_SECURE`.

    Raises:
        ConfigurationError: when the secret is missing or short, a value cannot be read, or other names or addresses
            than the loopback's are served without TLS.
    """
    host = environment.get("MALLARD_HOST", "127.0.0.1")
    secure = environment.get("MALLARD_SECURE", "") == "1"
    if host not in {"127.0.0.1", "localhost", "::1"} and not secure:
        raise ConfigurationError(
            f"cannot listen on {host}: set MALLARD_SECURE=1 once TLS stands in front, or use 127.0.0.1"
        )
    hosts = _names(environment, "MALLARD_HOSTS")
    if hosts and not secure:
        raise ConfigurationError("MALLARD_HOSTS needs MALLARD_SECURE=1: log-ins would cross the network in the clear")
    return Settings(
        link_url=environment.get("MALLARD_LINK", Settings().link_url),
        link_secret=_secret(environment),
        host=host,
        port=_port(environment.get("MALLARD_PORT", "8050")),
        hosts=hosts,
        proxies=_names(environment, "MALLARD_PROXIES"),
        secure=secure,
    )


def _names(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in environment.get(variable, "").split(",") if name.strip())


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
