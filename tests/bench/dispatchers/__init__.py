"""What our plan is measured beside: other ways from a `Problem` to a `Plan`, played by the same `Day`."""
