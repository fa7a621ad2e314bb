"""Plotly figures: plain values in, a figure out.

They must not know Dash, or where the values come from.
"""
