"""What planning is worth on our own floor: a story's world under the plan, and with each order to the nearest driver.

It must not know how either decides. Shoppers, stores and drivers are the same; only who gives the orders out is not.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

from streamer.core.changes import PolicyName
from streamer.core.engine import Engine
from streamer.core.kpis import kpis
from streamer.core.state import State
from streamer.edge.simulation.to_file import run
from streamer.edge.simulation.worlds import demo_floor, named_script, only_malls, world_of
from tests.bench.groups.group import Case, Cases, Group
from tests.bench.table import Figures, Medians, Row, Target
from tests.bench.workshop import Workshop

STORIES, QUICK_STORIES = ("saturday-rush", "two-malls", "bad-day"), ("bad-day",)
POLICIES: tuple[PolicyName, ...] = ("plan", "nearest")
PEER = "nearest idle driver"


@contextmanager
def floor_cases(shop: Workshop) -> Iterator[Cases]:
    cases: Cases = {}
    for story in QUICK_STORIES if shop.quick else STORIES:
        for policy in POLICIES:
            cases[f"{story} {policy}"] = living(story, policy)
    yield cases


def living(story: str, policy: PolicyName) -> Case:
    """Lives the story once, however many rounds there are: the same day comes of the same seed."""

    @cache
    def case() -> Figures:
        script = named_script(story)
        floor = only_malls(demo_floor(), script.mall_ids)
        world, engine, begun_s = world_of(script, floor), Engine(floor), time.thread_time()
        for _ in run(world, engine, policy):
            pass
        return {**figures(engine.state, world.end_ms), "s": time.thread_time() - begun_s}

    return partial(case)


def figures(state: State, end_ms: int) -> Figures:
    """`kept` counts every promise that fell due, also of what nobody has delivered; cancelled orders have none."""
    found = kpis(state, None)
    due = [order for order in state.orders.values() if order.due_ms <= end_ms and order.status != "cancelled"]
    kept = sum(order.status == "delivered" and (order.ended_ms or 0) <= order.due_ms for order in due)
    return {
        "per_trip": found.orders_per_trip or 0.0, "wait_min": (found.wait_at_store_ms or 0) / 60_000,
        "on_time": 100 * (found.on_time or 0.0), "kept": 100 * kept / max(1, len(due)), "due": float(len(due)),
        "delivered": float(found.delivered), "orders": float(len(state.orders)),
    }  # fmt: skip


def floor_rows(medians: Medians) -> list[Row]:
    return [row for story in STORIES if f"{story} plan" in medians.runs for row in _story_rows(medians, story)]


def _story_rows(medians: Medians, story: str) -> list[Row]:
    ours, theirs = f"{story} plan", f"{story} nearest"

    def more(work: str, figure: str, unit: str, target: Target | None = None) -> Row:
        mine, other = medians.of(ours, figure), medians.of(theirs, figure)
        return Row(work, mine, unit, PEER, other, mine / other, target)

    first, kept = story == STORIES[0], Target(1.0, 1.05, more=True)
    return [
        more(f"{story}: orders a trip", "per_trip", "orders", Target(1.25, 2.0, more=True) if first else None),
        more(
            f"… promises kept, of the {medians.of(ours, 'due'):.0f} that fell due", "kept", "%", kept if first else None
        ),
        # Without a target: it flatters whoever does not deliver what is late already.
        more("… delivered in time", "on_time", "% of delivered"),
        medians.share(
            "… wait at the store", "wait_min", "min", ours, theirs, PEER, Target(1.0, 0.75) if first else None
        ),
        more("… delivered by the end", "delivered", "orders"),
        medians.alone("… to live it through, on one core", "s", "s CPU", ours, Target(300, 120, of="ours", unit="s")),
    ]


FLOOR_POLICY = Group("floor", "our floor under two policies", floor_cases, floor_rows)
