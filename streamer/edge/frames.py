"""What a frame of docs/feed.md holds, as types, and how drivers and cells become its columns.

It must not know when a frame is built or who reads it.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from streamer.core.events import Hex
from streamer.core.hexes import HexLayers, hex_name
from streamer.core.kpis import Kpis
from streamer.core.settings import AutopilotMode
from streamer.core.state import Driver
from streamer.core.views import OrderView


class Sign(Struct):
    """What stands over the floor: live or replay, at which speed, whether its clock runs and whether it has ended.

    `forked_at_ms` is when the floor left its recording, by this floor's clock; None: it has not.
    """

    mode: Literal["live", "replay"] = "live"
    speed: float = 1.0
    fixture: str | None = None
    clock_offset_ms: int = 0
    ended: bool = False
    forked_at_ms: int | None = None
    playing: bool = True


class DriverColumns(Struct):
    """Drivers as columns. `orders` counts what each carries; positions are null before the first ping."""

    id: list[str] = []
    name: list[str] = []
    lat: list[float | None] = []
    lng: list[float | None] = []
    heading_deg: list[int | None] = []
    state: list[str] = []
    fix_ms: list[int | None] = []
    accuracy_m: list[float | None] = []
    verdict: list[str | None] = []
    in_mall: list[str | None] = []
    orders: list[int] = []


class HexColumns(Struct):
    """Cells as columns; `wait` in minutes."""

    cell: list[str] = []
    supply: list[int] = []
    demand: list[int] = []
    balance: list[int] = []
    wait: list[float] = []


class SnapshotFrame(Struct, frozen=True, tag_field="frame", tag="snapshot"):
    """Everything shown of one mall; replaces what a reader holds."""

    epoch: str
    mall_id: str
    seq: int
    at_ms: int
    floor: Sign
    autopilot: AutopilotMode
    drivers: DriverColumns
    gone: list[str]
    orders: list[OrderView]
    hexes: HexColumns
    kpis: Kpis
    floor_kpis: Kpis


class DeltaFrame(Struct, frozen=True, tag_field="frame", tag="delta", omit_defaults=True):
    """What changed of one mall since the frame before; fields without news are left out."""

    mall_id: str
    seq: int
    at_ms: int
    floor: Sign
    autopilot: AutopilotMode
    kpis: Kpis
    floor_kpis: Kpis
    drivers: DriverColumns | None = None
    gone: list[str] = []
    orders: list[OrderView] = []
    hexes: HexColumns | None = None


def driver_columns(drivers: Iterable[Driver]) -> DriverColumns:
    """Drivers as the columns of a frame."""
    shown = list(drivers)
    pings = [driver.ping for driver in shown]
    return DriverColumns(
        id=[driver.id for driver in shown],
        name=[driver.name for driver in shown],
        lat=[ping.lat if ping else None for ping in pings],
        lng=[ping.lng if ping else None for ping in pings],
        heading_deg=[round(ping.heading_deg) if ping and ping.heading_deg is not None else None for ping in pings],
        state=[driver.state for driver in shown],
        fix_ms=[ping.fix_ms if ping else None for ping in pings],
        accuracy_m=[round(ping.accuracy_m, 1) if ping and ping.accuracy_m is not None else None for ping in pings],
        verdict=[driver.verdict for driver in shown],
        in_mall=[driver.mall_id for driver in shown],
        orders=[len(driver.order_ids) for driver in shown],
    )


def hex_columns(layers: Mapping[Hex, HexLayers]) -> HexColumns:
    """Cells as the columns of a frame."""
    columns = HexColumns()
    for cell, layer in layers.items():
        columns.cell.append(hex_name(cell))
        columns.supply.append(layer.supply)
        columns.demand.append(layer.demand)
        columns.balance.append(layer.balance)
        columns.wait.append(layer.wait)
    return columns
