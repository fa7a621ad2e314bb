"""A car on a path: it keeps to speeds it can have and arrives where the path ends."""

from math import hypot

from streamer.core.settings import TravelRules
from streamer.core.travel import Travel
from streamer.sim.car import Car
from streamer.sim.parameters import USUAL
from streamer.sim.town import Town, stream


def test_it_arrives_at_the_end_without_leaps_and_without_racing(town: Town) -> None:
    goal = (5_200.0, -3_100.0)
    car = Car(town.roads.path((260.0, -300.0), goal), 0.9, stream(1, 1))
    before, speed = (car.x, car.y), 0.0
    for _ in range(3_000):
        car.step()
        assert hypot(car.x - before[0], car.y - before[1]) <= USUAL.roads.freeway_mps * 1.5
        assert car.speed_mps <= speed + USUAL.cars.speed_up_mps2 + 1e-9 or car.speed_mps <= 1.5
        before, speed = (car.x, car.y), car.speed_mps
        if car.arrived:
            break
    assert car.arrived
    assert hypot(car.x - goal[0], car.y - goal[1]) < 1.0
    assert car.speed_mps == 0.0


def test_trips_take_about_as_long_as_the_floor_expects(town: Town) -> None:
    """The engine knows no roads; its travel model must be right on average, or every ETA in a fixture is wrong."""
    rng, travel = stream(2, 1), Travel(TravelRules())
    driven = expected = 0.0
    for _ in range(120):
        x, y = (float(v) for v in rng.uniform(-6_000, 6_000, 2))
        car = Car(town.roads.path(town.door((0.0, 0.0)), (x, y)), float(rng.uniform(0.7, 0.92)), rng)
        while not car.arrived:
            car.step()
            driven += 1
        expected += travel.drive_ms(town.mall.lat, town.mall.lng, *town.plane.to_degrees(x, y)) / 1000
    assert 0.75 < driven / expected < 1.25


def test_a_car_without_a_way_to_go_has_arrived() -> None:
    car = Car([], 1.0, stream(3, 1))
    car.step()
    assert car.arrived
