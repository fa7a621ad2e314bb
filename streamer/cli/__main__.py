"""`python -m streamer.cli`: the `mallard` command where no script is installed.

It must not know anything more.
"""

from streamer.cli import main

if __name__ == "__main__":
    main()
