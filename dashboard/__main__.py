"""`python -m dashboard`: runs the dashboard process from its environment.

It must not know the command line's words; `mallard` has those.
"""

import signal
import sys

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
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
