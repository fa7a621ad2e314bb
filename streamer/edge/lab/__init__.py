"""The policy lab: a recording's day lived many times under two policies, and held against each other.

It must not be in the live floor's way: what lives days, and what tests figures, runs in a process of its own.
"""
