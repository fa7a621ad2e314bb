"""Replay rooms: whole floors of their own that play a recording, beside a live floor and without touching it."""
