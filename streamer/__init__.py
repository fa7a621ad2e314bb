"""Mallard streamer: gateway, engine, journal, feed."""
