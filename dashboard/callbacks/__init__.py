"""The callbacks: fetch, call a pure function, return.

None of them is on the path of anything that moves with the feed; that is the browser script's (`dashboard/assets`).
"""

from dash import Dash

from dashboard.callbacks import autopilot, decide, floor, fork, gallery, inspect, lab, preview, replay


def register(app: Dash) -> None:
    """Binds every callback to the app."""
    for module in (floor, inspect, preview, decide, autopilot, gallery, replay, fork, lab):
        module.register(app)
