"""Who may run which callback: a callback without a line here keeps the dashboard from starting.

It must not know what a callback does.
"""

from collections.abc import Mapping
from typing import Final

from dashboard.auth.principal import Role

ROLES: Final[Mapping[str, Role]] = {
    "floor.wake": "viewer",
    "floor.route": "viewer",
    "floor.hand_over": "dispatcher",
    "inspect.show": "viewer",
    "preview.show": "dispatcher",
    "decide.send": "dispatcher",
    "decide.answer": "viewer",
    "autopilot.show": "viewer",
    "autopilot.open_dialog": "viewer",
    "autopilot.fill": "viewer",
    "autopilot.save": "viewer",
    "gallery.show": "viewer",
    "gallery.open_room": "viewer",
    "gallery.close_room": "viewer",
    "replay.move": "viewer",
    "replay.jump": "viewer",
    "replay.look": "viewer",
    "fork.open_dialog": "dispatcher",
    "fork.go": "dispatcher",
    "fork.compare": "viewer",
    "fork.ghosts": "viewer",
    "lab.fill": "viewer",
    "lab.show": "viewer",
    "lab.start": "ops-lead",
    "lab.cancel": "ops-lead",
}
"""By module and function.

`autopilot.save` is for everybody to press: it says who may, and the streamer lets no other. `gallery.open_room` and
`gallery.close_room` are, too: the live floor knows which recordings and rooms are whose.
"""
