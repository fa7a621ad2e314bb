"""What is changed in a fork: a decision, the policy, or the world; as people say it, and as a call carries it.

It must not know how a fork is lived.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from streamer.core.events import Id
from streamer.core.settings import AutopilotRules

PolicyName = Literal["plan", "no-hold", "nearest"]
"""`plan`: the autopilot, as the recording's rules have it. `no-hold`: the same, but no order waits for another to share
its trip. `nearest`: each order at once to the nearest driver with nothing to do, one a trip."""
MOST_DRIVERS = 200


class Reassignment(Struct, frozen=True, forbid_unknown_fields=True):
    """This order to that driver, now; from the queue or from whoever has it, as long as it is not collected."""

    order_id: Id
    driver_id: Id


class MoreDrivers(Struct, frozen=True, forbid_unknown_fields=True):
    """So many drivers come on duty at a mall, besides those of the recording."""

    mall_id: Id
    number: Annotated[int, Meta(ge=1, le=MOST_DRIVERS)]


class LateStore(Struct, frozen=True, forbid_unknown_fields=True):
    """Whatever a store has not packed yet is ready `late_ms` later than recorded."""

    mall_id: Id
    store_id: Id
    late_ms: Annotated[int, Meta(ge=1, le=86_400_000)]


class MallRules(Struct, frozen=True, forbid_unknown_fields=True):
    """How the autopilot works at a mall."""

    mall_id: Id
    rules: AutopilotRules


class Changes(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that is changed at the moment of the fork. Nothing is changed by `Changes()`.

    `hold_for_batch` overrides that rule at every mall; `rules` override all of them at some.
    """

    decisions: tuple[Reassignment, ...] = ()
    policy: PolicyName | None = None
    hold_for_batch: bool | None = None
    rules: tuple[MallRules, ...] = ()
    drivers: tuple[MoreDrivers, ...] = ()
    stores: tuple[LateStore, ...] = ()

    @property
    def plans_anew(self) -> bool:
        """Whether the dispatcher has to decide again: what the recording's decided was for another floor."""
        return bool(self.policy or self.hold_for_batch is not None or self.rules or self.drivers or self.stores)
