"""Mallard dashboard: pages, REST and log-in for the floor; it knows only what the link tells it."""
