"""A shop's and a dispatcher's side of a live simulation, over REST: places orders, says ready, gives out.

It must not know drivers' sockets; it is a program like any other that PROTOCOL §3 serves.
"""

import asyncio
from collections.abc import Sequence

import httpx
import msgspec
from msgspec import Struct

from streamer.core.errors import ConfigurationError
from streamer.core.events import OrderPlaced
from streamer.edge.simulation.backoff import Backoff, retry_after_s

LOOK_S = 5.0
GIVEN_AT_ONCE = 20
LEAD_MS = 13 * 60_000
"""As the recording's dispatcher: given out when the store's promise is this near."""
NOBODY = 401, 403


class _Shown(Struct):
    """The fields of an order that a desk decides by."""

    id: str
    version: int
    status: str = ""
    held: bool = False
    ready_ms: int | None = None


class _Page(Struct):
    items: list[_Shown]
    next: str | None = None


class _Candidate(Struct):
    driver_id: str


class _Candidates(Struct):
    items: list[_Candidate]


class OrderDesk:
    """Places orders and, with `dispatch`, gives them to the best candidate, through `client` (with its base URL)."""

    def __init__(self, client: httpx.AsyncClient, mall_ids: Sequence[str], dispatch: bool) -> None:
        self._client, self._mall_ids, self._dispatch = client, mall_ids, dispatch
        self._orders: dict[str, str] = {}
        self._jobs: asyncio.Queue[tuple[str, OrderPlaced]] = asyncio.Queue()
        self._reached = False
        self.placed = self.given = self.refused = 0

    def place(self, order: OrderPlaced) -> None:
        """Have an order placed soon."""
        self._jobs.put_nowait(("place", order))

    def ready(self, order: OrderPlaced) -> None:
        """Have an order said to be ready soon."""
        self._jobs.put_nowait(("ready", order))

    async def floor(self) -> object:
        """The floor's malls, as decoded GeoJSON.

        Raises:
            ConfigurationError: the API cannot be reached, or refuses the token.
        """
        answer = await self._ask("GET", "/malls")
        try:
            return answer.raise_for_status().json()
        except (httpx.HTTPStatusError, ValueError) as error:
            raise ConfigurationError(f"what answers at {self._client.base_url} is no dashboard of Mallard") from error

    async def run(self) -> None:
        """Do what is asked, in order, and look for orders to give out, until cancelled.

        Raises:
            ConfigurationError: the token is refused.
        """
        loop = asyncio.get_running_loop()
        look_s = loop.time()
        while True:
            try:
                # Not `wait_for`: Python 3.11's swallows a cancellation that meets a job.
                async with asyncio.timeout_at(look_s):
                    job, order = await self._jobs.get()
                await (self._place(order) if job == "place" else self._say_ready(order))
            except TimeoutError:
                look_s = loop.time() + LOOK_S
                for mall_id in self._mall_ids if self._dispatch else ():
                    await self._give_out(mall_id)

    async def _place(self, order: OrderPlaced) -> None:
        body = msgspec.to_builtins(order)
        answer = await self._ask(
            "POST", "/orders", {k: v for k, v in body.items() if k not in {"type", "actor", "key"}}
        )
        if answer.is_success:
            self.placed += 1
            self._orders[f"{order.mall_id}/{order.external_id}"] = str(answer.json()["id"])
        else:
            self.refused += 1

    async def _say_ready(self, order: OrderPlaced) -> None:
        order_id = self._orders.get(f"{order.mall_id}/{order.external_id}")
        if order_id is None:
            return
        shown = await self._ask("GET", f"/orders/{order_id}")
        if shown.is_success:
            version = msgspec.json.decode(shown.content, type=_Shown).version
            # Somebody may have been first, or the order be collected: then it needs no word any more.
            await self._ask("POST", f"/orders/{order_id}/ready", {"expected_version": version, "reason": "packed"})

    async def _give_out(self, mall_id: str) -> None:
        answer = await self._ask("GET", f"/orders?status=placed,ready&mall_id={mall_id}&limit=200")
        if not answer.is_success:
            return
        now_ms = await self._now_ms()
        waiting = msgspec.json.decode(answer.content, type=_Page).items
        due = [o for o in waiting if not o.held and (o.ready_ms is None or o.ready_ms - now_ms <= LEAD_MS)]
        for order in due[:GIVEN_AT_ONCE]:
            await self._give(order)

    async def _give(self, order: _Shown) -> None:
        answer = await self._ask("GET", f"/orders/{order.id}/candidates?limit=1")
        best = msgspec.json.decode(answer.content, type=_Candidates).items if answer.is_success else []
        if best:
            body = {"expected_version": order.version, "driver_id": best[0].driver_id, "reason": "best candidate"}
            self.given += (await self._ask("POST", f"/orders/{order.id}/assign", body)).is_success

    async def _now_ms(self) -> int:
        answer = await self._ask("GET", "/state")
        return int(answer.json()["at_ms"]) if answer.is_success else 0

    async def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One call; while a floor that was there cannot be reached or is overloaded, again, with full jitter."""
        backoff = Backoff()
        while True:
            advised_s: float | None = None
            try:
                answer = await self._client.request(method, f"/api/v1{path}", json=body)
                if answer.status_code in NOBODY:
                    raise ConfigurationError(
                        f"the API answers {answer.status_code} to {method} {path}: check the token"
                    )
                if answer.status_code < 500 and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    self._reached = True
                    return answer
                fault = f"it answers {answer.status_code}"
                advised_s = retry_after_s(answer.headers.get("Retry-After"))
            except httpx.TransportError as error:
                fault = str(error) or type(error).__name__
            # Down or restarting; commands carry versions and orders their ids, so asking again is safe.
            if not self._reached:
                raise ConfigurationError(f"the API at {self._client.base_url} cannot be used: {fault}")
            await asyncio.sleep(backoff.wait_s(advised_s or 0.0))
