"""Scripted trouble: what goes wrong in a world, to whom, and when.

It must not know how trouble is played out; drivers, phones and stores read their own part of the script.
Times are milliseconds after play begins; drivers are named by their place in the mall's roster, from 0.
"""

from typing import Literal

from msgspec import Struct

Trouble = Literal["silent", "jumps", "flapping", "declining", "duplicates", "late_batch"]


class StoreLate(Struct, frozen=True):
    """Orders of a store that would be ready in this window become ready `extra_ms` later."""

    store: str
    from_ms: int
    to_ms: int
    extra_ms: int


class DriverTrouble(Struct, frozen=True):
    """One driver's trouble in a window.

    silent: the phone says nothing, its reports come all at once when the window ends. With `loaded`, the silence waits
    for the driver to have collected an order, so that somebody must notice.
    jumps: every few pings lie kilometres off, with a good accuracy.
    flapping: near the mall the phone errs by tens of metres, and the driver waits on the line of the footprint.
    declining: every offer is declined.
    duplicates: pings are sent twice.
    late_batch: pings are kept for the window, then the newest is sent first and the backlog behind it.
    """

    kind: Trouble
    driver: int
    from_ms: int
    to_ms: int
    loaded: bool = False


class Act(Struct, frozen=True):
    """Something a person on the floor does at `at_ms`: which order it picks is decided by the state it finds.

    tightest: the order with the least time left, of those the action fits. newest: the last one placed. waiting: the
    one whose driver has stood longest at a store. held: the one on hold longest. silent: the silent driver with orders.
    """

    at_ms: int
    actor: str
    action: Literal["hold", "release", "pin", "assign", "reassign", "unassign", "cancel", "hand_over"]
    pick: Literal["tightest", "newest", "waiting", "held", "silent"]
    reason: str


class Incidents(Struct, frozen=True):
    """All the trouble of one story, and how to look it up."""

    stores: tuple[StoreLate, ...] = ()
    drivers: tuple[DriverTrouble, ...] = ()

    def store_extra_ms(self, store: str, ready_ms: int, play_ms: int) -> int:
        """How much later than at `ready_ms` (UTC epoch) a store hands out, for play that begins at `play_ms`."""
        late = [s.extra_ms for s in self.stores if s.store == store and s.from_ms <= ready_ms - play_ms < s.to_ms]
        return max(late, default=0)

    def of_driver(self, driver: int) -> tuple[DriverTrouble, ...]:
        """The troubles of one driver of the roster."""
        return tuple(trouble for trouble in self.drivers if trouble.driver == driver)
