"""What is changed in the product while it is simulated: its log is heard, snapshots come often, one order is poison.

It must not know what the log means. Everything is put back afterwards.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import structlog

from streamer.core import engine, intake
from streamer.core.fences import FenceIndex
from streamer.core.settings import FenceRules
from streamer.edge import runner
from tests.builders import a_floor

SNAPSHOT_INPUTS = 60
"""Instead of the product's 100,000: a short day shall have snapshots too."""
POISON = "poison"
"""An order whose `external_id` begins so breaks its handler."""


@contextmanager
def watched(logged: structlog.typing.Processor) -> Iterator[None]:
    """Pass every error that the product logs to `logged`."""
    place = intake.place

    def place_or_break(assignments: Any, at_ms: int, item: Any, command_id: str) -> Any:
        if (item.external_id or "").startswith(POISON):
            raise RuntimeError(POISON)
        return place(assignments, at_ms, item, command_id)

    config = structlog.get_config()
    with ExitStack() as stack:
        stack.callback(structlog.configure, **config)
        structlog.configure(
            processors=[logged],
            wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
            cache_logger_on_first_use=False,
        )
        stack.enter_context(patch.object(engine, "FenceIndex", lambda _floor, rules: _fences(rules)))
        stack.enter_context(patch.object(runner, "SNAPSHOT_INPUTS", SNAPSHOT_INPUTS))
        stack.enter_context(patch.object(intake, "place", place_or_break))
        yield


@cache
def _fences(rules: FenceRules) -> FenceIndex:
    """Half of a seed's time went into covering the same mall with cells, anew for every engine."""
    return FenceIndex(a_floor(), rules)
