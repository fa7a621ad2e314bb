"""How many wrong passwords are too many, counted so that a stranger cannot lock a person out.

It must not know passwords, nor read a clock: instants are given.

A stranger who knows a name could once lock its account by failing on purpose. So tries are counted by name and address,
and a browser that this person has logged in from before carries a device token: its tries are counted by themselves,
whatever strangers do. Source: OWASP, "Slow Down Online Guessing Attacks with Device Cookies".
"""

import hashlib
import ipaddress

import apsw

from streamer.core.errors import SenderError
from streamer.edge.accounts_file import AccountsFile

FAIL_WINDOW_MS = 15 * 60_000
FAILS = 5
"""Of one name from one address (or one device) in 15 minutes: then both together are locked, until the oldest of them
is 15 minutes old."""
ADDRESS_FAILS = 50
"""From one address, whatever the names: an office behind one address mistypes less than that."""
NAME_FAILS = 100
"""Of one name, from unknown devices at any address: a guess spread over many machines. It locks new devices only."""
DEVICE_MS = 90 * 86_400_000
"""A device that a person has not logged in from for so long is a stranger's again."""


class LockedError(SenderError):
    """Too many wrong passwords for this name or from here, whether or not there is such a person."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("locked", f"too many failed log-ins; try again in {-(-retry_after_ms // 60_000)} minutes")
        self.retry_after_ms = retry_after_ms


class Lockout:
    """Counts the tries in the accounts' file."""

    def __init__(self, file: AccountsFile) -> None:
        self._file = file

    def admit(self, name: str, address: str, device: str, at_ms: int) -> None:
        """Counts a try before its password is looked at, so that tries made all at once are counted too.

        Raises:
            LockedError: there were too many.
        """
        place = self._place(name, address, device, at_ms)
        with self._file.change() as db:
            db.execute("DELETE FROM login_try WHERE at_ms <= ?", (at_ms - FAIL_WINDOW_MS,))
            _check(db, "name = ? AND place = ?", (name, place), FAILS, at_ms)
            if not place.startswith(_DEVICE):
                _check(db, "place = ?", (place,), ADDRESS_FAILS, at_ms)
                _check(db, f"name = ? AND place NOT LIKE '{_DEVICE}%'", (name,), NAME_FAILS, at_ms)
            db.execute("INSERT INTO login_try VALUES (?, ?, ?)", (name, place, at_ms))

    def succeeded(self, name: str, address: str, device: str, at_ms: int) -> None:
        """Forgets the tries of this person from here; those of strangers stay counted."""
        place = self._place(name, address, device, at_ms)
        self._file.write("DELETE FROM login_try WHERE name = ? AND place = ?", (name, place))

    def trust(self, name: str, device: str, at_ms: int) -> None:
        """From now on `device` is one that this person has logged in from."""
        with self._file.change() as db:
            db.execute("DELETE FROM device WHERE seen_ms <= ?", (at_ms - DEVICE_MS,))
            db.execute("INSERT OR REPLACE INTO device VALUES (?, ?, ?)", (_digest(device), name, at_ms))

    def _place(self, name: str, address: str, device: str, at_ms: int) -> str:
        """Where a try counts: at the device if it is this person's, else at the address."""
        digest = _digest(device)
        known = self._file.read("SELECT name FROM device WHERE digest = ? AND seen_ms > ?", (digest, at_ms - DEVICE_MS))
        return _DEVICE + digest.hex() if known == [(name,)] else network_of(address)


_DEVICE = "device:"


def _check(db: apsw.Connection, where: str, values: tuple[str, ...], most: int, at_ms: int) -> None:
    query = f"SELECT at_ms FROM login_try WHERE {where} ORDER BY at_ms DESC LIMIT 1 OFFSET ?"  # noqa: S608 - our text
    for (fail_ms,) in db.execute(query, (*values, most - 1)):
        raise LockedError(int(str(fail_ms)) + FAIL_WINDOW_MS - at_ms)


def network_of(address: str) -> str:
    """The address, or of IPv6 its /64: one customer of a provider has all of that."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _digest(device: str) -> bytes:
    return hashlib.sha256(device.encode(errors="replace")).digest()
