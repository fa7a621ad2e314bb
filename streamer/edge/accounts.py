"""Who may speak: drivers, gateways, programs and people, with their tokens, passwords and sessions, in DIR/accounts.db.

It must not know what anybody may do (the desk and the gateway judge that), nor read a clock: instants are given.

A secret is never stored. Tokens and session ids are 256 random bits, so a plain SHA-256 of them is as hard to reverse
as they are to guess; passwords are not random, so they get argon2id. The file is its own, apart from the journal, so
that `mallard token` and `mallard user` write it while the server runs.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from streamer.core.commands import AUTOPILOT
from streamer.core.errors import ConfigurationError, SenderError
from streamer.core.events import DriverRegistered
from streamer.edge.accounts_file import AccountsFile, Value
from streamer.edge.lockout import Lockout
from streamer.edge.wire import is_id

Role = Literal["viewer", "dispatcher", "ops-lead"]
ROLES: tuple[Role, ...] = get_args(Role)
TokenKind = Literal["driver", "gateway", "api"]
PREFIX: dict[TokenKind, str] = {"driver": "mld_", "gateway": "mlg_", "api": "mla_"}

IDLE_MS = 30 * 60_000
ABSOLUTE_MS = 12 * 3_600_000
"""A session ends after 30 minutes without use, and after 12 hours whatever happens."""
SEEN_EVERY_MS = 60_000
"""Use of a session is written down at most once a minute, so it may end up to a minute early, never late."""
MIN_PASSWORD = 8
MAX_PASSWORD = 256
"""Characters. Hashing takes time by length, so there is an upper bound too."""


class BadLoginError(SenderError):
    """Wrong name or wrong password; it does not say which."""

    def __init__(self) -> None:
        super().__init__("bad_login", "wrong name or password")


class Principal(Struct, frozen=True):
    """Who asks, as the floor sees it. Empty `mall_ids` means all malls."""

    name: str
    role: Role
    mall_ids: tuple[str, ...] = ()


class TokenOwner(Struct, frozen=True):
    """Whom a token speaks for. `role` is an API token's; `digest` names the token without giving it away."""

    kind: TokenKind
    name: str
    mall_ids: tuple[str, ...]
    digest: bytes
    role: Role | None = None


