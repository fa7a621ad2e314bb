"""The calls that only look: orders, drivers, malls, hexes, figures, candidates, previews, tracks.

It must not change the floor, and it must not check roles: `desk` has done that.
"""

import asyncio
from collections.abc import Iterable

from streamer.core.errors import CallerError
from streamer.core.hexes import HexGrid, HexLayers, boundary, hex_name
from streamer.core.kpis import kpis
from streamer.core.lessons import lessons
from streamer.core.state import Driver, Order
from streamer.core.views import driver_view, order_view
from streamer.dispatch.candidates import rank
from streamer.dispatch.outlook import outlook
from streamer.dispatch.preview import preview
from streamer.edge.autopilot import Autopilot
from streamer.edge.desk import calls
from streamer.edge.desk.calls import Answer, Caller, CallRefusedError, read_cursor, write_cursor
from streamer.edge.journal.contract import Note
from streamer.edge.runner import Runner


class Reads:
    """Answers about the floor as it stands; the desk holds each back until what it shows is durable."""

    def __init__(self, runner: Runner, autopilot: Autopilot) -> None:
        self.runner = runner
        self.autopilot = autopilot
        self._grids = {mall.id: HexGrid(mall) for mall in runner.engine.floor.malls.values()}

    async def state(self, who: Caller, params: calls.Nothing) -> Answer:
        """Sequence number, instant and hash of the engine."""
        engine = self.runner.engine
        return Answer({"seq": engine.state.seq, "at_ms": engine.state.at_ms, "hash": engine.hash()})

    async def ready(self, who: Caller | None, params: calls.Nothing) -> Answer:
        """Whether inputs can be taken now, and where plans' driving times come from, if a server is set for them."""
        writable = not self.runner.full and self.runner.fault is None
        roads = self.autopilot.roads
        routing = {} if roads is None else {"routing": roads.status.source}
        return Answer({"journal_writable": writable, **routing})

    async def malls(self, who: Caller, params: calls.Nothing) -> Answer:
        """The malls in scope, as PROTOCOL's GeoJSON."""
        collection = self.runner.engine.floor.geojson()
        features = [
            feature
            for feature in collection["features"]
            if who.may_see(feature["properties"].get("mall_id") or feature["id"])
        ]
        return Answer({"type": "FeatureCollection", "features": features})

    async def hexes(self, who: Caller, params: calls.Hexes) -> Answer:
        """The cells drawn around a mall, one GeoJSON feature each, with the layers asked for."""
        grid = self._grids[self.find_mall(who, params.mall_id)]
        counted = grid.layers(self.runner.engine.state)
        features = [_hex_feature(cell, counted.get(cell) or HexLayers(), params.layers) for cell in grid.cells]
        return Answer({"type": "FeatureCollection", "features": features})

    async def kpis(self, who: Caller, params: calls.OfMall) -> Answer:
        """The figures of one mall, or of all in scope."""
        scope = who.mall_ids or None
        if params.mall_id is not None:
            scope = (self.find_mall(who, params.mall_id),)
        return Answer(kpis(self.runner.engine.state, scope))

    async def autopilots(self, who: Caller, params: calls.Nothing) -> Answer:
        """The autopilot of every mall in scope: its rules, and how its looks go."""
        return Answer({"items": [self.autopilot_of(mall_id) for mall_id in self._grids if who.may_see(mall_id)]})

    def autopilot_of(self, mall_id: str) -> dict[str, object]:
        """The autopilot of one mall, as it is shown."""
        rules, health = self.autopilot.rules(mall_id), self.autopilot.health[mall_id]
        roads = self.autopilot.roads
        return {
            "mall_id": mall_id, "rules": rules, "worker": health, "routing": None if roads is None else roads.status,
        }  # fmt: skip

    async def expected(self, who: Caller, params: calls.OutlookAt) -> Answer:
        """How many orders a mall is likely to be asked for next, and of which stores."""
        mall_id, engine = self.find_mall(who, params.mall_id), self.runner.engine
        return Answer(outlook(engine.state.orders.values(), mall_id, engine.state.at_ms))

    async def learned(self, who: Caller, params: calls.LearnedAt) -> Answer:
        """What a mall has taught the floor: its stores, its roads, and how true ETAs were."""
        engine = self.runner.engine
        mall = engine.floor.malls[self.find_mall(who, params.mall_id)]
        return Answer(lessons(engine.state, mall, engine.planner.forecast))

    async def orders(self, who: Caller, params: calls.Orders) -> Answer:
        """Orders that fit the filters, oldest first."""
        if params.mall_id is not None:
            self.find_mall(who, params.mall_id)
        fitting = [order for order in self.runner.engine.state.orders.values() if _order_fits(who, params, order)]
        fitting.sort(key=_order_place)
        after = read_cursor(params.cursor)
        page = [order for order in fitting if _order_place(order) > after][: params.limit + 1]
        more = len(page) > params.limit
        del page[params.limit :]
        return Answer({"items": [order_view(order) for order in page],
                       "next": write_cursor(_order_place(page[-1])) if more else None})  # fmt: skip

    async def order(self, who: Caller, params: calls.OfOrder) -> Answer:
        """One order."""
        return Answer(order_view(self.find_order(who, params.order_id)))

    async def history(self, who: Caller, params: calls.OfOrder) -> Answer:
        """What happened to an order, oldest first."""
        return Answer({"items": tuple(self.find_order(who, params.order_id).history), "next": None})

    async def candidates(self, who: Caller, params: calls.Candidates) -> Answer:
        """Who could carry an order, and why others could not."""
        self.find_order(who, params.order_id)
        try:
            return Answer(rank(self.runner.engine, params.order_id, params.limit))
        except CallerError as error:
            raise CallRefusedError(409, "bad_transition", str(error)) from error

    async def preview(self, who: Caller, params: calls.PreviewOf) -> Answer:
        """What giving orders to a driver would do to every order it touches."""
        for order_id in params.order_ids:
            self.find_order(who, order_id)
        self.find_driver(who, params.driver_id)
        try:
            return Answer({"items": preview(self.runner.engine, params.order_ids, params.driver_id)})
        except CallerError as error:
            raise CallRefusedError(409, "bad_transition", str(error)) from error

    async def drivers(self, who: Caller, params: calls.Drivers) -> Answer:
        """Drivers that fit the filters, by id."""
        if params.mall_id is not None:
            self.find_mall(who, params.mall_id)
        state, at_ms = self.runner.engine.state, self.runner.now_ms()
        _, after = read_cursor(params.cursor)
        fitting = sorted(driver.id for driver in state.drivers.values() if _driver_fits(who, params, driver))
        page = [driver_id for driver_id in fitting if driver_id > after][: params.limit + 1]
        more = len(page) > params.limit
        del page[params.limit :]
        return Answer({"items": [driver_view(state.drivers[driver_id], at_ms) for driver_id in page],
                       "next": write_cursor((0, page[-1])) if more else None})  # fmt: skip

    async def driver(self, who: Caller, params: calls.OfDriver) -> Answer:
        """One driver, with its route."""
        return Answer(driver_view(self.find_driver(who, params.driver_id), self.runner.now_ms()))

    async def track(self, who: Caller, params: calls.Track) -> Answer:
        """A driver's pings; the look itself goes into the audit chain first."""
        self.find_driver(who, params.driver_id)
        if self.runner.full:
            raise CallRefusedError(503, "storage_full", "a track is only shown when the look at it can be audited")
        after_seq, _ = read_cursor(params.cursor)
        window = {"driver_id": params.driver_id, "from_ms": str(params.from_ms), "to_ms": str(params.to_ms)}
        window |= {"reason": params.reason} if params.reason else {}
        self.runner.note(Note(self.runner.now_ms(), "track_read", who.name, window))
        await self.runner.settled()
        page = await asyncio.to_thread(
            self.runner.journal.track, params.driver_id, params.from_ms, params.to_ms, max(0, after_seq), params.limit
        )
        return Answer({"items": page.items, "next": write_cursor((page.next_seq, "")) if page.next_seq else None})

    # ------------------------------------------------------------ what a caller may see

    def find_order(self, who: Caller, order_id: str) -> Order:
        """The order, in the caller's scope.

        Raises:
            CallRefusedError: there is none, or it is of a mall out of scope.
        """
        order = self.runner.engine.state.orders.get(order_id)
        if order is None:
            raise CallRefusedError(404, "not_found", f"there is no order {order_id}")
        if not who.may_see(order.mall_id):
            raise CallRefusedError(403, "forbidden", f"order {order_id} is of a mall outside your scope")
        return order

    def find_driver(self, who: Caller, driver_id: str) -> Driver:
        """The driver, in the caller's scope.

        Raises:
            CallRefusedError: there is none, or it has nothing to do with a mall in scope.
        """
        driver = self.runner.engine.state.drivers.get(driver_id)
        if driver is None:
            raise CallRefusedError(404, "unknown_driver", f"there is no driver {driver_id}")
        if not sees_driver(who, driver):
            raise CallRefusedError(403, "forbidden", f"driver {driver_id} is of a mall outside your scope")
        return driver

    def find_mall(self, who: Caller, mall_id: str) -> str:
        """The mall's id, if it is in the caller's scope.

        Raises:
            CallRefusedError: there is none, or it is out of scope.
        """
        if mall_id not in self._grids:
            raise CallRefusedError(404, "not_found", f"there is no mall {mall_id}")
        if not who.may_see(mall_id):
            raise CallRefusedError(403, "forbidden", f"mall {mall_id} is outside your scope")
        return mall_id


