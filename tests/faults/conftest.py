"""Floors to do harm to: a data directory with accounts, a real streamer in a process of its own, a fleet's gateway.

The `evidence` fixture and the line `faults: N passed of 32` come from tests/conftest.py.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from dashboard.app import create_app
from dashboard.settings import Settings
from streamer.edge.accounts import Accounts
from tests.faults.clients import Fleet
from tests.faults.invariants import Acked
from tests.faults.program import SECRET, Program

HOME = "http://127.0.0.1:8050"
DRIVERS = [f"d-{number}" for number in range(20)]
Start = Callable[..., Program]


def a_data_folder(folder: Path) -> Path:
    """A data directory in which twenty drivers are registered."""
    accounts = Accounts(folder)
    for driver in DRIVERS:
        accounts.register_driver(driver)
    accounts.close()
    return folder


def a_fleet(folder: Path, acked: Acked | None = None) -> Fleet:
    """A gateway for all drivers of a data directory, not connected yet."""
    accounts = Accounts(folder)
    token = accounts.mint_gateway_token("fleet", (), 0)
    accounts.close()
    return Fleet(token, DRIVERS, acked=acked)


@asynccontextmanager
async def a_dashboard(port: int, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """REST and probes of a real dashboard, whose link goes to the streamer at `port`."""
    app = create_app(Settings(link_url=f"ws://127.0.0.1:{port}/v1/link", link_secret=SECRET))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with app.link:
        assert await app.link.wait_up(5)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOME, headers=headers) as client:
            yield client


async def readyz(port: int) -> int:
    """What a dashboard of this streamer answers to `/readyz`."""
    async with a_dashboard(port) as client:
        return (await client.get("/readyz")).status_code


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory in which twenty drivers are registered."""
    return a_data_folder(tmp_path / "data")


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    """`start()` runs `python -m streamer` on `data` and returns once it listens (or at once, with `ready=False`); it
    does not outlive the test.
    """
    programs: list[Program] = []

    def begin(*options: str, folder: Path = data, ready: bool = True, **particulars: object) -> Program:
        program = Program(folder, *options, **particulars)  # type: ignore[arg-type]
        programs.append(program)
        return program.wait_ready() if ready else program

    yield begin
    for program in programs:
        program.__exit__(None, None, None)


@pytest.fixture
def fleet(data: Path) -> Fleet:
    """A gateway for all drivers of `data`, not connected yet."""
    return a_fleet(data)