class Accounts:
    """The accounts of one data directory. Safe to use from several threads and several programs at once."""

    def __init__(self, directory: Path, hasher: PasswordHasher | None = None) -> None:
        """Opens DIR/accounts.db, making both when missing (directory 0700, file 0600).

        Args:
            directory: of the floor's data.
            hasher: another cost of a password than argon2-cffi's default (RFC 9106, low memory).

        Raises:
            StorageError: the directory or the file cannot be used.
        """
        self._file = AccountsFile(directory)
        self._lockout = Lockout(self._file)
        self._hasher = hasher or PasswordHasher()
        # Verified when the name is unknown, so that it takes as long as a wrong password does.
        self._decoy = self._hasher.hash(secrets.token_urlsafe(16))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def version(self) -> tuple[int, int]:
        """Differs from an earlier answer if anything changed since, by this program or another. Takes microseconds."""
        return self._file.version()

    # ------------------------------------------------------------ drivers and tokens

    def register_driver(
        self, driver_id: str, name: str = "", capacity: int = 5, mall_ids: Sequence[str] = (),
        shift_end_ms: int | None = None,
    ) -> DriverRegistered:  # fmt: skip
        """Adds a driver, or replaces its particulars. `capacity` counts orders.

        Raises:
            ConfigurationError: a value is not one.
        """
        _check_id("driver", driver_id)
        if not 1 <= capacity <= 64:
            raise ConfigurationError(f"capacity of driver {driver_id} is {capacity}; it lies between 1 and 64 orders")
        if len(name) > 120:
            raise ConfigurationError(f"the name of driver {driver_id} has {len(name)} characters, more than 120")
        driver = DriverRegistered(driver_id, name, capacity, _scope(mall_ids), shift_end_ms)
        self._file.write(
            "INSERT OR REPLACE INTO driver VALUES (?, ?, ?, ?, ?)",
            (driver_id, name, capacity, _pack(driver.mall_ids), shift_end_ms),
        )
        return driver

    def driver(self, driver_id: str) -> DriverRegistered | None:
        """A registered driver, or None."""
        rows = self._file.read("SELECT name, capacity, mall_ids, shift_end_ms FROM driver WHERE id = ?", (driver_id,))
        for name, capacity, mall_ids, shift_end_ms in rows:
            return DriverRegistered(driver_id, str(name), _int(capacity), _unpack(mall_ids), _int_or_none(shift_end_ms))
        return None

    def forget_driver(self, driver_id: str) -> bool:
        """Removes a driver and its tokens, and overwrites where they were. False if there was none."""
        with self._file.change() as db:
            db.execute("DELETE FROM token WHERE kind = 'driver' AND name = ?", (driver_id,))
            db.execute("DELETE FROM driver WHERE id = ?", (driver_id,))
            was_there = db.changes() > 0
        self._file.compact()
        return was_there

    def mint_driver_token(self, driver_id: str, at_ms: int) -> str:
        """A new token of a registered driver; the ones before stay good.

        Raises:
            ConfigurationError: there is no such driver.
        """
        if self.driver(driver_id) is None:
            raise ConfigurationError(f"there is no driver {driver_id!r}; register it first")
        return self._mint("driver", driver_id, None, (), at_ms)

    def mint_gateway_token(self, name: str, mall_ids: Sequence[str], at_ms: int) -> str:
        """A new token of a program that speaks for the drivers of these malls, or of all.

        Raises:
            ConfigurationError: a name is not one.
        """
        _check_id("gateway", name)
        return self._mint("gateway", name, None, _scope(mall_ids), at_ms)

    def mint_api_token(self, name: str, role: str, mall_ids: Sequence[str], at_ms: int) -> str:
        """A new token of a program that uses the REST interface as `role`.

        Raises:
            ConfigurationError: a name or the role is not one.
        """
        _check_id("token", name)
        _check_is_nobodys(name)
        return self._mint("api", name, _role(role), _scope(mall_ids), at_ms)

    def _mint(self, kind: TokenKind, name: str, role: Role | None, mall_ids: tuple[str, ...], at_ms: int) -> str:
        token = PREFIX[kind] + secrets.token_urlsafe(32)
        self._file.write(
            "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, NULL)",
            (_digest(token), kind, name, role, _pack(mall_ids), at_ms),
        )
        return token

    def owner(self, token: str) -> TokenOwner | None:
        """Whom a token speaks for; None if it is unknown or revoked."""
        digest = _digest(token)
        query = "SELECT kind, name, mall_ids, role FROM token WHERE digest = ? AND revoked_ms IS NULL"
        for kind, name, mall_ids, role in self._file.read(query, (digest,)):
            # The kind is the table's, never the prefix of what was sent.
            return TokenOwner(kind, str(name), _unpack(mall_ids), digest, role)  # type: ignore[arg-type]
        return None

    def is_live(self, digest: bytes) -> bool:
        """Whether the token of `TokenOwner.digest` still counts."""
        return bool(self._file.read("SELECT 1 FROM token WHERE digest = ? AND revoked_ms IS NULL", (digest,)))

    def bearer(self, token: str) -> Principal | None:
        """The principal of an API token; None for any other."""
        owner = self.owner(token)
        if owner is None or owner.role is None:
            return None
        return Principal(owner.name, owner.role, owner.mall_ids)

    def revoke(self, token: str, at_ms: int) -> bool:
        """Ends one token; its open sockets close within a second. False if it was none."""
        return self._file.write(
            "UPDATE token SET revoked_ms = ? WHERE digest = ? AND revoked_ms IS NULL", (at_ms, _digest(token))
        )

    def revoke_all(self, kind: TokenKind | None, name: str, at_ms: int) -> int:
        """Ends every token of a driver, gateway or program (None: of any of them), as when a phone is lost.

        Returns how many there were.
        """
        with self._file.change() as db:
            db.execute(
                "UPDATE token SET revoked_ms = ? WHERE kind = ifnull(?, kind) AND name = ? AND revoked_ms IS NULL",
                (at_ms, kind, name),
            )
            return db.changes()

    # ------------------------------------------------------------ people

    def add_user(self, name: str, password: str, role: str, mall_ids: Sequence[str] = ()) -> None:
        """Adds a person, or gives one a new password, role and scope, which ends their sessions.

        Raises:
            ConfigurationError: a name or the role is not one, or the password is too short or too long.
        """
        _check_id("user", name)
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise ConfigurationError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        _check_is_nobodys(name)
        row = (name, self._hasher.hash(password), _role(role), _pack(_scope(mall_ids)))
        with self._file.change() as db:
            db.execute("INSERT OR REPLACE INTO person VALUES (?, ?, ?, ?)", row)
            db.execute("DELETE FROM session WHERE name = ?", (name,))
            db.execute("DELETE FROM device WHERE name = ?", (name,))
            db.execute("DELETE FROM login_try WHERE name = ?", (name,))

    def remove_user(self, name: str) -> bool:
        """Removes a person and ends their sessions. False if there was none."""
        self._file.write("DELETE FROM session WHERE name = ?", (name,))
        self._file.write("DELETE FROM device WHERE name = ?", (name,))
        return self._file.write("DELETE FROM person WHERE name = ?", (name,))

    def login(self, name: str, password: str, at_ms: int, address: str = "", device: str = "") -> tuple[str, Principal]:
        """Opens a session and returns its id and who it is. Takes some 50 ms of CPU: call it off the loop.

        Args:
            name: of the person.
            password: as typed.
            at_ms: now.
            address: where the try comes from.
            device: what `trust_device` once gave the browser, if it did.

        Raises:
            BadLoginError: wrong name or password; the same, and as slow, for both.
            LockedError: too many of those lately (`lockout` says how they are counted).
        """
        # What cannot be a name is nobody's; all such share one count, so that it cannot be made to grow without end.
        name = name if is_id(name) else "?"
        self._lockout.admit(name, address, device, at_ms)
        rows = self._file.read("SELECT password, role, mall_ids FROM person WHERE name = ?", (name,))
        stored, role, mall_ids = rows[0] if rows else (self._decoy, "viewer", "[]")
        if not self._matches(str(stored), password) or not rows:
            raise BadLoginError
        self._lockout.succeeded(name, address, device, at_ms)
        session = secrets.token_urlsafe(32)
        self._file.write("INSERT INTO session VALUES (?, ?, ?, ?)", (_digest(session), name, at_ms, at_ms))
        return session, Principal(name, _role(str(role)), _unpack(mall_ids))

    def trust_device(self, name: str, at_ms: int) -> str:
        """A token for the browser that a person has just logged in from; see `lockout`."""
        device = secrets.token_urlsafe(32)
        self._lockout.trust(name, device, at_ms)
        return device

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password[: MAX_PASSWORD + 1])
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    def session(self, session: str, at_ms: int) -> Principal | None:
        """Who a session is, with the role they have now; None once it is over. Using a session keeps it open."""
        digest = _digest(session)
        rows = self._file.read(
            "SELECT p.name, p.role, p.mall_ids, s.opened_ms, s.seen_ms FROM session s JOIN person p USING (name)"
            " WHERE s.digest = ?",
            (digest,),
        )
        if not rows:
            return None
        name, role, mall_ids, opened_ms, seen_ms = rows[0]
        if at_ms - _int(opened_ms) >= ABSOLUTE_MS or at_ms - _int(seen_ms) >= IDLE_MS:
            self._file.write("DELETE FROM session WHERE digest = ?", (digest,))
            return None
        if at_ms - _int(seen_ms) >= SEEN_EVERY_MS:
            self._file.write("UPDATE session SET seen_ms = ? WHERE digest = ?", (at_ms, digest))
        return Principal(str(name), _role(str(role)), _unpack(mall_ids))

    def logout(self, session: str) -> bool:
        """Ends a session. False if it was none."""
        return self._file.write("DELETE FROM session WHERE digest = ?", (_digest(session),))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def _check_id(what: str, name: str) -> None:
    if not is_id(name):
        raise ConfigurationError(f"{name!r} cannot name a {what}: use 1 to 64 of A-Z a-z 0-9 _ -")


def _check_is_nobodys(name: str) -> None:
    if name == AUTOPILOT:
        raise ConfigurationError(f"{name!r} is who decides when nobody does: choose another name")


def _scope(mall_ids: Sequence[str]) -> tuple[str, ...]:
    for mall_id in mall_ids:
        _check_id("mall", mall_id)
    return tuple(dict.fromkeys(mall_ids))


def _role(role: str) -> Role:
    for known in ROLES:
        if role == known:
            return known
    raise ConfigurationError(f"{role!r} is no role; the roles are {', '.join(ROLES)}")


def _pack(mall_ids: Sequence[str]) -> str:
    return json.dumps(list(mall_ids))


def _unpack(packed: Value) -> tuple[str, ...]:
    return tuple(json.loads(str(packed)))


def _int(value: Value) -> int:
    return int(str(value))


def _int_or_none(value: Value) -> int | None:
    return None if value is None else _int(value)
