"""A driver's phone: what it makes of where it is, when it speaks, and how it fails.

It must not know orders or routes.
"""

from math import exp, sqrt
from typing import Literal, NamedTuple

from numpy.random import Generator

from streamer.core.events import Ping
from streamer.sim.incidents import DriverTrouble
from streamer.sim.parameters import USUAL, PhoneRules
from streamer.sim.plane import Plane

Sky = Literal["open", "parked", "indoors", "bad"]
JUMP_M, JUMP_CHANCE = (3_000.0, 7_000.0), 0.3
DRAIN_A_HOUR = 0.11
CHARGED = 0.12
"""Below this a driver plugs the phone into the car."""


class Seen(NamedTuple):
    """A phone under one sky."""

    sigma_m: float
    tau_s: float
    missed: float


def _skies(rules: PhoneRules) -> dict[Sky, Seen]:
    return {
        "open": Seen(rules.sigma_open_m, rules.tau_open_s, rules.missed_open),
        "parked": Seen(rules.sigma_parked_m, rules.tau_parked_s, rules.missed_parked),
        "indoors": Seen(rules.sigma_indoors_m, rules.tau_indoors_s, rules.missed_indoors),
        "bad": Seen(rules.sigma_bad_m, rules.tau_bad_s, rules.missed_bad),
    }


class Phone:
    """Turns true positions (metres) into pings. `seq` starts at `first_seq`.

    `latency_ms` is the time from a fix to its arrival; it is the phone's own and does not change.
    """

    def __init__(
        self, driver_id: str, plane: Plane, rng: Generator, troubles: tuple[DriverTrouble, ...], first_seq: int = 0,
        rules: PhoneRules = USUAL.phones,
    ) -> None:  # fmt: skip
        self.driver_id, self._plane, self._rng, self._troubles = driver_id, plane, rng, troubles
        self._rules, self._skies = rules, _skies(rules)
        self.latency_ms = int(rng.integers(*rules.latency_ms))
        self._seq = first_seq
        self._battery = float(rng.uniform(0.45, 1.0))
        self._charging = False
        self._error = (0.0, 0.0)
        self._sigma_m = rules.sigma_open_m
        self._last_ms: int | None = None
        self._kept: list[Ping] = []

    def look(
        self, at_ms: int, since_play_ms: int, x: float, y: float, speed_mps: float, heading_deg: int, sky: Sky,
        moving: bool,
    ) -> list[Ping]:  # fmt: skip
        """Everything the phone sends in this second: mostly nothing, then one ping, after an outage many."""
        gap_ms = self._rules.moving_ms if moving else self._rules.still_ms
        if self._last_ms is not None and at_ms - self._last_ms < gap_ms:
            return []
        active = [t for t in self._troubles if t.from_ms <= since_play_ms < t.to_ms]
        self._drift(0.0 if self._last_ms is None else (at_ms - self._last_ms) / 1000, sky)
        self._last_ms = at_ms
        if self._rng.random() < self._skies[sky].missed and not active:
            return []
        return self._send(self._fix(at_ms, x, y, speed_mps, heading_deg, active), active)

    def _drift(self, dt_s: float, sky: Sky) -> None:
        seen = self._skies[sky]
        self._sigma_m += (seen.sigma_m - self._sigma_m) * (1 - exp(-dt_s / 20))
        kept = exp(-dt_s / seen.tau_s)
        push = self._sigma_m * sqrt(1 - kept * kept)
        ex, ey = self._error
        self._error = (
            kept * ex + push * float(self._rng.standard_normal()),
            kept * ey + push * float(self._rng.standard_normal()),
        )
        self._battery += (0.9 if self._charging else -DRAIN_A_HOUR) * dt_s / 3600
        self._charging = self._battery < (0.9 if self._charging else CHARGED)

    def _fix(
        self, at_ms: int, x: float, y: float, speed_mps: float, heading_deg: int, active: list[DriverTrouble]
    ) -> Ping:
        x, y = x + self._error[0], y + self._error[1]
        if any(t.kind == "jumps" for t in active) and self._rng.random() < JUMP_CHANCE:
            x += float(self._rng.uniform(*JUMP_M))
            y -= float(self._rng.uniform(*JUMP_M))
        lat, lng = self._plane.to_degrees(x, y)
        accuracy_m = float(max(3, round(self._sigma_m * self._rules.accuracy_per_sigma)))
        self._seq += 1
        return Ping(
            fix_ms=at_ms - self.latency_ms, lat=lat, lng=lng, driver_id=self.driver_id, seq=self._seq,
            accuracy_m=accuracy_m, speed_mps=round(speed_mps, 1),
            heading_deg=float(heading_deg), battery=round(self._battery, 2),
        )  # fmt: skip

    def _send(self, ping: Ping, active: list[DriverTrouble]) -> list[Ping]:
        kinds = [t.kind for t in active]
        if "late_batch" in kinds:
            self._kept.append(ping)
            return []
        # The newest first, then the backlog: what phones do that show a live position as soon as they are back.
        sent, self._kept = [ping, *self._kept], []
        return [*sent, ping] if "duplicates" in kinds else sent
