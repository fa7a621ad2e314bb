"""`python -m dashboard`: runs the dashboard process from its environment.

It must not know the command line's words; `mallard` has those.
"""

import os
import signal
import sys
import threading

import uvicorn

from dashboard.app import create_app
from dashboard.server import make_server
from dashboard.settings import from_environment
from streamer.core.errors import ConfigurationError


def main() -> int:
    """Serves until stopped. Exit code 0 after an orderly stop, 1 on a wrong configuration or a taken port."""
    try:
        settings = from_environment()
    except ConfigurationError as error:
        print(f"mallard dashboard: {error}", file=sys.stderr)
        return 1
    server = make_server(create_app(settings), settings)
    # uvicorn stops in order on these, and then raises them once more: an orderly stop would look like a kill.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if os.environ.get("MALLARD_LEASH"):
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    server.run()
    return 0 if server.started else 1


def _end_with_parent(server: uvicorn.Server) -> None:
    """Ends when stdin closes: the program that started this one holds the other end, and may be killed any time."""
    # The bare descriptor: a thread inside sys.stdin's own buffer would keep the interpreter from ending cleanly.
    while os.read(0, 1024):
        pass
    # Not `force_exit`: without its orderly end the app is cancelled, which uvicorn prints as a traceback.
    server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
