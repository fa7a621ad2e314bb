"""`mallard token` and `mallard user`: who may connect and who may log in.

It must not know how secrets are kept. A secret is printed once, alone, on stdout.
"""

import sys
import time
from typing import Annotated

import typer

from streamer.cli.shown import DEFAULT_DATA, DataOption, MallsOption
from streamer.core.errors import ConfigurationError
from streamer.edge.accounts import ROLES, Accounts, TokenKind

token_app = typer.Typer(
    help="Give drivers, gateways and programs their secrets, and take them back.", no_args_is_help=True
)
user_app = typer.Typer(help="Manage people's log-ins.", no_args_is_help=True)
RoleOption = Annotated[str, typer.Option(help="viewer, dispatcher or ops-lead.")]


def _check_role(role: str) -> str:
    if role not in ROLES:
        raise typer.BadParameter(f"{role!r} is no role: {', '.join(ROLES)}")
    return role


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@token_app.command()
def driver(
    driver_id: Annotated[str, typer.Argument(metavar="ID")],
    name: Annotated[str, typer.Option(help="The name on the floor.")] = "",
    capacity: Annotated[int, typer.Option(min=1, max=64, help="Orders carried at once.")] = 5,
    mall: MallsOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """A token for one driver, registered if it is new."""
    accounts = Accounts(data)
    if accounts.driver(driver_id) is None or name or mall:
        accounts.register_driver(driver_id, name, capacity, mall or ())
    print(accounts.mint_driver_token(driver_id, _now_ms()))


@token_app.command()
def gateway(
    name: Annotated[str, typer.Argument(metavar="NAME")], mall: MallsOption = None, data: DataOption = DEFAULT_DATA
) -> None:
    """A token for a program that speaks for the drivers of some malls, or of all."""
    print(Accounts(data).mint_gateway_token(name, mall or (), _now_ms()))


@token_app.command()
def api(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    role: RoleOption,
    mall: MallsOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """A token for a program that uses the REST interface."""
    print(Accounts(data).mint_api_token(name, _check_role(role), mall or (), _now_ms()))


@token_app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the driver, gateway or program.")],
    kind: Annotated[TokenKind | None, typer.Option(help="Only tokens of this kind.")] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """End every token of a name; its open sockets close within a second."""
    ended = Accounts(data).revoke_all(kind, name, _now_ms())
    if not ended:
        raise ConfigurationError(f"there is no {kind + ' ' if kind else ''}token of {name!r} in {data}")
    print(f"{ended} revoked")


@user_app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    role: RoleOption,
    mall: MallsOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Add a person, or give one a new password and role; the password is asked for, or read from stdin."""
    _check_role(role)
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ConfigurationError("no password was given")
    Accounts(data).add_user(name, password, role, mall or ())
    print(f"{name} may log in as {role}", file=sys.stderr)


@user_app.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME")], data: DataOption = DEFAULT_DATA) -> None:
    """Remove a person; they are logged out at once."""
    if not Accounts(data).remove_user(name):
        raise ConfigurationError(f"there is no user {name!r} in {data}")
    print(f"{name} may not log in any more", file=sys.stderr)
