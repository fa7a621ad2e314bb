"""A room's usual source: a recording, at the instants it was made, kept sensible once people have intervened.

It must not know clocks, files or who looks.
"""

from collections.abc import Iterator

from streamer.core.engine import Engine
from streamer.core.events import Input, Output
from streamer.core.state import State
from streamer.edge.recordings.adapt import Adapter
from streamer.edge.recordings.fixtures import Line


class Recorded:
    """Plays the rest of a recording; a `contract.Source`.

    Attributes:
        adapter: knows whether anybody intervened, and what the recording's numbers are on this floor.
        place: where the recording is to be read on from; all before has happened.
    """

    def __init__(self, lines: Iterator[tuple[int, Line]], state: State, place: int = 0) -> None:
        """`lines` are those behind `state`, which nobody has intervened in yet, and begin at `place`."""
        self.adapter = Adapter(state)
        self.place = place
        self._lines = lines
        self._next: tuple[int, Line] | None = None
        self._own: Input | None = None
        self._own_outputs: tuple[Output, ...] | None = None

    def due(self, engine: Engine, until_ms: int) -> Iterator[tuple[int, Input]]:
        """See `Source`."""
        while (found := self._peek()) is not None and found[1].at_ms <= until_ms:
            (self.place, line), self._next = found, None
            item = self.adapter.adapt(line.input, engine.state)
            self._own_outputs = None
            if item is not None:
                self._own = item
                yield line.at_ms, item
                self._own = None
            self.adapter.follow(line.input, engine.state, self._own_outputs)

    def learn(self, at_ms: int, item: Input, outputs: tuple[Output, ...]) -> None:
        """See `Source`."""
        if item is self._own:
            self._own_outputs = outputs
        else:
            self.adapter.touch(item, outputs)

    def says(self, item: Input) -> bool:
        """Whether this very input is the recording's, being handled now."""
        return item is self._own

    def next_ms(self) -> int | None:
        """See `Source`."""
        found = self._peek()
        return None if found is None else found[1].at_ms

    def _peek(self) -> tuple[int, Line] | None:
        if self._next is None:
            self._next = next(self._lines, None)
        return self._next
