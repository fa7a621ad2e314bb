"""The pure engine: inputs in, state, outputs out. No clock, no I/O, no randomness below this line."""
