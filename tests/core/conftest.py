"""The bench every core test works at."""

import pytest

from tests.builders import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()
