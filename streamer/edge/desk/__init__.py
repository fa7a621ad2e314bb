"""The desk: what a dashboard may ask of the floor, and what answers."""
