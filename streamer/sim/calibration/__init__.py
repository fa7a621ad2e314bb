"""Fits the world's parameters to what a floor has recorded, and holds the fit against what it did not see."""
