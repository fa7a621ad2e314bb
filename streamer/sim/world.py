"""A seeded world: malls, shoppers, stores and drivers that turn seconds into the engine's inputs.

It must not know the engine's state. It hears what a phone would hear (`learn`) and says what phones and shops say.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from streamer.core.events import DriverRegistered, Input, OrderPlaced, Output, Ping, Report, RouteChanged, Tick
from streamer.core.malls import Floor
from streamer.core.settings import Settings
from streamer.sim import names
from streamer.sim.drivers import SimDriver
from streamer.sim.habits import habits
from streamer.sim.incidents import Act, Incidents
from streamer.sim.parameters import USUAL, Parameters
from streamer.sim.phone import Phone
from streamer.sim.town import Span, Town, stream

HOUR_MS = 3_600_000
STEP_MS = 1_000


class Story(Struct, frozen=True):
    """What makes a world worth telling: a sentence, the warm-up before play begins, scripted trouble, people's acts."""

    sentence: str = "an ordinary day"
    warmup_ms: int = 0
    incidents: Incidents = Incidents()
    acts: tuple[Act, ...] = ()


class World:
    """Everything outside the floor.

    Args:
        floor: the malls there are.
        mall_ids: those that are simulated, in order; drivers and orders are shared out evenly.
        seed: the only source of chance. The same arguments give the same inputs, whatever is learnt being the same.
        start_ms: first instant, UTC epoch ms. Play begins `story.warmup_ms` later.
        hours: length from `start_ms`, warm-up included.
        drivers, orders: how many, over all malls.
        first_number: added to every ping's `seq`, report id and order number, so that a world run again against the
            same live floor is not taken for a repeat.
        parameters: what the world is made of.
    """

    def __init__(
        self, floor: Floor, mall_ids: Sequence[str], seed: int, start_ms: int, hours: float, drivers: int, orders: int,
        story: Story | None = None, settings: Settings | None = None, first_number: int = 0,
        parameters: Parameters = USUAL,
    ) -> None:  # fmt: skip
        self.story, self.parameters = story or Story(), parameters
        self.start_ms, self.end_ms = start_ms, start_ms + round(hours * HOUR_MS)
        self.play_ms = start_ms + self.story.warmup_ms
        self._tick_ms = (settings or Settings()).tick_ms
        span = Span(start_ms, self.play_ms, self.end_ms)
        self.towns = [
            Town(
                floor.malls[mall_id], seed, number, span, _share(orders, len(mall_ids), number),
                self.story.incidents, 1001 + first_number, parameters,
            )
            for number, mall_id in enumerate(mall_ids)
        ]  # fmt: skip
        self.drivers = [
            self._driver(number, self.towns[number % len(mall_ids)], seed, drivers, first_number)
            for number in range(drivers)
        ]
        self._by_id = {driver.id: driver for driver in self.drivers}
        wishes = [wish for town in self.towns for wish in town.wishes]
        self._unplaced = sorted(wishes, key=lambda w: (w.placed.placed_ms, w.placed.mall_id, w.name), reverse=True)
        # What is carried into the world is said to be ready as soon as the floor knows of it.
        ready = [(max(wish.ready_ms, start_ms + STEP_MS), wish.placed.mall_id, wish.name, wish) for wish in wishes]
        self._unready = [(at_ms, wish.placed) for at_ms, _, _, wish in sorted(ready, key=lambda r: r[:3], reverse=True)]
        self._registered = False

    def step(self, at_ms: int) -> list[Input]:
        """Live one second; call with `start_ms`, `start_ms + 1000` and so on.

        Returns what reaches the floor in it, in order: registrations (first step only), orders, and for each driver
        reports and then pings; last a `Tick` when one is due.
        """
        inputs: list[Input] = []
        if not self._registered:
            self._registered = True
            inputs += [driver.registered for driver in self.drivers]
        inputs += self._orders(at_ms)
        for driver in self.drivers:
            inputs += driver.step(at_ms)
        if (at_ms - self.start_ms) % self._tick_ms == 0:
            inputs.append(Tick())
        return inputs

    def learn(self, outputs: Iterable[Output]) -> None:
        """Tell drivers the routes that were pushed to them; all else is not theirs to know."""
        for output in outputs:
            if isinstance(output, RouteChanged) and output.driver_id in self._by_id:
                self._by_id[output.driver_id].learn(output)

    def newly_ready(self, at_ms: int) -> list[OrderPlaced]:
        """Orders whose stores have packed them since the last call, in the order they did."""
        ready: list[OrderPlaced] = []
        while self._unready and self._unready[-1][0] <= at_ms:
            ready.append(self._unready.pop()[1])
        return ready

    def _orders(self, at_ms: int) -> list[OrderPlaced]:
        placed: list[OrderPlaced] = []
        while self._unplaced and self._unplaced[-1].placed.placed_ms <= at_ms:
            placed.append(self._unplaced.pop().placed)
        return placed

    def _driver(self, number: int, town: Town, seed: int, drivers: int, first_number: int) -> SimDriver:
        rng, capacities = stream(seed, 1_000, number), self.parameters.drivers.capacities
        troubles = self.story.incidents.of_driver(number)
        ways = habits(rng, self.start_ms, self.end_ms, bool(troubles), self.parameters)
        registered = DriverRegistered(
            driver_id=f"d-{number + 1:0{max(2, len(str(drivers)))}d}", name=names.driver_name(number),
            capacity=capacities[int(rng.integers(len(capacities)))], mall_ids=(town.mall.id,), shift_end_ms=ways.off_ms,
        )  # fmt: skip
        rng_of_phone, rules = stream(seed, 2_000, number), self.parameters.phones
        phone = Phone(registered.driver_id, town.plane, rng_of_phone, troubles, first_number, rules)
        return SimDriver(registered, town, ways, phone, rng, troubles, first_number)


def _share(total: int, parts: int, number: int) -> int:
    """The size of one of `parts` shares of `total`, the first ones taking what is left over."""
    return total // parts + (number < total % parts)


def said_by_drivers(inputs: Iterable[Input]) -> list[Report | Ping]:
    """The inputs of a step that come from drivers' phones."""
    return [entered for entered in inputs if isinstance(entered, Report | Ping)]
