"""Floors to do harm to: a data directory with accounts, a real streamer in a process of its own, a fleet's gateway.

The `evidence` fixture and the line `faults: N passed of 32` come from tests/conftest.py.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.edge.accounts import Accounts
from tests.faults.clients import Fleet
from tests.faults.program import Program

DRIVERS = [f"d-{number}" for number in range(20)]
Start = Callable[..., Program]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory in which twenty drivers are registered."""
    data = tmp_path / "data"
    accounts = Accounts(data)
    for driver in DRIVERS:
        accounts.register_driver(driver)
    accounts.close()
    return data


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    """`start()` runs `python -m streamer` on `data` and returns once it listens; it does not outlive the test."""
    programs: list[Program] = []

    def begin(*options: str, folder: Path = data, **particulars: object) -> Program:
        program = Program(folder, *options, **particulars)  # type: ignore[arg-type]
        programs.append(program)
        return program.wait_ready()

    yield begin
    for program in programs:
        program.__exit__(None, None, None)


@pytest.fixture
def fleet(data: Path) -> Fleet:
    """A gateway for all drivers of `data`, not connected yet."""
    accounts = Accounts(data)
    token = accounts.mint_gateway_token("fleet", (), 0)
    accounts.close()
    return Fleet(token, DRIVERS)
