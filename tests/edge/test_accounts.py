"""Tokens, passwords and sessions: kept as hashes, ended when they should be, the same for the known and the unknown."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.core.errors import ConfigurationError, StorageError
from streamer.core.events import DriverRegistered
from streamer.edge import accounts as module
from streamer.edge.accounts import (
    ABSOLUTE_MS,
    IDLE_MS,
    Accounts,
    BadLoginError,
    Principal,
)
from streamer.edge.lockout import (
    ADDRESS_FAILS,
    DEVICE_MS,
    FAIL_WINDOW_MS,
    FAILS,
    NAME_FAILS,
    LockedError,
    network_of,
)
from tests.builders import MINUTE, T0
from tests.edge.gateway_floor import CHEAP

PASSWORD = "correct horse"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    opened = Accounts(tmp_path / "floor", CHEAP)
    yield opened
    opened.close()


@pytest.fixture
def maya(accounts: Accounts) -> str:
    accounts.add_user("maya", PASSWORD, "dispatcher", ["plaza"])
    return accounts.login("maya", PASSWORD, T0)[0]


# ---------------------------------------------------------------- the file


def test_directory_and_file_are_for_their_owner_only(accounts: Accounts, tmp_path: Path) -> None:
    accounts.register_driver("d-1")
    assert (tmp_path / "floor").stat().st_mode & 0o777 == 0o700
    files = list((tmp_path / "floor").iterdir())
    assert {file.name for file in files} >= {"accounts.db", "accounts.db-wal"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_no_secret_is_in_the_file(accounts: Accounts, maya: str, tmp_path: Path) -> None:
    accounts.register_driver("d-1")
    token = accounts.mint_driver_token("d-1", T0)
    accounts.close()
    stored = b"".join(file.read_bytes() for file in (tmp_path / "floor").iterdir())
    assert b"maya" in stored
    for secret in (PASSWORD, token, token[4:], maya):
        assert secret.encode() not in stored


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "accounts.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StorageError, match=r"accounts\.db"):
        Accounts(tmp_path)


def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    first = Accounts(tmp_path)
    first.register_driver("d-1", "Ana", 3, ["plaza"], T0)
    token = first.mint_driver_token("d-1", T0)
    first.add_user("maya", PASSWORD, "viewer")
    session, _ = first.login("maya", PASSWORD, T0)
    first.close()
    second = Accounts(tmp_path)
    owner = second.owner(token)
    assert owner is not None
    assert owner.name == "d-1"
    assert second.driver("d-1") == DriverRegistered("d-1", "Ana", 3, ("plaza",), T0)
    assert second.session(session, T0) == Principal("maya", "viewer")
    second.close()


def test_another_program_may_write_while_this_one_has_it_open(accounts: Accounts, tmp_path: Path) -> None:
    before = accounts.version()
    script = (
        "import sys; from pathlib import Path; from streamer.edge.accounts import Accounts;"
        "a = Accounts(Path(sys.argv[1])); a.register_driver('d-9'); print(a.mint_driver_token('d-9', 5)); a.close()"
    )
    made = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "floor")], capture_output=True, text=True, check=True
    )
    owner = accounts.owner(made.stdout.strip())
    assert owner is not None
    assert owner.name == "d-9"
    assert accounts.version() != before


def test_version_changes_with_every_change_and_only_then(accounts: Accounts) -> None:
    before = accounts.version()
    accounts.driver("d-1")
    assert accounts.version() == before
    accounts.register_driver("d-1")
    assert accounts.version() != before


# ---------------------------------------------------------------- tokens


def test_a_driver_token_speaks_for_its_driver(accounts: Accounts) -> None:
    accounts.register_driver("d-1")
    token = accounts.mint_driver_token("d-1", T0)
    owner = accounts.owner(token)
    assert owner is not None
    assert token.startswith("mld_")
    assert (owner.kind, owner.name, owner.role) == ("driver", "d-1", None)


def test_a_gateway_token_carries_its_malls(accounts: Accounts) -> None:
    token = accounts.mint_gateway_token("fleet", ["plaza", "north", "plaza"], T0)
    owner = accounts.owner(token)
    assert owner is not None
    assert token.startswith("mlg_")
    assert (owner.kind, owner.name, owner.mall_ids) == ("gateway", "fleet", ("plaza", "north"))


def test_an_api_token_is_a_principal_and_the_others_are_not(accounts: Accounts) -> None:
    accounts.register_driver("d-1")
    token = accounts.mint_api_token("shop", "dispatcher", ["plaza"], T0)
    assert token.startswith("mla_")
    assert accounts.bearer(token) == Principal("shop", "dispatcher", ("plaza",))
    assert accounts.bearer(accounts.mint_driver_token("d-1", T0)) is None
    assert accounts.bearer(accounts.mint_gateway_token("fleet", [], T0)) is None


def test_tokens_are_256_bits_and_never_the_same(accounts: Accounts) -> None:
    tokens = {accounts.mint_gateway_token("fleet", [], T0) for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(token) == len("mlg_") + 43 for token in tokens)


@pytest.mark.parametrize("wrong", ["", "mld_", "mld_" + "A" * 43, "x" * 10_000, "\ud800", "mld_\x00"])
def test_a_token_nobody_minted_speaks_for_nobody(accounts: Accounts, wrong: str) -> None:
    assert accounts.owner(wrong) is None
    assert accounts.bearer(wrong) is None


def test_another_prefix_makes_no_other_kind_of_token(accounts: Accounts) -> None:
    token = accounts.mint_gateway_token("fleet", [], T0)
    assert accounts.owner(token.replace("mlg_", "mld_")) is None


def test_a_revoked_token_is_dead_and_the_others_live(accounts: Accounts) -> None:
    accounts.register_driver("d-1")
    old, new = accounts.mint_driver_token("d-1", T0), accounts.mint_driver_token("d-1", T0 + 1)
    owner = accounts.owner(old)
    assert owner is not None
    assert accounts.is_live(owner.digest)
    assert accounts.revoke(old, T0 + 2)
    assert not accounts.is_live(owner.digest)
    assert accounts.owner(old) is None
    assert accounts.owner(new) is not None
    assert not accounts.revoke(old, T0 + 3)


def test_all_tokens_of_a_lost_phone_end_at_once(accounts: Accounts) -> None:
    for driver_id in ("d-1", "d-2"):
        accounts.register_driver(driver_id)
    lost = [accounts.mint_driver_token("d-1", T0) for _ in range(3)]
    other = accounts.mint_driver_token("d-2", T0)
    assert accounts.revoke_all("driver", "d-1", T0) == 3
    assert [accounts.owner(token) for token in lost] == [None] * 3
    assert accounts.owner(other) is not None
    assert accounts.revoke_all("driver", "d-1", T0) == 0


def test_a_name_is_revoked_in_one_kind_or_in_all(accounts: Accounts) -> None:
    fleet, robot = accounts.mint_gateway_token("x", (), T0), accounts.mint_api_token("x", "viewer", (), T0)
    assert accounts.revoke_all("driver", "x", T0) == 0
    assert accounts.revoke_all("api", "x", T0) == 1
    assert (accounts.owner(fleet) is None, accounts.owner(robot) is None) == (False, True)
    assert accounts.revoke_all(None, "x", T0) == 1
    assert accounts.owner(fleet) is None


def test_a_driver_has_to_be_registered_before_its_token(accounts: Accounts) -> None:
    with pytest.raises(ConfigurationError, match="no driver 'd-1'"):
        accounts.mint_driver_token("d-1", T0)


def test_registering_again_replaces_the_particulars(accounts: Accounts) -> None:
    accounts.register_driver("d-1", "Ana", 3, ["plaza"])
    accounts.register_driver("d-1", "Ana R.", 4)
    assert accounts.driver("d-1") == DriverRegistered("d-1", "Ana R.", 4)


@pytest.mark.parametrize(
    ("particulars", "named"),
    [
        ({"driver_id": "../d"}, "'../d'"),
        ({"driver_id": ""}, "''"),
        ({"driver_id": "d-1", "capacity": 0}, "0"),
        ({"driver_id": "d-1", "capacity": 65}, "65"),
        ({"driver_id": "d-1", "mall_ids": ["a mall"]}, "'a mall'"),
        ({"driver_id": "d-1", "name": "x" * 121}, "121"),
    ],
)
def test_a_driver_that_could_not_be_journaled_is_refused(
    accounts: Accounts, particulars: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        accounts.register_driver(**particulars)  # type: ignore[arg-type]


# ---------------------------------------------------------------- people


def test_a_login_opens_a_session_with_role_and_malls(accounts: Accounts, maya: str) -> None:
    assert accounts.session(maya, T0 + 1) == Principal("maya", "dispatcher", ("plaza",))


def test_every_login_is_another_session(accounts: Accounts, maya: str) -> None:
    again, _ = accounts.login("maya", PASSWORD, T0)
    assert again != maya
    assert accounts.logout(maya)
    assert accounts.session(maya, T0) is None
    assert accounts.session(again, T0) is not None
    assert not accounts.logout(maya)


def test_a_session_ends_when_it_is_not_used(accounts: Accounts, maya: str) -> None:
    assert accounts.session(maya, T0 + IDLE_MS) is None
    # And it does not come back, whatever the clock says.
    assert accounts.session(maya, T0) is None


def test_using_a_session_keeps_it_open(accounts: Accounts, maya: str) -> None:
    for step in range(1, 10):
        assert accounts.session(maya, T0 + step * (IDLE_MS - 2 * MINUTE)) is not None


def test_a_session_ends_after_twelve_hours_however_busy(accounts: Accounts, maya: str) -> None:
    for at_ms in range(T0, T0 + ABSOLUTE_MS, 20 * MINUTE):
        assert accounts.session(maya, at_ms) is not None
    assert accounts.session(maya, T0 + ABSOLUTE_MS) is None


def test_a_change_of_role_counts_at_once_and_ends_sessions(accounts: Accounts, maya: str) -> None:
    accounts.add_user("maya", "another secret", "ops-lead")
    assert accounts.session(maya, T0) is None
    assert accounts.login("maya", "another secret", T0)[1].role == "ops-lead"
    with pytest.raises(BadLoginError):
        accounts.login("maya", PASSWORD, T0)


def test_a_removed_person_is_out_at_once(accounts: Accounts, maya: str) -> None:
    assert accounts.remove_user("maya")
    assert accounts.session(maya, T0) is None
    with pytest.raises(BadLoginError):
        accounts.login("maya", PASSWORD, T0)
    assert not accounts.remove_user("maya")


@pytest.mark.parametrize("name", ["maya", "nobody", "", "x" * 300, "\ud800", "'; DROP TABLE person; --"])
def test_a_wrong_login_says_the_same_whoever_it_is(accounts: Accounts, maya: str, name: str) -> None:
    with pytest.raises(BadLoginError, match=r"^wrong name or password$"):
        accounts.login(name, "not the password", T0)


@pytest.mark.parametrize("password", ["", PASSWORD + "x", PASSWORD[:-1], "p" * 1_000_000, "\ud800"])
def test_only_the_password_itself_opens(accounts: Accounts, maya: str, password: str) -> None:
    with pytest.raises(BadLoginError):
        accounts.login("maya", password, T0)


def test_an_unknown_name_costs_a_whole_password_check(accounts: Accounts, maya: str) -> None:
    checked: list[str] = []
    matches = accounts._matches
    accounts._matches = lambda stored, password: checked.append(stored) or matches(stored, password)  # type: ignore[method-assign,func-returns-value]
    for name in ("maya", "nobody"):
        with pytest.raises(BadLoginError):
            accounts.login(name, "not the password", T0)
    assert len(checked) == 2
    # The same work: kind, version and parameters of both hashes.
    assert checked[0].split("$")[:4] == checked[1].split("$")[:4]


@pytest.mark.parametrize("name", ["maya", "nobody"])
def test_five_wrong_passwords_lock_an_account_known_or_not(accounts: Accounts, maya: str, name: str) -> None:
    for second in range(FAILS):
        with pytest.raises(BadLoginError):
            accounts.login(name, "guess", T0 + second * 1000)
    with pytest.raises(LockedError, match="15 minutes") as locked:
        accounts.login(name, PASSWORD, T0 + 5000)
    assert (locked.value.code, locked.value.retry_after_ms) == ("locked", FAIL_WINDOW_MS - 5000)


def test_a_locked_account_opens_again_after_a_quarter_of_an_hour(accounts: Accounts, maya: str) -> None:
    for _ in range(FAILS):
        with pytest.raises(BadLoginError):
            accounts.login("maya", "guess", T0)
    with pytest.raises(LockedError):
        accounts.login("maya", PASSWORD, T0 + FAIL_WINDOW_MS - 1)
    assert accounts.login("maya", PASSWORD, T0 + FAIL_WINDOW_MS)[1].name == "maya"


def test_a_good_login_forgets_the_bad_ones(accounts: Accounts, maya: str) -> None:
    for _ in range(3):
        for _ in range(FAILS - 1):
            with pytest.raises(BadLoginError):
                accounts.login("maya", "guess", T0)
        accounts.login("maya", PASSWORD, T0)


def test_locking_one_account_leaves_the_others_alone(accounts: Accounts, maya: str) -> None:
    accounts.add_user("noor", PASSWORD, "viewer")
    for _ in range(FAILS):
        with pytest.raises(BadLoginError):
            accounts.login("maya", "guess", T0)
    assert accounts.login("noor", PASSWORD, T0)[1].name == "noor"


def guess(accounts: Accounts, name: str, address: str, device: str = "", at_ms: int = T0) -> type[Exception]:
    with pytest.raises((BadLoginError, LockedError)) as refused:
        accounts.login(name, "guess", at_ms, address, device)
    return refused.type


def test_a_stranger_locks_only_himself_out(accounts: Accounts, maya: str) -> None:
    for _ in range(FAILS):
        assert guess(accounts, "maya", "203.0.113.7") is BadLoginError
    assert guess(accounts, "maya", "203.0.113.7") is LockedError
    assert accounts.login("maya", PASSWORD, T0, "198.51.100.1")[1].name == "maya"
    assert guess(accounts, "maya", "203.0.113.7") is LockedError, "her log-in does not free the stranger"


def test_a_known_browser_gets_in_while_strangers_guess_from_everywhere(accounts: Accounts, maya: str) -> None:
    device = accounts.trust_device("maya", T0)
    for number in range(NAME_FAILS):
        assert guess(accounts, "maya", f"203.0.113.{number}") is BadLoginError
    with pytest.raises(LockedError):
        accounts.login("maya", PASSWORD, T0, "198.51.100.1")
    assert accounts.login("maya", PASSWORD, T0, "198.51.100.1", device)[1].name == "maya"
    assert accounts.login("maya", PASSWORD, T0, "203.0.113.7", device)[1].name == "maya"


def test_a_known_browser_is_no_way_around_the_limit(accounts: Accounts, maya: str) -> None:
    device = accounts.trust_device("maya", T0)
    for number in range(FAILS):
        assert guess(accounts, "maya", f"203.0.113.{number}", device) is BadLoginError
    assert guess(accounts, "maya", "203.0.113.99", device) is LockedError
    assert accounts.login("maya", PASSWORD, T0, "198.51.100.1")[1].name == "maya"


def test_a_device_counts_for_its_person_only_and_not_for_ever(accounts: Accounts, maya: str) -> None:
    accounts.add_user("noor", PASSWORD, "viewer")
    device, late_ms = accounts.trust_device("noor", T0), T0 + DEVICE_MS
    for at_ms, name in ((T0, "maya"), (late_ms, "noor")):
        for _ in range(FAILS):
            assert guess(accounts, name, "203.0.113.7", device, at_ms) is BadLoginError
        with pytest.raises(LockedError):
            accounts.login(name, PASSWORD, at_ms, "203.0.113.7")


def test_a_new_password_forgets_the_devices(accounts: Accounts, maya: str) -> None:
    device = accounts.trust_device("maya", T0)
    accounts.add_user("maya", PASSWORD, "dispatcher")
    for _ in range(FAILS):
        guess(accounts, "maya", "203.0.113.7", device)
    with pytest.raises(LockedError):
        accounts.login("maya", PASSWORD, T0, "203.0.113.7")


def test_one_address_that_tries_every_name_is_locked(accounts: Accounts, maya: str) -> None:
    for number in range(ADDRESS_FAILS):
        assert guess(accounts, f"name-{number}", "2001:db8::1") is BadLoginError
    assert guess(accounts, "maya", "2001:db8::2") is LockedError, "the same network"
    assert accounts.login("maya", PASSWORD, T0, "2001:db8:1::1")[1].name == "maya"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:0:1:2::3", "2001:db8:0:1::/64"),
        ("", ""),
        ("x" * 500, "x" * 64),
    ],
)
def test_addresses_count_by_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_guesses_made_all_at_once_are_counted_one_by_one(accounts: Accounts, maya: str) -> None:
    outcomes: list[type[Exception]] = []

    def guess() -> None:
        try:
            accounts.login("maya", "guess", T0)
        except (BadLoginError, LockedError) as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(BadLoginError), outcomes.count(LockedError)) == (FAILS, 3)


@pytest.mark.parametrize(
    ("name", "password", "role", "reason"),
    [
        ("may a", PASSWORD, "viewer", "cannot name a user"),
        ("autopilot", PASSWORD, "viewer", "choose another name"),
        ("maya", "short", "viewer", "8 to 256"),
        ("maya", "x" * 257, "viewer", "8 to 256"),
        ("maya", PASSWORD, "admin", "the roles are viewer, dispatcher, ops-lead"),
    ],
)
def test_a_person_that_cannot_be_is_refused(
    accounts: Accounts, name: str, password: str, role: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        accounts.add_user(name, password, role)


def test_passwords_are_kept_as_argon2id_at_the_price_of_the_rfc(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.add_user("maya", PASSWORD, "viewer")
    ((stored,),) = accounts._file.read("SELECT password FROM person")
    accounts.close()
    # RFC 9106 §4, second recommended option: 64 MiB, 3 passes, 4 lanes.
    assert str(stored).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_roles_are_the_three_of_the_protocol() -> None:
    assert module.ROLES == ("viewer", "dispatcher", "ops-lead")
