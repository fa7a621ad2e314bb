"""The high-water mark: a small file that says how far the journal's commits went, so that a lost tail is noticed.

SQLite takes a cut or damaged -wal for the end of what was written, without a word. The mark is written after each
commit and so never runs ahead of it; it is not waited for, so after a power cut it may lag behind by what was committed
since the last checkpoint. It must not know what is done about a tail that is missing.
"""

import os
import zlib
from pathlib import Path
from struct import Struct as Packing

from msgspec import Struct

_FIELDS = Packing("<QQQ")
_CRC = Packing("<I")
_SLOT = 512
"""A disk writes so many bytes whole or not at all; two slots in turn, so that one is always good."""


class Mark(Struct, frozen=True, order=True):
    """The last sequence number, and how many notes follow it. `count` only says which mark is the newer one."""

    seq: int
    notes: int
    count: int = 0


class MarkFile:
    """The file `journal.mark`, beside the journal."""

    def __init__(self, path: Path) -> None:
        """Open it, making it (0600) when missing.

        Raises:
            OSError: it cannot be.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.found = _newer(os.pread(self._file, 2 * _SLOT, 0))
        """What it said when it was opened; None: nothing."""
        self._count = self.found.count if self.found else 0

    def write(self, seq: int, notes: int) -> None:
        """Say how far commits went; not waited for.

        Raises:
            OSError: it cannot be written.
        """
        self._count += 1
        fields = _FIELDS.pack(seq, notes, self._count)
        os.pwrite(self._file, fields + _CRC.pack(zlib.crc32(fields)), self._count % 2 * _SLOT)

    def sync(self) -> None:
        """Wait until it is on the disk.

        Raises:
            OSError: it never will be.
        """
        os.fdatasync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read_mark(path: Path) -> Mark | None:
    """What the file says; None if there is none, or nothing in it."""
    try:
        return _newer(path.read_bytes())
    except FileNotFoundError:
        return None


def _newer(content: bytes) -> Mark | None:
    marks = (_unpacked(content[place : place + _SLOT]) for place in (0, _SLOT))
    return max((mark for mark in marks if mark is not None), key=lambda mark: mark.count, default=None)


def _unpacked(slot: bytes) -> Mark | None:
    if len(slot) < _FIELDS.size + _CRC.size:
        return None
    fields = slot[: _FIELDS.size]
    (crc,) = _CRC.unpack_from(slot, _FIELDS.size)
    return Mark(*_FIELDS.unpack(fields)) if crc == zlib.crc32(fields) else None
