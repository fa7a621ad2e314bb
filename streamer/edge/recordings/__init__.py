"""Recordings: fixtures on disk, playing them, cutting them out of a journal."""
