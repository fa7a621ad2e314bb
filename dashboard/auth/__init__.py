"""Log-in and the gate in front of everything the dashboard serves.

It must not know what lies behind the gate.
"""

from dashboard.auth.principal import Principal, Role, current_principal

__all__ = ["Principal", "Role", "current_principal"]
