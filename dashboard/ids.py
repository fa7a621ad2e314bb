"""Every id the layout, the callbacks and the browser script share.

It must not know what the ids are attached to. The script names the same strings in `assets/`; a test compares them.
"""

from typing import Final

URL: Final = "url"

# Stores. All but OUTCOME are written by the browser script.
WAKE: Final = "wake"
"""Bumped once the floor answers: time to draw the malls and say who is in."""
SELECTION: Final = "selection"
"""What the inspector shows, `n` bumped when it changed: `{kind: order | driver | mall, id, n, at_ms, offset_ms}`."""
ROUTE: Final = "route"
"""Whose route the map shows: `{driver_id or None, stamp}`; the stamp changes when the route may have."""
CHOICE: Final = "choice"
"""The driver under consideration: `{order_id, driver_id, n, offset_ms}`, or None."""
INTENT: Final = "intent"
"""A decision on its way to the streamer: `{action, key, offset_ms, …}`."""
OUTCOME: Final = "outcome"
"""What came of it: `{intent, status, command_id, problem}`."""
HANDING: Final = "handing"
"""The driver whose orders are to be handed over: `{driver_id, n}`, or None."""
AUTOPILOT_LOOK_UP: Final = "autopilot-look-up"
"""Time to ask how the autopilot is set: `{malls shown, n}`."""
AUTOPILOT_ASK: Final = "autopilot-ask"
"""Somebody wants to see its rules: `{mall_id, n, offset_ms}`."""
AUTOPILOT_SAVED: Final = "autopilot-saved"
"""Changes whenever rules were saved; written by a callback."""

# Shell
NOTES: Final = "notes"
MALL_FILTER: Final = "mall-filter"
AUTOPILOT_BADGE: Final = "autopilot-badge"
ACCOUNT: Final = "account"
THEME_SWITCH: Final = "theme-switch"

# Floor
MAP: Final = "map"
HEX_LAYER: Final = "hex-layer"
QUEUE: Final = "queue"
QUEUE_SEARCH: Final = "queue-search"
INSPECT_MAIN: Final = "inspect-main"
INSPECT_DETAILS: Final = "inspect-details"
INSPECT_CANDIDATES: Final = "inspect-candidates"
INSPECT_PREVIEW: Final = "inspect-preview"
INSPECT_TIMELINE: Final = "inspect-timeline"
REASON: Final = "reason"

# Dialogs
CONFLICT: Final = "conflict"
CONFLICT_BODY: Final = "conflict-body"
CONFIRM: Final = "confirm"
CONFIRM_BODY: Final = "confirm-body"
HAND_OVER: Final = "hand-over"
HAND_OVER_BODY: Final = "hand-over-body"
HAND_OVER_TARGET: Final = "hand-over-target"
HAND_OVER_GO: Final = "hand-over-go"
AUTOPILOT_DIALOG: Final = "autopilot-dialog"
AUTOPILOT_MALL: Final = "autopilot-mall"
AUTOPILOT_WORKER: Final = "autopilot-worker"
AUTOPILOT_FIELDS: Final = "autopilot-fields"
AUTOPILOT_MODE: Final = "autopilot-mode"
AUTOPILOT_LOOK: Final = "autopilot-look"
AUTOPILOT_HOLD: Final = "autopilot-hold"
AUTOPILOT_TRIP: Final = "autopilot-trip"
AUTOPILOT_OFFER: Final = "autopilot-offer"
AUTOPILOT_STAND_DOWN: Final = "autopilot-stand-down"
AUTOPILOT_REASON: Final = "autopilot-reason"
AUTOPILOT_PROBLEM: Final = "autopilot-problem"
AUTOPILOT_SAVE: Final = "autopilot-save"
KEYS_SHEET: Final = "keys-sheet"
