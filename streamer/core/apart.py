"""Which drivers are not alike in two worlds that were one: elsewhere, in another state, or on the floor of one alone.

It must not know how either world came about, nor who looks.
"""

from streamer.core.geo import flat_m
from streamer.core.state import Driver, State

NEAR_M = 60.0
"""Metres up to which two places are told as one: some six seconds' drive, or three times what a phone is wrong by."""


def elsewhere(recorded: State, forked: State) -> list[Driver]:
    """Drivers on the recorded floor that the other has at another place, in another state, or not at all.

    They are given as recorded, in the recording's order.
    """
    return [driver for driver in recorded.drivers.values() if _is_shown(driver) and _differs(driver, forked)]


def added(recorded: State, forked: State) -> list[Driver]:
    """Drivers on the forked floor that are not on the recorded one: hired, or on duty in the fork alone."""
    theirs = recorded.drivers
    return [
        driver
        for driver in forked.drivers.values()
        if _is_shown(driver) and not (driver.id in theirs and _is_shown(theirs[driver.id]))
    ]


def _is_shown(driver: Driver) -> bool:
    """Whether a map has it: who is off duty, or was never heard of, is nowhere."""
    return driver.ping is not None and driver.state != "off_duty"


def _differs(theirs: Driver, forked: State) -> bool:
    ours = forked.drivers.get(theirs.id)
    if ours is None or ours.ping is None or theirs.ping is None or ours.state != theirs.state:
        return True
    return flat_m(theirs.ping.lat, theirs.ping.lng, ours.ping.lat, ours.ping.lng) > NEAR_M
