"""A car on its way along the legs of a path, second by second.

It must not know why it drives, nor what its driver's phone makes of it.
"""

from numpy.random import Generator

from streamer.sim.parameters import USUAL, CarRules
from streamer.sim.roads import Leg


class Car:
    """Drives a path once. `x`, `y` in metres, `speed_mps`, `heading_deg`; `pace` scales the posted speeds."""

    __slots__ = (
        "_along_m", "_flow", "_leg", "_legs", "_red_s", "_rng", "_rules", "heading_deg", "pace", "speed_mps", "x", "y",
    )  # fmt: skip

    def __init__(
        self, legs: list[Leg], pace: float, rng: Generator, speed_mps: float = 0.0, rules: CarRules = USUAL.cars
    ) -> None:
        self._legs, self._rng, self.pace, self._rules = legs, rng, pace, rules
        self._leg, self._along_m, self._red_s, self._flow = 0, 0.0, 0, 0.0
        self.speed_mps = speed_mps
        self.x, self.y = (legs[0].x0, legs[0].y0) if legs else (0.0, 0.0)
        self.heading_deg = legs[0].heading_deg if legs else 0

    @property
    def arrived(self) -> bool:
        """Whether the path is behind it."""
        return self._leg >= len(self._legs)

    @property
    def ahead(self) -> tuple[float, float] | None:
        """The end of the leg it is on, where a new path may begin; None on the last."""
        if self._leg + 1 >= len(self._legs):
            return None
        leg = self._legs[self._leg]
        return leg.x1, leg.y1

    def step(self) -> None:
        """Drive for one second."""
        if self.arrived:
            return
        if self._red_s:
            self._red_s -= 1
            self.speed_mps = 0.0
            return
        rules = self._rules
        self._flow = rules.flow_kept * self._flow + rules.flow_spread * float(self._rng.standard_normal())
        leg = self._legs[self._leg]
        wanted = leg.mps * self.pace * max(0.4, 1.0 + self._flow)
        braking = (leg.exit_mps**2 + 2 * rules.brake_mps2 * (leg.length_m - self._along_m)) ** 0.5
        self.speed_mps = max(rules.creep_mps, min(wanted, braking, self.speed_mps + rules.speed_up_mps2))
        self._along_m += self.speed_mps
        while not self.arrived and self._along_m >= self._legs[self._leg].length_m:
            self._pass_end()
        self._place()

    def _pass_end(self) -> None:
        leg = self._legs[self._leg]
        self._along_m -= leg.length_m
        self._leg += 1
        if leg.signal and self._rng.random() < self._rules.red_chance:
            self._red_s = int(self._rng.integers(*self._rules.red_s))
            self._along_m = 0.0

    def _place(self) -> None:
        if self.arrived:
            end = self._legs[-1]
            self.x, self.y, self.speed_mps = end.x1, end.y1, 0.0
            return
        leg = self._legs[self._leg]
        share = self._along_m / leg.length_m
        self.x, self.y = leg.x0 + share * (leg.x1 - leg.x0), leg.y0 + share * (leg.y1 - leg.y0)
        self.heading_deg = leg.heading_deg
