"""Simulated worlds, into a fixture or against a running floor."""
