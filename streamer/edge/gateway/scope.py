"""Whom a token may speak for: the one place where a message's `driver_id` is held against the token it came with.

It must not know sockets or rates.
"""

from streamer.core.events import DriverRegistered, Ping, Report
from streamer.core.state import Driver
from streamer.edge.accounts import Accounts, TokenOwner
from streamer.edge.runner import Runner
from streamer.edge.wire import Code, WireError, is_id


class Scope:
    """Judges messages by their token, and makes drivers known to the floor when they first appear."""

    def __init__(self, runner: Runner, accounts: Accounts) -> None:
        self.runner = runner
        self.accounts = accounts

    def register(self, driver_id: str) -> None:
        """Makes a driver of the accounts known to the engine, if it is not."""
        if driver_id not in self.runner.engine.state.drivers:
            driver = self.accounts.driver(driver_id)
            if driver is not None:
                self.runner.submit(driver)

    def fits(self, driver_id: str) -> bool:
        """Whether the floor has the malls of a driver of the accounts."""
        driver = self.accounts.driver(driver_id)
        return driver is not None and all(mall_id in self.runner.engine.floor.malls for mall_id in driver.mall_ids)

    def refusal(self, owner: TokenOwner, item: Ping | Report) -> WireError | None:
        """Why the token must not say this, or None. A driver is who its token says, whatever the message claims."""
        if owner.kind == "gateway":
            return self._gateway_refusal(owner, item)
        if item.driver_id in {"", owner.name}:
            self.register(owner.name)
            return None
        return error_about(item, "not_yours", f"this token speaks for driver {owner.name} only")

    def _gateway_refusal(self, owner: TokenOwner, item: Ping | Report) -> WireError | None:
        driver_id = item.driver_id
        driver: Driver | DriverRegistered | None = self.runner.engine.state.drivers.get(driver_id)
        if driver is not None and covers(owner, driver):
            return None
        if not is_id(driver_id):
            return error_about(item, "bad_field", "driver_id: a gateway names the driver of every message")
        driver = driver or self.accounts.driver(driver_id)
        if driver is None:
            if not isinstance(item, Report) or item.report != "on_duty":
                return error_about(item, "off_duty", f"driver {driver_id} has not reported on_duty")
            driver = DriverRegistered(driver_id, mall_ids=owner.mall_ids)
        if not covers(owner, driver):
            return error_about(item, "not_yours", f"driver {driver_id} is not of this gateway's malls")
        if isinstance(driver, DriverRegistered):
            self.runner.submit(driver)
        return None


def covers(owner: TokenOwner, driver: Driver | DriverRegistered) -> bool:
    """Whether a gateway's scope holds a driver: by the malls it is bound to, or, bound to none, where it was seen."""
    if not owner.mall_ids:
        return True
    mall_ids = driver.mall_ids
    if not mall_ids and isinstance(driver, Driver) and driver.region is not None:
        mall_ids = (driver.region,)
    return not mall_ids or any(mall_id in owner.mall_ids for mall_id in mall_ids)


def error_about(item: Ping | Report, code: Code, message: str, fix_ms: int | None = None) -> WireError:
    """An error that names its message the way the sender did; `fix_ms` if the message's own was moved."""
    seq = item.seq if isinstance(item, Ping) else None
    report_id = item.id if isinstance(item, Report) else None
    driver_id = item.driver_id if is_id(item.driver_id) else None
    return WireError(code, message, seq, report_id, driver_id, item.fix_ms if fix_ms is None else fix_ms)
