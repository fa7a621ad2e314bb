"""What this process takes of the machine: file descriptors, and time for collecting garbage.

It must not know what they are used for.
"""

import gc
import resource

RESERVED_DESCRIPTORS = 64
"""Kept from driver sockets, for the journal, the dashboards, and sockets whose handshake is still under way."""
COLLECT_AFTER = (50_000, 20, 100)
"""Allocations before the youngest generation is looked through, and how many of those before the older ones are."""


def socket_room(most: int) -> int:
    """How many driver sockets fit into this process, `most` at the most; raises its limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, hard - RESERVED_DESCRIPTORS))


def quieten_collector() -> None:
    """Have the collector leave alone what was made so far, and look at the rest seldom.

    A floor makes hardly any cycles: pings and outputs go by counting references, and what stays is state, which a full
    collection walks through for nothing: see `make bench ARGS="--only gc"`.
    Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