def sees_driver(who: Caller, driver: Driver) -> bool:
    """Whether a driver is shown on, or works for, a mall in scope."""
    return who.may_see(driver.region) or any(who.may_see(mall_id) for mall_id in driver.mall_ids)


def _order_place(order: Order) -> tuple[int, str]:
    return order.placed_ms, order.id


def _order_fits(who: Caller, params: calls.Orders, order: Order) -> bool:
    risks = (params.risk,) if isinstance(params.risk, str) else params.risk
    return (
        who.may_see(order.mall_id)
        and (not params.status or order.status in params.status)
        and (params.mall_id is None or order.mall_id == params.mall_id)
        and (params.driver_id is None or order.driver_id == params.driver_id)
        and (not risks or order.risk in risks)
        and _mentions(
            params.q, (order.id, order.external_id or "", order.dropoff.name, order.dropoff.address, *order.stores)
        )
    )


def _driver_fits(who: Caller, params: calls.Drivers, driver: Driver) -> bool:
    return (
        sees_driver(who, driver)
        and (not params.state or driver.state in params.state)
        and (params.mall_id is None or params.mall_id == driver.region or params.mall_id in driver.mall_ids)
        and _mentions(params.q, (driver.id, driver.name))
    )


def _mentions(q: str, texts: Iterable[str]) -> bool:
    wanted = q.strip().casefold()
    return not wanted or any(wanted in text.casefold() for text in texts)


def _hex_feature(cell: int, layer: HexLayers, wanted: tuple[calls.Layer, ...]) -> dict[str, object]:
    figures = {"supply": layer.supply, "demand": layer.demand, "balance": layer.balance, "wait": layer.wait}
    return {
        "type": "Feature",
        "id": hex_name(cell),
        "geometry": {"type": "Polygon", "coordinates": [boundary(cell)]},
        "properties": {name: figures[name] for name in wanted},
    }
