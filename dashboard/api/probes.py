"""What machines ask about this process: alive, ready, which version, how much.

It must not know orders or drivers. These paths are open to everybody, so they name nobody and nothing.
"""

from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from dashboard.feed import Feed
from dashboard.link import Link
from dashboard.relay import Relay

STREAMER_WORDS = {
    "ping_state_seconds": "From the first frame of a turn of the loop to its pings in the state.",
    "ping_age_seconds": "From a fix, by the phone's clock, to the state.",
    "ack_wait_seconds": "How long the first answer of each commit waited for it.",
    "loop_lag_seconds": "How late the streamer's loop was.",
    "journal_commit_seconds": "How long commits of the journal took.",
    "journal_wal_bytes": "What is not yet moved from the write-ahead log into the journal.",
    "journal_last_commit_inputs": "Inputs in the last commit.",
    "slowest_reader_bytes": "Unread by the driver, gateway or dashboard that is furthest behind.",
    "handshakes_turned_away_total": "Handshakes asked to come back later.",
    "reading_paused_total": "Times a sender was not read, to slow it down.",
    "autopilot_looks_total": "Looks of the autopilot that came to a plan.",
    "autopilot_looks_skipped_total": "Looks that were due while another was under way.",
    "autopilot_refused_total": "Commands of the autopilot that the engine refused.",
    "autopilot_advice_total": "Pieces of advice that were news.",
    "autopilot_orders": "Orders in the last problem.",
    "autopilot_drivers": "Drivers in the last problem.",
    "autopilot_build_seconds": "How long the loop made a problem of the floor.",
    "autopilot_decide_seconds": "How long the loop decided what follows from a plan.",
    "autopilot_search_seconds": "How long the planning process searched.",
    "routing_requests_total": "Requests to the routing server.",
    "routing_failures_total": "Requests the routing server did not answer, by what was wrong.",
    "routing_cells_total": "Driving times in plans, by where they came from.",
    "routing_rests_total": "Times the routing server was left alone for a while.",
    "routing_on_model": "1 while plans rest on the model because the routing server does not answer.",
}

Metric = tuple[str, str, str, list[tuple[str, float]]]


def product_version() -> str:
    """The installed version; `0` when run from a checkout that was never installed."""
    try:
        return version("mallard-dispatch")
    except PackageNotFoundError:
        return "0"


def probes(link: Link, feed: Feed, relay: Relay, answered: Counter[int]) -> APIRouter:
    """`/healthz`, `/readyz`, `/version`, `/metrics`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> Response:
        return _json({"status": "ok"})

    @router.get("/readyz")
    async def readyz() -> Response:
        reply = await link.call("ready")
        if not reply.ok:
            return _json({"status": "not ready", "reason": "the streamer cannot be reached"}, 503)
        if not reply.body.get("journal_writable"):
            return _json({"status": "not ready", "reason": "the journal cannot be written"}, 503)
        routing = reply.body.get("routing")
        return _json({"status": "ready"} if routing is None else {"status": "ready", "routing": routing})

    @router.get("/version")
    async def show_version() -> Response:
        return _json({"name": "mallard", "version": product_version()})

    @router.get("/metrics")
    async def metrics() -> Response:
        reply = await link.call("counters")
        text = exposition(measure(link, feed, relay, answered) + streamer_metrics(reply.body if reply.ok else {}))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def measure(link: Link, feed: Feed, relay: Relay, answered: Counter[int]) -> list[Metric]:
    """Each metric as name, kind, help, and its samples by label."""
    age_s = feed.age_s()
    by_status = [(f'{{status="{status}"}}', float(number)) for status, number in sorted(answered.items())]
    return [
        ("mallard_link_up", "gauge", "1 while the streamer is connected.", [("", float(link.up))]),
        (
            "mallard_feed_age_seconds",
            "gauge",
            "Since the last frame.",
            [] if age_s is None else [("", round(age_s, 3))],
        ),
        ("mallard_feed_readers", "gauge", "Readers of the live feed.", [("", float(relay.readers))]),
        ("mallard_feed_skips_total", "counter", "Times a slow reader was skipped.", [("", float(relay.skips))]),
        ("mallard_feed_closed_slow_total", "counter", "Readers closed as too slow.", [("", float(relay.closed_slow))]),
        ("mallard_http_answers_total", "counter", "HTTP answers by status.", by_status),
    ]


def streamer_metrics(counters: Mapping[str, object]) -> list[Metric]:
    """The streamer's counters as metrics of their own: `name`, or `name.label.value`, to a number, or a histogram."""
    metrics: dict[str, Metric] = {}
    for key, told in counters.items():
        name, _, labelled = key.partition(".")
        words = STREAMER_WORDS.get(name, f"The streamer's {name.removesuffix('_total').replace('_', ' ')}.")
        if isinstance(told, Mapping):
            metrics[name] = (f"mallard_streamer_{name}", "histogram", words, histogram_samples(told))
            continue
        label, _, value = labelled.partition(".")
        kind = "counter" if name.endswith("_total") else "gauge"
        metric = metrics.setdefault(name, (f"mallard_streamer_{name}", kind, words, []))
        metric[3].append((f'{{{label}="{value}"}}' if label else "", float(str(told))))
    return list(metrics.values())


def histogram_samples(told: Mapping[str, Any]) -> list[tuple[str, float]]:
    """A histogram as Prometheus counts: how many values were at or below each bound."""
    upto = list(accumulate(told["counts"]))
    samples = [
        (f'_bucket{{le="{bound}"}}', float(count)) for bound, count in zip([*told["bounds"], "+Inf"], upto, strict=True)
    ]
    return [*samples, ("_sum", float(told["sum"])), ("_count", float(upto[-1]))]


def exposition(metrics: list[Metric]) -> str:
    """Metrics as Prometheus text.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    lines = []
    for name, kind, words, samples in metrics:
        lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {number:.15g}" for labels, number in samples]
    return "\n".join(lines) + "\n"


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
