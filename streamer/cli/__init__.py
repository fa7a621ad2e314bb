"""The `mallard` command: its way in.

It must not know the subcommands; it only makes sure that a Ctrl-C while they are loaded is no traceback.
"""

import signal


def main() -> None:
    """Run the command line. Exit code 0 only on success, 2 on wrong usage, 1 on anything else, with one line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from streamer.cli.commands import app, run_app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_app(app, "mallard")
