"""Questions to the streamer in the name of whoever is looking, with answers as records.

It must not know components.
"""

import asyncio
from typing import TypeVar

import msgspec
from msgspec import Struct

from dashboard.auth import Principal, current_principal
from dashboard.figures.places import Places, read_places
from dashboard.link import Reply, current_link
from streamer.core.state import HistoryItem
from streamer.core.views import DriverView, OrderView

Record = TypeVar("Record")


class OrderList(Struct, frozen=True):
    """A page of orders."""

    items: tuple[OrderView, ...] = ()


class DriverList(Struct, frozen=True):
    """A page of drivers."""

    items: tuple[DriverView, ...] = ()


class History(Struct, frozen=True):
    """The events of an order."""

    items: tuple[HistoryItem, ...] = ()


async def call(name: str, **params: object) -> Reply:
    """Asks the streamer in the name of the current principal (docs/link.md)."""
    return await current_link().call(name, params, current_principal())


async def ask(name: str, kind: type[Record], **params: object) -> Record | None:
    """The answer as a record; None when it was refused or the floor cannot be reached."""
    reply = await call(name, **params)
    return msgspec.convert(reply.body, kind) if reply.ok else None


async def ask_places() -> Places | None:
    """The malls; None when the floor cannot be reached."""
    reply = await call("malls")
    return read_places(reply.body) if reply.ok else None


async def ask_names(mall_id: str) -> dict[str, str]:
    """Names of the drivers on a mall's floor, by id; a driver that is not there is shown by its id."""
    drivers = await ask("drivers", DriverList, mall_id=mall_id, limit=500)
    return {driver.id: driver.name for driver in drivers.items} if drivers else {}


async def ask_floor(mall_id: str) -> tuple[Places, dict[str, str]]:
    """Malls and drivers' names, asked for together."""
    places, names = await asyncio.gather(ask_places(), ask_names(mall_id))
    return places or Places({}), names


def why_not(principal: Principal) -> str:
    """Why this person cannot act; empty if they can."""
    return "" if principal.may("dispatcher") else f"You are logged in as {principal.role}: you can look, not act."
