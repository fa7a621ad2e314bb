"""What every suite may use: the `evidence` fixture, and its summary after a run.

It must not know any suite.
"""

from tests.faults.evidence import evidence, pytest_terminal_summary

__all__ = ["evidence", "pytest_terminal_summary"]
