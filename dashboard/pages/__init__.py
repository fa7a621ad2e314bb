"""The pages of the floor: where each panel stands.

They must not know what the panels hold.
"""
