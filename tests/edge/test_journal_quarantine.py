"""The quarantine: what is in it can be seen, and what was mended can be tried again, once and for good."""

from contextlib import closing
from pathlib import Path

import pytest

from streamer.core.engine import Engine
from streamer.core.errors import ConfigurationError
from streamer.core.events import DriverRegistered, OrderCommand, Tick
from streamer.edge.journal import audit, layout, quarantine
from streamer.edge.journal.contract import Quarantined
from streamer.edge.journal.database import JournalReader
from streamer.edge.journal.quarantine import Retried
from streamer.edge.journal.recovery import recover
from streamer.edge.journal.sqlite import SqliteJournal
from tests.builders import MINUTE, T0, a_ping, an_order
from tests.edge.floor_kit import a_header, write_journal
from tests.edge.test_journal import a_history, change, read_back

LATER = T0 + 600 * MINUTE
POISON = Quarantined(T0, "KeyError('x')", DriverRegistered("d-poison", "Poison"))


def tried(folder: Path, *ids: int, at_ms: int = LATER) -> list[Retried]:
    with closing(JournalReader(folder)) as reader, closing(SqliteJournal(folder, a_header())) as journal:
        return list(quarantine.retry(journal, reader.connection, list(ids), at_ms))


def listed(folder: Path) -> list[tuple[int, str | None]]:
    with closing(JournalReader(folder)) as reader:
        return [(row.id, row.type) for row in quarantine.read(reader.connection)]


def test_the_list_says_what_when_and_why(tmp_path: Path) -> None:
    write_journal(tmp_path, [], POISON, Quarantined(T0 + 1, "ValueError('y')", Tick()))
    with closing(JournalReader(tmp_path)) as reader:
        first, second = quarantine.read(reader.connection)
    assert (first.id, first.at_ms, first.reason, first.type) == (1, T0, "KeyError('x')", "driver")
    assert (second.id, second.at_ms, second.type) == (2, T0 + 1, "tick")


def test_an_input_that_works_now_takes_effect_leaves_and_is_noted(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries, POISON)
    assert tried(tmp_path, 1) == [Retried(1, "taken")]
    assert listed(tmp_path) == []
    assert read_back(tmp_path)[-1].input == POISON.input
    assert read_back(tmp_path)[-1].at_ms == LATER
    with closing(JournalReader(tmp_path)) as reader:
        audit.verify(reader.connection)
        (note,) = reader.connection.execute("SELECT body FROM entry WHERE kind = 'quarantine_retried'")
        assert "d-poison" in recover(reader).engine.state.drivers
    assert b'"type":"driver"' in note[0]
    assert tried(tmp_path, 1) == [Retried(1, "unreadable", "there is no such row")]


def test_an_input_that_still_raises_stays_and_harms_nothing_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries, POISON, Quarantined(T0, "?", a_ping("d-1", LATER, seq=9_999)))
    handle = Engine.handle

    def spoiled(self: Engine, at_ms: int, item: object) -> object:
        if item == POISON.input:
            self.state.drivers.clear()
            raise KeyError("still")
        return handle(self, at_ms, item)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "handle", spoiled)
    assert tried(tmp_path, 1, 2) == [Retried(1, "raised", "KeyError('still')"), Retried(2, "taken")]
    assert listed(tmp_path) == [(1, "driver")]
    with closing(JournalReader(tmp_path)) as reader:
        assert recover(reader).engine.state.drivers
        assert recover(reader).engine.state.seq == len(entries) + 1


def test_an_input_that_is_refused_stays_with_the_reason(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries, Quarantined(T0, "?", OrderCommand("hold", "o-999", 1, "maya")))
    (outcome,) = tried(tmp_path, 1)
    assert outcome.fate == "refused"
    assert "o-999" in outcome.detail
    assert listed(tmp_path) == [(1, "command")]
    assert len(read_back(tmp_path)) == len(entries)


def test_what_had_taken_effect_meanwhile_is_not_done_twice(tmp_path: Path) -> None:
    _, entries = a_history()
    order = an_order(placed_ms=T0, due_ms=LATER, external_id="x-1", actor="shop")
    write_journal(tmp_path, entries, Quarantined(T0, "?", order))
    (outcome,) = tried(tmp_path, 1)
    assert outcome.fate == "refused"
    assert len(read_back(tmp_path)) == len(entries)


def test_a_ping_is_taken_again_with_its_verdict(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries, Quarantined(T0, "?", a_ping("d-1", LATER, seq=9_999)))
    assert tried(tmp_path, 1) == [Retried(1, "taken")]
    assert read_back(tmp_path)[-1].verdict is not None


def test_torn_bytes_are_listed_and_cannot_be_tried(tmp_path: Path) -> None:
    _, entries = a_history()
    write_journal(tmp_path, entries)
    change(tmp_path, "UPDATE entry SET body = zeroblob(4) WHERE seq = ?", entries[-1].seq)
    assert tried(tmp_path, 1) == [Retried(1, "unreadable", "it is no input")]
    assert listed(tmp_path) == [(1, None)]


def test_above_the_cap_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "QUARANTINE_ROWS", 5)
    write_journal(tmp_path, [], *[POISON] * 8)
    assert [row_id for row_id, _ in listed(tmp_path)] == [4, 5, 6, 7, 8]


def test_nothing_is_tried_while_a_floor_runs(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path, a_header())
    with pytest.raises(ConfigurationError, match="another program is running"):
        tried(tmp_path, 1)
    journal.close()
