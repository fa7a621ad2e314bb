"""Drives a simulated world against a running floor, in real time: drivers by a gateway socket, orders over REST.

It must not know how drivers behave, nor how messages are kept and resent.
"""

import asyncio
import time
from collections.abc import Callable

import httpx
from msgspec import Struct
from msgspec.structs import replace

from streamer.core.errors import ConfigurationError
from streamer.core.events import OrderPlaced, RouteChanged, Stop
from streamer.core.malls import parse_malls
from streamer.edge.simulation.shop import OrderDesk
from streamer.edge.simulation.uplink import Uplink
from streamer.edge.simulation.worlds import only_malls, world_of
from streamer.edge.wire import Route
from streamer.sim.parameters import USUAL, Parameters
from streamer.sim.stories import Script
from streamer.sim.world import STEP_MS, World, said_by_drivers

TIMEOUT_S = 10.0


class LiveTally(Struct):
    """What a live simulation has done so far. `refused` counts messages by the code the gateway gave."""

    acked: int
    waiting: int
    connects: int
    placed: int
    given: int
    refused: dict[str, int]


async def simulate_connect(
    script: Script, url: str, token: str, api_url: str, api_token: str, *, dispatch: bool = True,
    progress: Callable[[float, LiveTally], None] | None = None, client: httpx.AsyncClient | None = None,
    parameters: Parameters = USUAL,
) -> LiveTally:  # fmt: skip
    """Live a script's world from now on, in real time and without warm-up, against a running floor.

    The script's people do not act: on a live floor there are others to do so.

    Args:
        url: the gateway's socket, `ws://HOST:8765/v1/drivers`. token: of a gateway that may speak for the malls.
        api_url: `http://HOST:8050`. api_token: of a program with the role dispatcher.
        dispatch: also give out orders, each to its best candidate; without it people or the autopilot have to.
        progress: told the share done and the figures, every second.
        client: instead of one made for `api_url` and `api_token`; it is not closed.
        parameters: what the world is made of.

    Raises:
        ConfigurationError: an address or token is wrong, nothing answers there at first, or the floor has no such mall.
    """
    own = client or httpx.AsyncClient(
        base_url=api_url, headers={"Authorization": f"Bearer {api_token}"}, timeout=TIMEOUT_S
    )
    try:
        uplink = Uplink(url, token, lambda route: world.learn([_changed(route)]))
        desk = OrderDesk(own, script.mall_ids, dispatch)
        world = await _world_now(script, desk, parameters)
        await _live(world, uplink, desk, progress)
        return _tally(uplink, desk)
    except ExceptionGroup as group:
        raise (_first_fault(group) or group) from None
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{api_url} is not the address of a dashboard") from error
    finally:
        if client is None:
            await own.aclose()


async def _world_now(script: Script, desk: OrderDesk, parameters: Parameters) -> World:
    floor = only_malls(parse_malls(await desk.floor()), script.mall_ids)
    now_ms = _now_ms()
    story = replace(script.story, warmup_ms=0, acts=())
    # Numbers go on from the clock's milliseconds, of which more pass than numbers are used: so a second run against
    # the same floor is not taken for a repeat of this one.
    return world_of(replace(script, play_ms=now_ms, story=story), floor, now_ms, parameters)


async def _live(
    world: World, uplink: Uplink, desk: OrderDesk, progress: Callable[[float, LiveTally], None] | None
) -> None:
    async with asyncio.TaskGroup() as tasks:
        socket, office = tasks.create_task(uplink.run()), tasks.create_task(desk.run())
        for at_ms in range(world.start_ms, world.end_ms + 1, STEP_MS):
            await asyncio.sleep(max(0.0, at_ms / 1000 - time.time()))
            for order in world.newly_ready(at_ms):
                desk.ready(order)
            inputs = world.step(at_ms)
            for entered in inputs:
                if isinstance(entered, OrderPlaced):
                    desk.place(entered)
            await uplink.say(said_by_drivers(inputs))
            if progress is not None:
                progress((at_ms - world.start_ms) / (world.end_ms - world.start_ms), _tally(uplink, desk))
        await uplink.close()
        socket.cancel()
        office.cancel()


def _first_fault(group: ExceptionGroup[Exception]) -> ConfigurationError | None:
    return next((error for error in group.exceptions if isinstance(error, ConfigurationError)), None)


def _changed(route: Route) -> RouteChanged:
    stops = tuple(Stop(stop.kind, stop.order_id, stop.lat, stop.lng, stop.eta_ms) for stop in route.stops)
    return RouteChanged(route.driver_id if isinstance(route.driver_id, str) else "", route.assignment, stops)


def _tally(uplink: Uplink, desk: OrderDesk) -> LiveTally:
    return LiveTally(uplink.acked, uplink.waiting, uplink.connects, desk.placed, desk.given, dict(uplink.refused))


def _now_ms() -> int:
    return int(time.time()) * 1000
