"""A load is the best sequence of its orders, and what the search knows of it in a few numbers is what happens."""

from itertools import permutations

from hypothesis import given, settings

from streamer.dispatch.loads import Load, Loads
from streamer.dispatch.problem import NOWHERE, Problem
from tests.dispatch.problems import MINUTE, a_driver, an_order, any_problems, on_a_line


def loads_of(problem: Problem) -> Loads:
    return Loads(problem.orders, problem.legs.tolist(), problem.service, problem.settings)


def best(problem: Problem, *orders: int, first: int = NOWHERE) -> Load:
    found = loads_of(problem).best(orders, first)
    assert found is not None
    return found


def driven(problem: Problem, sequence: tuple[int, ...], at_ms: int) -> tuple[int, list[int]]:
    """Minute by minute from the first store on: when the last store is left, and each drop-off."""
    legs, service = problem.legs, problem.service
    orders = [problem.orders[o] for o in sequence]
    stores = list(dict.fromkeys(store for order in orders for store in order.pickups))
    place = stores[0]
    for store in stores:
        at_ms += int(legs[place, store]) * (store != stores[0]) + service.pickup_ms // 2
        at_ms = max(at_ms, *(order.ready_ms for order in orders if store in order.pickups)) + service.pickup_ms // 2
        place = store
    leave_ms, found = at_ms, []
    for order in orders:
        at_ms += int(legs[place, order.dropoff]) + service.dropoff_ms // 2
        found.append(at_ms)
        at_ms += service.dropoff_ms // 2
        place = order.dropoff
    return leave_ms, found


@settings(max_examples=100)
@given(any_problems())
def test_what_a_load_says_is_what_happens_whenever_the_driver_comes(problem: Problem) -> None:
    for size in (1, 2, 3):
        load = loads_of(problem).best(tuple(range(min(size, len(problem.orders)))))
        if load is None:
            continue
        for at_ms in (problem.at_ms, load.ready_ms - load.gather_ms, load.ready_ms + 7 * MINUTE):
            leave_ms = max(at_ms + load.gather_ms, load.ready_ms)
            expected = driven(problem, load.orders, at_ms)
            assert (leave_ms, [leave_ms + offset_ms for offset_ms in load.offsets_ms]) == expected
            late_ms = sum(
                problem.orders[o].weight * max(0, dropoff_ms - problem.orders[o].due_ms)
                for o, dropoff_ms in zip(load.orders, expected[1], strict=True)
            )
            assert load.late_ms(leave_ms, problem.orders) == late_ms
            assert (late_ms > 0) == (leave_ms > load.relaxed_ms)


def test_doors_on_the_way_come_first() -> None:
    problem = on_a_line([0, 9, 3, 6], [an_order(f"o{n}", 0, n) for n in (1, 2, 3)], [])
    assert best(problem, 0, 1, 2).orders == (1, 2, 0)


def test_five_orders_are_in_as_good_a_sequence_as_any() -> None:
    """Up to three are compared in full, more by insertion: on a street that is as good."""
    problem = on_a_line([0, 9, 3, 6, 1, 12], [an_order(f"o{n}", 0, n) for n in range(1, 6)], [])
    found = best(problem, 0, 1, 2, 3, 4)
    waits = {sequence: sum(driven(problem, sequence, 20 * MINUTE)[1]) for sequence in permutations(range(5))}
    assert waits[found.orders] == min(waits.values())


def test_the_stores_of_a_mall_are_walked_once_each_and_the_last_to_be_ready_is_waited_for() -> None:
    """1 min between the stores; ready at 20 and 30: off the second at 32, whichever is first."""
    problem = on_a_line([0, 1, 10, 11], [an_order("a", 0, 2), an_order("b", (0, 1), 3, 30)], [], multi_pickup_ms=MINUTE)
    load = best(problem, 0, 1)
    assert (load.gather_ms, load.first) == ((4 + 1 + 4) * MINUTE, 0)
    assert load.ready_ms == (30 + 2 + 1 + 4) * MINUTE  # It is not said which of its stores is late: each may be.


def test_a_load_starts_where_its_driver_is_under_way_to_or_not_at_all() -> None:
    problem = on_a_line([0, 1, 10, 11], [an_order("a", 0, 2), an_order("b", 1, 3)], [], multi_pickup_ms=MINUTE)
    assert best(problem, 0, 1, first=0).orders == (0, 1)
    assert best(problem, 0, 1, first=1).orders == (1, 0)
    assert loads_of(problem).best((0, 1), 2) is None


def test_nearness_is_from_the_first_store() -> None:
    """0 – 2 – 4: the outer two are not near each other, but both are near the middle one."""
    orders = [an_order(f"o{n}", n, 3) for n in range(3)]
    problem = on_a_line([0, 2, 4, 10], orders, [a_driver("d", 0)], multi_pickup_ms=2 * MINUTE)
    assert best(problem, 0, 1, 2).first == 1
    assert loads_of(problem).best((0, 2)) is None
