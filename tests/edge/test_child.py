"""The dashboard as a child: it ends by itself, and quietly, when the program that holds its leash is gone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from streamer.edge.child import LEASH_S, check_free
from tests.edge.test_cli import free_port

START_S = 30.0


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def child(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A dashboard that answers, without a streamer behind it."""
    environment = {
        "MALLARD_LINK": "ws://127.0.0.1:1/v1/link", "MALLARD_LINK_SECRET": "nobody-is-there", "MALLARD_LEASH": "1",
        "MALLARD_HOST": "127.0.0.1", "MALLARD_PORT": str(port),
    }  # fmt: skip
    child = subprocess.Popen(
        [sys.executable, "-m", "dashboard"], env={**os.environ, **environment}, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200:
                break
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    yield child
    child.kill()
    child.communicate()


def test_a_dashboard_whose_leash_breaks_lets_go_of_its_port_and_ends_in_order(
    child: subprocess.Popen[bytes], port: int
) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
        browser.get("/healthz")
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
        began_s = time.monotonic()
        check_free("127.0.0.1", port)
        assert time.monotonic() - began_s < LEASH_S
        said, _ = child.communicate(timeout=10)
    assert b"Traceback" not in said, said.decode()
    assert child.returncode == 0
