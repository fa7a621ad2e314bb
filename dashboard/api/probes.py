"""What machines ask about this process: alive, ready, which version, how much.

It must not know orders or drivers. These paths are open to everybody, so they name nobody and nothing.
"""

from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from dashboard.feed import Feed
from dashboard.link import Link
from dashboard.relay import Relay

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
        return _json({"status": "ready"})

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
    """The streamer's counters (`name`, or `name.label.value`, to a number), as metrics of their own."""
    samples: dict[str, list[tuple[str, float]]] = {}
    for key, number in counters.items():
        name, _, labelled = key.partition(".")
        label, _, value = labelled.partition(".")
        labels = f'{{{label}="{value}"}}' if label else ""
        samples.setdefault(name, []).append((labels, float(str(number))))
    return [
        (
            f"mallard_streamer_{name}",
            "counter" if name.endswith("_total") else "gauge",
            f"The streamer's {name.removesuffix('_total').replace('_', ' ')}.",
            numbers,
        )
        for name, numbers in samples.items()
    ]


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
