"""Room for sockets follows the limit on open files, and the collector leaves the state alone."""

import gc
import subprocess
import sys

import pytest

from streamer.edge.resources import COLLECT_AFTER

ASK = """
import resource
from streamer.edge.resources import socket_room
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(socket_room(6000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "room", "raised"),
    [(128, 128, 64, 128), (100, 1000, 936, 1000), (70, 70, 6, 70), (64, 64, 1, 64), (100, 8000, 6000, 8000)],
)
def test_room_is_what_the_system_allows_less_a_reserve(soft: int, hard: int, room: int, raised: int) -> None:
    # In a process of its own, since a limit once lowered stays low.
    asked = subprocess.run(
        [sys.executable, "-c", ASK.format(soft=soft, hard=hard)], capture_output=True, text=True, check=True
    )
    assert asked.stdout.split() == [str(room), str(raised)]


def test_a_quiet_collector_never_looks_at_what_there_was() -> None:
    ask = (
        "import gc; from streamer.edge.resources import quieten_collector; state = [[] for _ in range(1000)];"
        "quieten_collector(); print(gc.get_freeze_count() > 1000, gc.get_threshold())"
    )
    asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == f"True {COLLECT_AFTER}"
    assert gc.get_threshold() != COLLECT_AFTER
