"""Who is asking: the person or program behind the current request.

It must not know how identity is proven (cookie, token) or carried (http, websocket): the gate does that.
"""

from contextvars import ContextVar
from typing import Literal

from msgspec import Struct

Role = Literal["viewer", "dispatcher", "ops-lead"]
RANK: dict[Role, int] = {"viewer": 0, "dispatcher": 1, "ops-lead": 2}
"""A role may do all that a role of lower rank may."""


class Principal(Struct, frozen=True):
    """A person or program that has been identified. `mall_ids` empty means every mall."""

    name: str
    role: Role
    mall_ids: tuple[str, ...] = ()

    def may(self, role: Role) -> bool:
        """Whether this role includes `role`."""
        return RANK[self.role] >= RANK[role]

    def sees(self, mall_id: str) -> bool:
        """Whether `mall_id` is in scope."""
        return not self.mall_ids or mall_id in self.mall_ids


_principal: ContextVar[Principal] = ContextVar("mallard_principal")
bind_principal = _principal.set
unbind_principal = _principal.reset


def current_principal() -> Principal:
    """The principal of the request, socket or Dash callback being served.

    Raises:
        LookupError: outside a request, or on one of the few paths open to everybody.
    """
    return _principal.get()
