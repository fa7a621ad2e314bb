"""`python -m tests.faults.broken_disk`: the streamer, on a disk whose syncs fail once there is a file `fail-syncs`.

It must not change anything else: the journal is the real one, over another file layer.
"""

from functools import partial
from pathlib import Path
from typing import Any

import apsw

from streamer.__main__ import app
from streamer.cli.commands import run_app
from streamer.edge import server
from streamer.edge.journal.sqlite import SqliteJournal
from tests.faults.power import PowerDisk, PowerFile

TRIGGER = "fail-syncs"
SYNCS = "syncs-after"


class BrokenDisk(PowerDisk):
    """Fails on demand, and counts on disk how often it was asked to sync after that."""

    def xOpen(self, name: Any, flags: list[int]) -> PowerFile:  # noqa: N802 - SQLite's name
        self.folder = Path(name if isinstance(name, str) else name.filename()).parent
        return super().xOpen(name, flags)

    def synced(self, name: str) -> None:
        if (self.folder / TRIGGER).exists():
            with (self.folder / SYNCS).open("a") as file:
                file.write(f"{name}\n")
            raise apsw.IOError("EIO: the disk did not take it")
        super().synced(name)


if __name__ == "__main__":
    disk = BrokenDisk()
    setattr(server, "SqliteJournal", partial(SqliteJournal, vfs=disk.name))  # noqa: B010 - a name it only imports
    run_app(app, "streamer")
