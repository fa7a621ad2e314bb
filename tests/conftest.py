"""What every suite may use: the `evidence` fixture, and its summary after a run.

It must not know any suite.
"""

from hypothesis import HealthCheck, settings

from tests.faults.evidence import evidence, pytest_terminal_summary

__all__ = ["evidence", "pytest_terminal_summary"]

# Machines are shared: how long an example takes says nothing of what is tested.
settings.register_profile("mallard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mallard")
