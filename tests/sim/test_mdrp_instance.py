"""Reading an instance: what is in it, and one clear line for what cannot be."""

import numpy as np
import pytest

from streamer.core.errors import ConfigurationError
from streamer.sim.mdrp.instance import MINUTE_MS, Driver, Ground, Order, Restaurant, parse
from tests.sim import mdrp_maker
from tests.sim.mdrp_kit import TOY, toy


def test_an_instance_is_what_its_files_say() -> None:
    found = toy()
    assert found.restaurants == (Restaurant("r1", 0.0, 0.0), Restaurant("r2", 200.0, 0.0))
    assert found.drivers[0] == Driver("c1", 300.0, 0.0, 10 * MINUTE_MS, 60 * MINUTE_MS)
    assert found.orders[2] == Order("o3", 400.0, 0.0, 13 * MINUTE_MS, 1, 15 * MINUTE_MS)
    assert (found.metres_per_minute, found.pickup_ms, found.dropoff_ms) == (100.0, 4 * MINUTE_MS, 4 * MINUTE_MS)
    assert (found.target_ms, found.maximum_ms) == (40 * MINUTE_MS, 90 * MINUTE_MS)
    assert (found.pay_per_order, found.pay_per_hour) == (10.0, 15.0)


def test_columns_are_found_by_name_and_blank_lines_are_nothing() -> None:
    swapped = toy(restaurants="y\trestaurant\tcuisine\tx\n0\tr1\tpie\t0\n\n0\tr2\tpho\t200\n\n")
    assert swapped.restaurants == toy().restaurants


def test_travel_is_rounded_up_to_a_minute_and_never_from_nowhere() -> None:
    ground = Ground(toy(restaurants="restaurant\tx\ty\nr1\t0\t0\nr2\t201\t0\n"))
    r1, r2 = ground.restaurant(0), ground.restaurant(1)
    assert ground.travel_ms(r1, r2) == 3 * MINUTE_MS
    assert ground.travel_ms(r1, r1) == 0
    assert ground.metres(r1, r2) == 201.0
    places = [r1, ground.order(1), r2]
    assert (ground.legs(places) == np.array([[ground.travel_ms(a, b) for b in places] for a in places])).all()


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("orders", "o2\t700\t0\t12\tr1", "o2\t700\t0\t12\tr9", "orders.txt line 3: there is no restaurant 'r9'"),
        ("orders", "o2\t700", "o1\t700", "orders.txt line 3: 'o1' is already the id of an order"),
        ("orders", "o2\t700", "r1\t700", "orders.txt line 3: 'r1' is already the id of a restaurant"),
        ("orders", "o2\t700", "o 2\t700", "orders.txt line 3: order 'o 2' is no id"),
        ("orders", "o2\t700", "0\t700", "orders.txt line 3: order '0' is no id"),
        ("orders", "o2\t700\t0", "o2\t700", "orders.txt line 3: 5 fields under 6 columns"),
        ("orders", "12\tr1\t22", "12\tr1\tsoon", "orders.txt line 3: ready_time 'soon' is no number"),
        ("orders", "12\tr1\t22", "12\tr1\tnan", "orders.txt line 3: ready_time 'nan' is no number"),
        ("orders", "12\tr1\t22", "12\tr1\t11", "orders.txt line 3: ready_time 11 is before placement_time 12"),
        ("orders", "ready_time", "ready", "orders.txt line 1: there is no column 'ready_time'"),
        ("couriers", "10\t60", "60\t10", "couriers.txt line 2: off_time 10 is before on_time 60"),
        ("couriers", "\nc1\t300\t0\t10\t60\nc2\t5000\t0\t0\t120", "", "couriers.txt: nothing below its header"),
        ("instance_parameters", "\n100\t", "\n0\t", "instance_parameters.txt line 2: meters_per_minute is 0"),
        ("instance_parameters", "\n100\t4", "\n100\t-4", "line 2: pickup service minutes is below 0"),
    ],
)
def test_a_fault_is_named_with_its_file_and_line(file: str, old: str, new: str, fault: str) -> None:
    text = TOY[f"{file}.txt"]
    assert text.count(old) == 1
    with pytest.raises(ConfigurationError) as raised:
        toy(**{file: text.replace(old, new)})
    assert str(raised.value).startswith("toy/")
    assert str(raised.value).endswith(fault)


@pytest.mark.parametrize("lines", ["", "100\t4\t4\t40\t90\t10\t15\n" * 2])
def test_parameters_are_one_line(lines: str) -> None:
    header = TOY["instance_parameters.txt"].splitlines(keepends=True)[0]
    with pytest.raises(ConfigurationError, match=r"instance_parameters\.txt: [02] lines of parameters, not 1"):
        toy(instance_parameters=header + lines)


def test_an_empty_file_and_a_missing_one_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^toy/orders\.txt line 1: there is no column 'order'$"):
        toy(orders="")
    with pytest.raises(ConfigurationError, match=r"^toy: there is no couriers\.txt$"):
        parse("toy", {file: text for file, text in TOY.items() if file != "couriers.txt"})


@pytest.mark.parametrize("name", mdrp_maker.RECIPES)
def test_the_committed_instances_are_the_ones_their_seeds_make(name: str) -> None:
    assert mdrp_maker.make(mdrp_maker.RECIPES[name]) == mdrp_maker.read(name)
    found = parse(name, mdrp_maker.read(name))
    assert len(found.orders) == mdrp_maker.RECIPES[name].orders
