"""A disk whose power can be cut: a SQLite file layer that knows what was synced and what only written.

It must not know what is stored. At the cut each write since a file's last sync is lost, torn at a sector, or kept, as a
seed says. Not modelled: names of files that vanish, and disks that lie about a sync. Source of the idea: SQLite's own
crash tests, https://sqlite.org/testing.html#crashtesting
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512
LOST, TORN = 0.5, 0.75
"""Of a unit draw: below the first a write is lost, below the second torn, else kept."""
NEVER = 1 << 60
_names = count(1)

Write = tuple[int, bytes | None]
"""Where, and what; None truncates the file there."""


class PowerDisk(apsw.VFS):
    """A file layer over the system's. Give `name` to `SqliteJournal(..., vfs=name)`.

    Attributes:
        image: what the platter held at the cut, by file; None while the power is on.
        operations: writes, truncations and syncs so far.
        syncs: the syncs among them.
        failing_sync: after this many more syncs, each fails with an I/O error.
    """

    def __init__(self, seed: int = 0) -> None:
        self.name = f"power-{next(_names)}"
        self.image: dict[str, bytes] | None = None
        self.operations = self.syncs = 0
        self.failing_sync = NEVER
        self._cut_at = NEVER
        self._random = random.Random(seed)
        self._durable: dict[str, bytearray] = {}
        self._pending: dict[str, list[Write]] = {}
        super().__init__(self.name, "")

    def cut_after(self, operations: int) -> None:
        """Cut the power after so many more operations."""
        self._cut_at = self.operations + operations

    def cut(self) -> dict[str, bytes]:
        """Cut it now, if it was not cut already; what is on the platter."""
        if self.image is None:
            self.image = {name: self._platter(name) for name in self._durable}
        return self.image

    def _platter(self, name: str) -> bytes:
        content = bytearray(self._durable[name])
        for place, written in self._pending[name]:
            luck = self._random.random()
            if luck >= TORN or (luck >= LOST and written is None):
                _apply(content, place, written)
            elif luck >= LOST and written is not None:
                sectors = range(0, len(written) + 1, min(SECTOR, len(written)))
                _apply(content, place, written[: self._random.choice(sectors)])
        return bytes(content)

    # ------------------------------------------------------------ what SQLite calls

    def xOpen(self, name: Any, flags: list[int]) -> "PowerFile":  # noqa: N802 - SQLite's names
        path = Path(name if isinstance(name, str) else name.filename())
        if path.name not in self._durable:
            self._durable[path.name] = bytearray(path.read_bytes() if path.exists() else b"")
            self._pending[path.name] = []
        return PowerFile(self, path.name, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(name, syncdir)
        self._durable.pop(Path(name).name, None)
        self._pending.pop(Path(name).name, None)

    def written(self, name: str, place: int, what: bytes | None) -> None:
        """A write that no sync has made durable yet."""
        self.step()
        self._pending[name].append((place, what))

    def synced(self, name: str) -> None:
        """All writes to a file are on the platter.

        Raises:
            apsw.IOError: as asked for.
        """
        self.step()
        self.syncs += 1
        self.failing_sync -= 1
        if self.failing_sync < 0:
            raise apsw.IOError("EIO: the disk did not take it")
        for place, what in self._pending[name]:
            _apply(self._durable[name], place, what)
        self._pending[name].clear()

    def step(self) -> None:
        """Count an operation.

        Raises:
            apsw.IOError: the power is off.
        """
        if self.operations >= self._cut_at:
            self.cut()
            raise apsw.IOError("the power is off")
        self.operations += 1


class PowerFile(apsw.VFSFile):
    """One open file of a `PowerDisk`."""

    def __init__(self, disk: PowerDisk, name: str, path: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = name
        super().__init__("", path, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.written(self._name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.written(self._name, newsize, None)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        # The system's own sync is left out: what is durable is what this layer says.
        self._disk.synced(self._name)


def _apply(content: bytearray, place: int, what: bytes | None) -> None:
    if what is None:
        del content[place:]
        return
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    content[place : place + len(what)] = what


@contextmanager
def a_power_disk(seed: int = 0) -> Iterator[PowerDisk]:
    """A disk that is unplugged from SQLite afterwards."""
    disk = PowerDisk(seed)
    try:
        yield disk
    finally:
        disk.unregister()
