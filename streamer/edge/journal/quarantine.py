"""The inputs that were set aside because a handler raised: looking at them, and trying them again.

It must not know who asks, nor mend anything: an input is tried as it came.
"""

from collections.abc import Iterator
from typing import Literal

import apsw
import msgspec
from msgspec import Struct

from streamer.core.engine import Engine
from streamer.core.events import Input, Output, Ping, PingTaken, Refused
from streamer.edge.journal import layout
from streamer.edge.journal.contract import Entry, Note, Released
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal

Fate = Literal["taken", "refused", "raised", "unreadable"]
_inputs = msgspec.json.Decoder(Input)


class SetAside(Struct, frozen=True):
    """One row of the quarantine. `type` is that of the input, None when the bytes are none: a torn tail."""

    id: int
    at_ms: int
    reason: str
    type: str | None
    bytes: int


class Retried(Struct, frozen=True):
    """What became of an input that was tried again; `detail` says why it is still in the quarantine."""

    id: int
    fate: Fate
    detail: str = ""


def read(connection: apsw.Connection) -> Iterator[SetAside]:
    """What is in the quarantine, oldest first."""
    for row_id, at_ms, reason, body in layout.select(
        connection, "SELECT id, at_ms, reason, body FROM quarantine ORDER BY id"
    ):
        item = _decoded(body)
        kind = None if item is None else str(item.__struct_config__.tag)
        yield SetAside(row_id, at_ms, reason, kind, len(body))


def count(connection: apsw.Connection) -> int:
    """How many rows are in the quarantine."""
    ((rows,),) = layout.select(connection, "SELECT count(*) FROM quarantine")
    return int(rows)


def retry(journal: SqliteJournal, connection: apsw.Connection, ids: list[int], at_ms: int) -> Iterator[Retried]:
    """Submit quarantined inputs again, each at `at_ms` or the state's instant if that is later.

    One that takes effect is committed together with a note and its removal; any other stays where it is.

    Args:
        journal: held, and not started.
        connection: reads the same journal.

    Raises:
        StorageError: the journal cannot be read or written.
    """
    engine = recover(journal).engine
    for row_id in ids:
        found = connection.execute("SELECT body FROM quarantine WHERE id = ?", (row_id,)).fetchone()
        item = _decoded(found[0]) if found else None
        if item is None:
            yield Retried(row_id, "unreadable", "it is no input" if found else "there is no such row")
            continue
        outcome = _submit(journal, engine, row_id, item, max(at_ms, engine.state.at_ms))
        if outcome.fate == "raised":
            # The engine may be half-way through it.
            engine = recover(journal).engine
        yield outcome


def _submit(journal: SqliteJournal, engine: Engine, row_id: int, item: Input, at_ms: int) -> Retried:
    seq = engine.state.seq
    try:
        outputs = engine.handle(at_ms, item)
    except Exception as error:
        return Retried(row_id, "raised", repr(error))
    if engine.state.seq == seq:
        return Retried(row_id, "refused", _why(outputs))
    verdict = outputs[0].verdict if isinstance(item, Ping) and isinstance(outputs[0], PingTaken) else None
    detail = {"id": str(row_id), "type": str(item.__struct_config__.tag)}
    note = Note(at_ms, "quarantine_retried", "mallard quarantine retry", detail)
    journal.commit_now([Entry(seq + 1, at_ms, item, verdict), note, Released(row_id)])
    return Retried(row_id, "taken")


def _why(outputs: tuple[Output, ...] | list[Output]) -> str:
    refusal = next((output for output in outputs if isinstance(output, Refused)), None)
    return f"{refusal.code}: {refusal.message}" if refusal else "it had taken effect already"


def _decoded(body: bytes) -> Input | None:
    try:
        item: Input = _inputs.decode(body)
        return item
    except msgspec.DecodeError:
        return None
