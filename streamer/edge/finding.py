"""One thing that was looked at, and what came of it.

It must not know who looks, or at what.
"""

from msgspec import Struct


class Finding(Struct, frozen=True):
    """One thing looked at. `fix` is what to do about a fault, in one line."""

    check: str
    ok: bool
    detail: str
    fix: str = ""


def judged(check: str, ok: bool, detail: str, fix: str) -> Finding:
    """A finding that has its fix only if it is a fault."""
    return Finding(check, ok, detail, "" if ok else fix)
