"""The floor's clock never goes back, and never stands still because the machine's did."""

from streamer.edge.clock import WallClock

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND


class Machine:
    """A machine whose two clocks are set by hand."""

    def __init__(self) -> None:
        self.wall_ns = 1_794_560_400 * SECOND
        self.monotonic_ns = 77 * SECOND
        self.clock = WallClock(lambda: self.wall_ns, lambda: self.monotonic_ns)

    def passes(self, nanoseconds: int) -> int:
        """Time passes; how far the floor's clock came, in milliseconds."""
        before_ms = self.clock.now_ms()
        self.wall_ns += nanoseconds
        self.monotonic_ns += nanoseconds
        return self.clock.now_ms() - before_ms


def test_it_runs_with_the_machine() -> None:
    machine = Machine()
    assert machine.clock.now_ms() == 1_794_560_400_000
    assert machine.passes(1_500_000_000) == 1_500


def test_set_back_it_runs_on_at_half_pace_until_the_machine_has_caught_up() -> None:
    machine = Machine()
    before_ms = machine.clock.now_ms()
    machine.wall_ns -= HOUR
    assert machine.clock.now_ms() == before_ms
    assert [machine.passes(10 * SECOND) for _ in range(3)] == [5_000, 5_000, 5_000]
    machine.passes(2 * HOUR)
    assert machine.clock.now_ms() == machine.wall_ns // 1_000_000
    assert machine.passes(SECOND) == 1_000


def test_asked_often_it_still_runs_at_half_pace() -> None:
    machine = Machine()
    before_ms = machine.clock.now_ms()
    machine.wall_ns -= HOUR
    for _ in range(10_000):
        machine.passes(100_000)
    assert machine.clock.now_ms() - before_ms == 500


def test_set_forward_it_follows_at_once() -> None:
    machine = Machine()
    before_ms = machine.clock.now_ms()
    machine.wall_ns += HOUR
    assert machine.clock.now_ms() - before_ms == 3_600_000
