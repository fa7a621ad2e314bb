"""The driver gateway: sockets of drivers and gateways, who may speak for whom, and how much."""
