"""The benchmark's rules once more, from their wording: reads an instance's text and a solution's, says what is broken.

It shares no code with the player. It walks every driver's moves and stops minute by minute and asks whether a person
could have done that with what was known. Instances must have whole minutes, and services of an even number of them.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Verdict(NamedTuple):
    """What is broken, and the figures that follow from the solution's text alone."""

    faults: list[str]
    delivered: int
    xdt_min: float
    trips: int


def check(instance: Mapping[str, str], solution: Mapping[str, str], near_min: int = 0) -> Verdict:
    """`near_min`: restaurants this far from a trip's first may share it."""
    return _Check(instance, solution, near_min).verdict()


def _table(text: str, delimiter: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


class _Check:
    def __init__(self, instance: Mapping[str, str], solution: Mapping[str, str], near_min: int) -> None:
        self.near_min = near_min
        self.orders = {row["order"]: row for row in _table(instance["orders.txt"], "\t")}
        self.couriers = {row["courier"]: row for row in _table(instance["couriers.txt"], "\t")}
        restaurants = {row["restaurant"]: row for row in _table(instance["restaurants.txt"], "\t")}
        self.places = {**self.orders, **self.couriers, **restaurants}
        (numbers,) = _table(instance["instance_parameters.txt"], "\t")
        self.speed = float(numbers["meters_per_minute"])
        self.half_pickup = int(numbers["pickup service minutes"]) // 2
        self.half_dropoff = int(numbers["dropoff service minutes"]) // 2
        self.maximum = int(numbers["maximum click-to-door"])
        self.told = {row["order"]: row for row in _table(solution["solution_info_orders.txt"], " ")}
        self.moves: dict[str, list[tuple[int, str, str]]] = {courier: [] for courier in self.couriers}
        for line in solution["solution_info_couriers.txt"].splitlines()[1:]:
            courier, depart, origin, destination = line.split(" ")
            self.moves[courier].append((int(depart), courier if origin == "0" else origin, destination))
        self.trips: dict[str, list[tuple[int, int, list[str]]]] = {courier: [] for courier in self.couriers}
        for line in solution["solution_info_assignments.txt"].splitlines()[1:]:
            fixed, pickup, courier, *orders = line.split(" ")
            self.trips[courier].append((int(pickup), int(fixed), orders))
        self.faults: list[str] = []

    def say(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    def travel(self, origin: str, destination: str) -> int:
        a, b = self.places[origin], self.places[destination]
        return math.ceil(
            math.sqrt((float(a["x"]) - float(b["x"])) ** 2 + (float(a["y"]) - float(b["y"])) ** 2) / self.speed
        )

    def earliest(self, order: str) -> int:
        row = self.orders[order]
        return int(row["ready_time"]) + self.half_pickup + self.travel(row["restaurant"], order) + self.half_dropoff

    def verdict(self) -> Verdict:
        self.same_orders()
        for courier in self.couriers:
            self.a_day(courier)
        possible = [
            o for o, row in self.orders.items() if self.earliest(o) - int(row["placement_time"]) <= self.maximum
        ]
        delivered = [order for order, row in self.told.items() if row["courier"] != "NA"]
        for order in set(delivered) - set(possible):
            self.faults.append(f"{order} could not be delivered within the maximum, and was")
        late = sum(int(self.told[order]["dropoff_time"]) - self.earliest(order) for order in delivered)
        xdt = (late + 120 * (len(possible) - len(delivered))) / len(possible)
        return Verdict(self.faults, len(delivered), xdt, sum(map(len, self.trips.values())))

    def same_orders(self) -> None:
        """The order file names every order once, as the instance has it, and agrees with the assignments."""
        self.say(self.told.keys() == self.orders.keys(), "the order file has other orders than the instance")
        for order, row in self.told.items():
            for column in ("placement_time", "restaurant", "ready_time"):
                self.say(row[column] == self.orders[order][column], f"{order}: {column} is not the instance's")
        given = [(order, courier) for courier, trips in self.trips.items() for _, _, all_ in trips for order in all_]
        self.say(len(given) == len({order for order, _ in given}), "an order is in two assignments")
        marked = {(order, row["courier"]) for order, row in self.told.items() if row["courier"] != "NA"}
        self.say(set(given) == marked, "assignments and orders disagree about who carries what")
        for order, row in self.told.items():
            nothing = [row[column] == "NA" for column in ("pickup_time", "dropoff_time", "courier")]
            self.say(all(nothing) or not any(nothing), f"{order} is half delivered")

    def a_day(self, courier: str) -> None:
        shift = self.couriers[courier]
        moves = iter(self.moves[courier])
        place, free = courier, int(shift["on_time"])
        for pickup, fixed, orders in sorted(self.trips[courier]):
            self.say(bool(orders), f"{courier} collects nothing at {pickup}")
            self.say(fixed <= pickup, f"{courier} is assigned at {fixed} what it collects at {pickup}")
            self.say(pickup <= int(shift["off_time"]), f"{courier} collects at {pickup}, after its shift")
            for order in orders:
                placed = int(self.orders[order]["placement_time"])
                self.say(fixed >= placed, f"{order} is assigned at {fixed}, before it is placed at {placed}")
            place, leave = self.collect(courier, moves, place, free, orders, pickup)
            place, free = self.deliver(moves, place, leave, orders)
        self.say(next(moves, None) is None, f"{courier} moves on after its last drop-off")

    def collect(
        self, courier: str, moves: Iterator[tuple[int, str, str]], place: str, free: int, orders: list[str], last: int
    ) -> tuple[str, int]:
        """Through the restaurants of a trip; where and when the driver leaves the last of them."""
        stores = list(dict.fromkeys(self.orders[order]["restaurant"] for order in orders))
        at = leave = free
        for number, store in enumerate(stores):
            self.say(self.travel(stores[0], store) <= self.near_min or not number, f"{courier} collects at {stores}")
            arrive, depart = self.move(moves, place, store)
            here = [order for order in orders if self.orders[order]["restaurant"] == store]
            if number:
                self.say(depart == leave, f"{courier} leaves {place} at {depart}, not {leave}")
            else:
                self.say(depart >= free, f"{courier} leaves {place} at {depart}, before it is free at {free}")
                first = min(int(o["placement_time"]) for o in self.orders.values() if o["restaurant"] == store)
                self.say(depart >= first, f"{courier} goes to {store} at {depart}, before anybody orders there")
            times = {int(self.told[order]["pickup_time"]) for order in here}
            self.say(len(times) == 1, f"{courier} collects at {store} at {sorted(times)}")
            at = max(times)
            self.say(at >= arrive + self.half_pickup, f"{courier} arrives at {store} at {arrive}, collects at {at}")
            for order in here:
                self.say(
                    at >= int(self.orders[order]["ready_time"]), f"{order} is collected at {at}, before it is ready"
                )
            place, leave = store, at + self.half_pickup
        self.say(at == last, f"{courier}: the assignment says {last}, its orders {at}")
        return place, leave

    def deliver(
        self, moves: Iterator[tuple[int, str, str]], place: str, leave: int, orders: list[str]
    ) -> tuple[str, int]:
        for order in orders:
            arrive, depart = self.move(moves, place, order)
            self.say(depart == leave, f"off to {order} at {depart}, not {leave}")
            drop = int(self.told[order]["dropoff_time"])
            self.say(drop == arrive + self.half_dropoff, f"{order} is dropped at {drop}, its driver there at {arrive}")
            place, leave = order, drop + self.half_dropoff
        return place, leave

    def move(self, moves: Iterator[tuple[int, str, str]], origin: str, destination: str) -> tuple[int, int]:
        """Arrival and departure of the next move, which must be this one."""
        depart, really_from, really_to = next(moves, (0, "nowhere", "nowhere"))
        known = (really_from, really_to) == (origin, destination)
        self.say(known, f"a move from {really_from} to {really_to}, not from {origin} to {destination}")
        return depart + self.travel(origin, destination), depart
