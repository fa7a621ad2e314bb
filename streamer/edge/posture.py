"""How open this installation is: who may get in, from where, and what keeps others out. Counts and settings, no values.

It must not mend anything, nor print a name, an address or a secret.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import apsw
from argon2 import PasswordHasher

from streamer.core.errors import StorageError
from streamer.edge.accounts import ABSOLUTE_MS, IDLE_MS, PREFIX, ROLES
from streamer.edge.finding import Finding, judged
from streamer.edge.journal import database

MIN_SECRET = 32
"""Characters of the link's secret; ours has 43."""


def check_posture(directory: Path, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """What a reviewer asks first: reach, secret, people, tokens, passwords and sessions."""
    return [
        _check_reach(environment),
        _check_secret(directory, environment),
        *_check_accounts(directory),
        Finding("passwords", True, _hashing()),
        Finding("sessions", True, f"end after {IDLE_MS // 60_000} min unused, {ABSOLUTE_MS // 3_600_000} h at most"),
    ]


def _check_reach(environment: Mapping[str, str]) -> Finding:
    hosts, proxies = (_names(environment, name) for name in ("MALLARD_HOSTS", "MALLARD_PROXIES"))
    secure = environment.get("MALLARD_SECURE", "") == "1"
    if not hosts and not secure:
        return Finding("reach", True, "loopback only: nothing is declared for other machines")
    missing = [
        name
        for name, there in (("MALLARD_HOSTS", hosts), ("MALLARD_SECURE=1", secure), ("MALLARD_PROXIES", proxies))
        if not there
    ]
    detail = f"{hosts} host names, TLS {'declared' if secure else 'missing'}, {proxies} proxies"
    return judged("reach", not missing, detail, f"set {' and '.join(missing)}")


def _names(environment: Mapping[str, str], variable: str) -> int:
    return len([name for name in environment.get(variable, "").split(",") if name.strip()])


def _check_secret(directory: Path, environment: Mapping[str, str]) -> Finding:
    given, path = environment.get("MALLARD_LINK_SECRET", ""), directory / "link.secret"
    if given:
        detail = f"the link's secret is from the environment and has {len(given)} characters"
        return judged("link", len(given) >= MIN_SECRET, detail, f"take at least {MIN_SECRET} random characters")
    made = "is in link.secret" if path.exists() else "will be made at the first start"
    return Finding("link", True, f"the link's secret {made}")


def _check_accounts(directory: Path) -> list[Finding]:
    path = directory / "accounts.db"
    if not path.exists():
        return [Finding("people", True, f"{path} is not made yet")]
    try:
        with closing(database.open_to_read(path)) as connection:
            people = dict(connection.execute("SELECT role, count(*) FROM person GROUP BY role"))
            tokens = dict(connection.execute("SELECT kind, count(*) FROM token WHERE revoked_ms IS NULL GROUP BY kind"))
    except (apsw.Error, StorageError) as error:
        return [Finding("people", False, f"{path}: {error}", "restore a backup, or start the floor once")]
    return [
        Finding("people", True, ", ".join(f"{people.get(role, 0)} {role}" for role in ROLES)),
        Finding("tokens", True, ", ".join(f"{tokens.get(kind, 0)} {kind}" for kind in PREFIX) + ", stored as hashes"),
    ]


def _hashing() -> str:
    hasher = PasswordHasher()
    kib = hasher.memory_cost
    return f"argon2id, {kib // 1024} MiB, {hasher.time_cost} passes, {hasher.parallelism} lanes"
