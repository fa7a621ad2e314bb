"""Brings tracks from elsewhere, GPX or CSV, onto a floor as pings."""
