"""REST under `/api/v1`, its reference page, and the probes: a thin shell that turns HTTP into calls of the link.

It must not decide anything about orders or drivers.
"""
