"""The parts of a page: plain values in, Dash components out.

They must not know where the values come from, or call anything.
"""
