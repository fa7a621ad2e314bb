"""The audit chain: each decision, order and log-in carries a hash over all before it, so a change shows.

It must not know what is audited or why; it sees rows. What it cannot show is a chain rewritten whole from some row on:
for that, keep heads (`mallard audit head`) outside the machine, and `verify` holds the chain against them.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

import apsw
import msgspec
from msgspec import Struct

from streamer.edge.journal import layout
from streamer.edge.journal.contract import JournalDamagedError, Note
from streamer.edge.journal.layout import CHAINED, EntryRow, select

GENESIS = bytes(32)
PROGRESS_EVERY = 5_000


class Head(Struct, frozen=True):
    """Where a chain ends: how many links, the last one's sequence number, its hash."""

    links: int = 0
    seq: int = 0
    link: bytes = GENESIS


class AuditError(JournalDamagedError):
    """The chain does not hold; `seq` is the first sequence number that is wrong."""

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(f"the audit chain breaks at seq {seq}: {reason}")
        self.seq = seq


def extend(head: Head, row: EntryRow, digest: bytes | None = None) -> Head:
    """The head after one more row: SHA-256 over the old hash, the row's columns, and the hash of its body.

    `digest` is that of the body as it was written, where it was erased since.

    Source: Crosby & Wallach, "Efficient Data Structures for Tamper-Evident Logging", USENIX Security 2009 (the plain
    chain there, without its tree).
    """
    columns = repr((head.links + 1, row.seq, row.note, row.at_ms, row.kind)).encode()
    digest = digest or sha256(row.body).digest()
    return Head(head.links + 1, row.seq, sha256(head.link + digest + columns).digest())


def redaction(row: EntryRow) -> tuple[str, str]:
    """How the note of an erasure names a row, and what the row's new body hashes to."""
    return f"{row.seq}.{row.note}", sha256(row.body).hexdigest()


def verify(
    connection: apsw.Connection, progress: Callable[[float], None] | None = None, heads: Iterable[Head] = ()
) -> Head:
    """Walks the whole chain and returns its head.

    Args:
        connection: to the journal.
        progress: is told the share done now and then.
        heads: that were read earlier and kept elsewhere; the chain must pass through each of them.

    Raises:
        AuditError: naming the first sequence number that was changed, taken out, put in or cut off.
    """
    head, kept = Head(), {each.links: each for each in heads if each.links}
    with connection:
        # One read transaction: a server may be writing meanwhile, and rows and head must be of one moment.
        stored = read_head(connection)
        redacted = layout.read_redacted(connection)
        unexplained: dict[str, str] = {}
        for number, row in enumerate(_chained(connection), 1):
            if progress is not None and number % PROGRESS_EVERY == 0:
                progress(min(1.0, number / max(1, stored.links)))
            if not row.intact():
                raise AuditError(row.seq, "the row is not what was written")
            digest = redacted.get((row.seq, row.note))
            if digest is not None:
                unexplained.update([redaction(row)])
            head = extend(head, row, digest)
            if row.link != head.link:
                raise AuditError(row.seq, "a row before it, or this one, was changed, taken out or put in")
            if kept.pop(number, head) != head:
                raise AuditError(row.seq, "the chain was written anew: it does not pass through a head kept elsewhere")
            if row.kind == "erased":
                _explain(unexplained, row)
    if unexplained:
        seq = min(int(place.partition(".")[0]) for place in unexplained)
        raise AuditError(seq, "the row was written anew, and no erasure says so")
    if stored != head:
        raise AuditError(head.seq + 1, f"the chain ends at {head.links} of {stored.links} links")
    if kept:
        raise AuditError(head.seq + 1, f"the chain ends at {head.links} links, a head kept elsewhere at {max(kept)}")
    return head


def _explain(unexplained: dict[str, str], row: EntryRow) -> None:
    """Takes out what the note of an erasure accounts for: the rows it names, as it left them."""
    detail = msgspec.json.decode(row.body, type=Note).detail
    for place, digest in detail.items():
        if unexplained.get(place) == digest:
            del unexplained[place]


def read_head(connection: apsw.Connection) -> Head:
    """The head as last committed."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'head'").fetchone()
    return msgspec.msgpack.decode(found[0], type=Head) if found else Head()


def write_head(connection: apsw.Connection, head: Head) -> None:
    """Store the head, inside the transaction that wrote its rows."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (msgspec.msgpack.encode(head),))


def last_link(connection: apsw.Connection) -> Head:
    """The head as the rows themselves have it: for a journal whose tail was cut."""
    found = next(
        select(connection, "SELECT seq, link FROM entry WHERE link IS NOT NULL ORDER BY seq DESC, note DESC LIMIT 1"),
        None,
    )
    if found is None:
        return Head()
    ((links,),) = select(connection, "SELECT count(*) FROM entry WHERE link IS NOT NULL")
    return Head(links, *found)


def _chained(connection: apsw.Connection) -> Iterator[EntryRow]:
    everything = select(connection, "SELECT seq, note, at_ms, kind, body, crc, link FROM entry ORDER BY seq, note")
    for row in everything:
        # A row whose link was emptied is still chained by its kind, and one with a foreign kind by its link.
        if row[3] in CHAINED or row[6] is not None:
            yield EntryRow(*row)
