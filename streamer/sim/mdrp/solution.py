"""The text of the three files that the instances' own checker reads.

It must not know where they are written, nor whether they are right.
Source: `compute_performance_summary.py` of https://github.com/grubhub/mdrplib.
"""

from streamer.sim.mdrp.day import Played
from streamer.sim.mdrp.instance import MINUTE_MS, Ground, Instance

START = "0"
"""What the moves call the place where a driver begins."""
NONE = "NA"


def solution_files(instance: Instance, played: Played) -> dict[str, str]:
    """File names and texts. Times are minutes after midnight; the checker cuts off their fractions."""
    return {
        "solution_info_assignments.txt": _lines(_assignments(instance, played)),
        "solution_info_orders.txt": _lines(_orders(instance, played)),
        "solution_info_couriers.txt": _lines(_moves(instance, played)),
    }


def _assignments(instance: Instance, played: Played) -> list[list[str]]:
    """A line a trip; when its orders were last changed counts as its assignment, its last pick-up as its pick-up."""
    rows = [["assignment_time", "pickup_time", "courier", "orders"]]
    for trip in sorted(played.trips, key=lambda trip: (trip.pickup_ms, trip.driver)):
        orders = [instance.orders[number].id for number in trip.orders]
        rows.append([_minutes(trip.fixed_ms), _minutes(trip.pickup_ms), instance.drivers[trip.driver].id, *orders])
    return rows


def _orders(instance: Instance, played: Played) -> list[list[str]]:
    rows = [["order", "placement_time", "restaurant", "ready_time", "pickup_time", "dropoff_time", "courier"]]
    for number, order in enumerate(instance.orders):
        row = [order.id, _minutes(order.placed_ms), instance.restaurants[order.restaurant].id, _minutes(order.ready_ms)]
        if number in played.dropoff_ms:
            times = (played.pickup_ms[number], played.dropoff_ms[number])
            rows.append([*row, *map(_minutes, times), instance.drivers[played.driver[number]].id])
        else:
            rows.append([*row, NONE, NONE, NONE])
    return rows


def _moves(instance: Instance, played: Played) -> list[list[str]]:
    rows = [["courier", "departure_time", "origin", "destination"]]
    ids = Ground(instance).ids
    for number, (driver, moves) in enumerate(zip(instance.drivers, played.moves, strict=True)):
        for move in moves:
            origin = START if move.origin == number else ids[move.origin]
            rows.append([driver.id, _minutes(move.depart_ms), origin, ids[move.destination]])
    return rows


def _lines(rows: list[list[str]]) -> str:
    return "".join(" ".join(row) + "\n" for row in rows)


def _minutes(ms: int) -> str:
    return str(ms // MINUTE_MS) if ms % MINUTE_MS == 0 else str(ms / MINUTE_MS)
