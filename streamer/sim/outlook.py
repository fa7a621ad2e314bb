"""What a recording still holds of the outside: when orders are ready, when drivers come, rest, fall silent and leave.

It must not know the floor's decisions: it reads the recording after a moment once, and keeps what no decision moves.
"""

from collections.abc import Iterable

from msgspec import Struct, field

from streamer.core.events import Input, OrderCommand, Ping, Report

SILENT_MS = 120_000
"""A driver on duty that says nothing at all for so long had no network; phones at rest speak every 15 s."""
LEAST_ANSWERS = 4
"""From so many answers on, a driver's own share of refusals is believed; else the world's is."""

Recorded = tuple[int, Input]
"""An input and the instant at which it was handled, UTC epoch milliseconds."""


class Life(Struct):
    """One driver's day, as far as it is the driver's own: instants in UTC epoch milliseconds, rising."""

    offs: list[int] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    silences: list[tuple[int, int]] = field(default_factory=list)
    accepted: int = 0
    declined: int = 0
    heard_ms: int | None = None

    def hear(self, at_ms: int) -> None:
        """The driver's phone said something."""
        if self.heard_ms is not None and at_ms - self.heard_ms >= SILENT_MS:
            self.silences.append((self.heard_ms, at_ms))
        self.heard_ms = at_ms

    def declines(self, otherwise: float) -> float:
        """The share of offers it declines."""
        answers = self.accepted + self.declined
        return self.declined / answers if answers >= LEAST_ANSWERS else otherwise


class Outlook:
    """The outside of a recording, by the recording's ids.

    Attributes:
        ready: when each order's stores said that it is packed; where stores never say, when it was collected.
        somebody_in: of orders whose delivery was tried, whether the shopper was there.
        lives: by driver.
        end_ms: the last instant of the recording.
        stores_speak: whether any store ever said ready: then what nobody called ready was not ready by the end.
    """

    def __init__(self, lines: Iterable[Recorded]) -> None:
        self.ready: dict[str, int] = {}
        self.somebody_in: dict[str, bool] = {}
        self.lives: dict[str, Life] = {}
        self.end_ms = 0
        self.stores_speak = False
        collected: dict[str, int] = {}
        for at_ms, item in lines:
            self.end_ms = at_ms
            match item:
                case Ping():
                    self.life(item.driver_id).hear(at_ms)
                case Report():
                    self._report(at_ms, item, collected)
                case OrderCommand(action="ready") if item.ready_ms is None or item.ready_ms <= at_ms:
                    self.stores_speak = True
                    self.ready.setdefault(item.order_id, at_ms)
                case _:
                    pass
        for order_id, at_ms in collected.items():
            self.ready.setdefault(order_id, at_ms)

    def life(self, driver_id: str) -> Life:
        """The driver's; of one that is not in the recording, an empty one."""
        known = self.lives.get(driver_id)
        if known is None:
            known = self.lives[driver_id] = Life()
        return known

    def _report(self, at_ms: int, report: Report, collected: dict[str, int]) -> None:
        life = self.life(report.driver_id)
        if report.report == "on_duty":
            life.heard_ms = at_ms  # Whoever was off duty or on a break was not silent.
            return
        life.hear(at_ms)
        match report.report:
            case "off_duty":
                life.offs.append(at_ms)
            case "on_break":
                life.breaks.append(at_ms)
            case "accepted":
                life.accepted += 1
            case "declined":
                life.declined += 1
            case "picked_up":
                collected.update(dict.fromkeys(report.order_ids, at_ms))
            case "delivered" | "failed":
                self.somebody_in.update(dict.fromkeys(report.order_ids, report.report == "delivered"))
            case _:
                pass
