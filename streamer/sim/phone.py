"""A driver's phone: what it makes of where it is, when it speaks, and how it fails.

It must not know orders or routes.
"""

from math import exp, sqrt
from typing import Literal

from numpy.random import Generator

from streamer.core.events import Ping
from streamer.sim.incidents import DriverTrouble
from streamer.sim.plane import Plane

Sky = Literal["open", "parked", "indoors", "bad"]
SIGMA_M: dict[Sky, float] = {"open": 3.5, "parked": 3.0, "indoors": 17.0, "bad": 26.0}
"""Spread of the position error on each axis. Source: GPS.gov, phones are within 4.9 m under open sky; indoors and
under bad sky assumed from the tens of metres that Wi-Fi positioning gives."""
TAU_S: dict[Sky, float] = {"open": 45.0, "parked": 180.0, "indoors": 60.0, "bad": 12.0}
"""How long an error lasts: neighbouring fixes err alike, because satellites and reflections change slowly (assumed)."""
ACCURACY_PER_SIGMA = 1.9
MISSED: dict[Sky, float] = {"open": 0.01, "parked": 0.01, "indoors": 0.45, "bad": 0.05}
"""Share of fixes the phone does not get at all (assumed)."""
MOVING_MS, STILL_MS = 5_000, 15_000
JUMP_M, JUMP_CHANCE = (3_000.0, 7_000.0), 0.3
DRAIN_A_HOUR = 0.11
CHARGED = 0.12
"""Below this a driver plugs the phone into the car."""


class Phone:
    """Turns true positions (metres) into pings. `seq` starts at `first_seq`.

    `latency_ms` is the time from a fix to its arrival; it is the phone's own and does not change.
    """

    def __init__(
        self, driver_id: str, plane: Plane, rng: Generator, troubles: tuple[DriverTrouble, ...], first_seq: int = 0
    ) -> None:
        self.driver_id, self._plane, self._rng, self._troubles = driver_id, plane, rng, troubles
        self.latency_ms = int(rng.integers(150, 950))
        self._seq = first_seq
        self._battery = float(rng.uniform(0.45, 1.0))
        self._charging = False
        self._error = (0.0, 0.0)
        self._sigma_m = SIGMA_M["open"]
        self._last_ms: int | None = None
        self._kept: list[Ping] = []

    def look(
        self, at_ms: int, since_play_ms: int, x: float, y: float, speed_mps: float, heading_deg: int, sky: Sky,
        moving: bool,
    ) -> list[Ping]:  # fmt: skip
        """Everything the phone sends in this second: mostly nothing, then one ping, after an outage many."""
        gap_ms = MOVING_MS if moving else STILL_MS
        if self._last_ms is not None and at_ms - self._last_ms < gap_ms:
            return []
        active = [t for t in self._troubles if t.from_ms <= since_play_ms < t.to_ms]
        self._drift(0.0 if self._last_ms is None else (at_ms - self._last_ms) / 1000, sky)
        self._last_ms = at_ms
        if self._rng.random() < MISSED[sky] and not active:
            return []
        return self._send(self._fix(at_ms, x, y, speed_mps, heading_deg, active), active)

    def _drift(self, dt_s: float, sky: Sky) -> None:
        self._sigma_m += (SIGMA_M[sky] - self._sigma_m) * (1 - exp(-dt_s / 20))
        kept = exp(-dt_s / TAU_S[sky])
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
        self._seq += 1
        return Ping(
            fix_ms=at_ms - self.latency_ms, lat=lat, lng=lng, driver_id=self.driver_id, seq=self._seq,
            accuracy_m=float(max(3, round(self._sigma_m * ACCURACY_PER_SIGMA))), speed_mps=round(speed_mps, 1),
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
