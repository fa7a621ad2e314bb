"""The journal: what it is, how it lies on disk, and the way back from it to an engine."""
