"""Messages that must not be believed: good ones spoilt by a seeded hand, and values no field should hold.

It must not know what is done with them, and none of them may take effect on a floor whose drivers are off duty.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.edge.gateway_floor import ping_json
from tests.edge.test_gateway_limits import BAD_MESSAGES

Text = str | bytes
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, -0.0, 2**31, 2**53, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 1e308, -1e308,
    float("nan"), float("inf"), "", "0", "x" * 600, "\u0000", "\ud83d", "é€😀", "../../etc/passwd", "<script>",
    "' OR 1=1", "nan", [], [[]], [None] * 20, {}, {"a": {"a": {}}}, {"type": "ping"}, ["o-1"] * 70,
)  # fmt: skip
"""Values no field is meant for, though some fields take some of them."""
JUNK = tuple(bytes((byte,)) for byte in b'{}[]",:\\0123456789eE+-.tfn \n\t\x00\x1f\x7f\x80\xc0\xed\xf4\xff')

A_PING = ping_json(7, speed_mps=11.6, heading_deg=271.0, battery=0.83)
A_REPORT = {
    "type": "report", "id": "r-1", "report": "picked_up", "order_ids": ["o-404"], "assignment": 931,
    "fix_ms": A_PING["fix_ms"], "reason": "",
}  # fmt: skip
WHO = {"name": "maya", "role": "dispatcher", "mall_ids": []}
CALLS: tuple[dict[str, Any], ...] = (
    {"id": 7, "call": "order", "params": {"order_id": "o-404"}, "principal": WHO},
    {"id": 7, "call": "orders", "params": {"status": ["placed"], "limit": 5, "q": "x"}, "principal": WHO},
    {"id": 7, "call": "hexes", "params": {"mall_id": "nowhere", "layers": ["supply"]}, "principal": WHO},
    {"id": 7, "call": "drivers", "params": {"limit": 3}, "principal": WHO},
    {"id": 7, "call": "state", "params": {}, "principal": WHO},
    {
        "id": 7, "call": "command", "principal": WHO,
        "params": {"action": "assign", "order_id": "o-404", "expected_version": 1, "driver_id": "d-1", "key": "k"},
    },
    {"id": 7, "call": "undo", "params": {"command_id": "c-404"}, "principal": WHO},
    {"id": 7, "call": "bulk", "params": {"commands": [{"action": "hold", "order_id": "o-404"}]}, "principal": WHO},
    {
        "id": 7, "call": "place", "principal": WHO,
        "params": {"order": {
            "external_id": "x-1", "mall_id": "nowhere", "stores": ["macys"], "dropoff": {"lat": 36.1, "lng": -115.1},
            "placed_ms": 1, "due_ms": 2,
        }},
    },
)  # fmt: skip
"""None of these can take effect: what they name does not exist."""


def messages(seed: int) -> Iterator[Text]:
    """Bad frames of the driver socket, without end: a fixed corpus, then spoilt ones, one by one and in arrays."""
    yield from (frame for frame, _code in BAD_MESSAGES.values())
    rng = random.Random(seed)
    while True:
        good = A_PING if rng.random() < 0.7 else A_REPORT
        if rng.random() < 0.2:
            yield dumped([strange(good, rng) for _ in range(rng.randint(1, 12))])
        else:
            yield spoilt(good, rng)


def calls(seed: int) -> Iterator[Text]:
    """Bad messages of the link, without end."""
    rng = random.Random(seed)
    while True:
        yield spoilt(rng.choice(CALLS), rng)


def spoilt(good: dict[str, Any], rng: random.Random) -> Text:
    """A message with something wrong with its text, or with what it says."""
    return rng.choice(SPOILERS)(good, rng)


def strange(good: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The same message with fields left out, renamed, or holding what they should not."""
    fields = dict(good)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(list(fields) or ["type"])
        match rng.randrange(4):
            case 0:
                fields.pop(name, None)
            case 1:
                fields[name.upper()] = fields.pop(name, None)
            case _:
                fields[name] = rng.choice(ODD)
    return fields


def dumped(value: object) -> str:
    """As JSON, with NaN and half characters as Python's writer lets them pass."""
    return json.dumps(value)


def _strange(good: dict[str, Any], rng: random.Random) -> Text:
    return dumped(strange(good, rng))


def _strange_inside(good: dict[str, Any], rng: random.Random) -> Text:
    inner = [name for name, value in good.items() if isinstance(value, dict)]
    if not inner:
        return _strange(good, rng)
    name = rng.choice(inner)
    return dumped({**good, name: strange(good[name], rng)})


def _bytes_changed(good: dict[str, Any], rng: random.Random) -> Text:
    text = bytearray(dumped(good).encode())
    for _ in range(rng.randint(1, 4)):
        text[rng.randrange(len(text))] = rng.choice(JUNK)[0]
    return bytes(text)


def _cut(good: dict[str, Any], rng: random.Random) -> Text:
    text = dumped(good)
    return text[: rng.randrange(len(text))] if rng.random() < 0.5 else text[rng.randrange(1, len(text)) :]


def _doubled(good: dict[str, Any], rng: random.Random) -> Text:
    text = dumped(good)
    low, high = sorted(rng.sample(range(len(text)), 2))
    return text[:high] + text[low:]


def _stuffed(good: dict[str, Any], rng: random.Random) -> Text:
    text, at = dumped(good).encode(), 0
    at = rng.randrange(len(text))
    return text[:at] + b"".join(rng.choices(JUNK, k=rng.randint(1, 8))) + text[at:]


def _nested(good: dict[str, Any], rng: random.Random) -> Text:
    deep = rng.choice([2, 60, 1_200, 20_000])
    opener, closer = rng.choice([("[", "]"), ('{"a":', "}")])
    return opener * deep + dumped(good) + closer * (deep if rng.random() < 0.5 else 0)


def _noise(_good: dict[str, Any], rng: random.Random) -> Text:
    return rng.randbytes(rng.randrange(200))


SPOILERS = (_strange, _strange, _strange_inside, _bytes_changed, _cut, _doubled, _stuffed, _nested, _noise)
