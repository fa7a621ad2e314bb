"""Where the decisions of a recording and of its fork part, instant by instant.

It must not know why.
"""

from msgspec.structs import replace

from streamer.core.comparison import Decided, Difference, decided, first_difference
from streamer.core.events import Input
from streamer.sim.keeping import Numbers


class Parting:
    """Keeps what was decided in one instant in both worlds, until the first difference.

    Attributes:
        difference: that; None as long as there is none.
    """

    def __init__(self, numbers: Numbers) -> None:
        self.difference: Difference | None = None
        self._numbers = numbers
        self._recorded: list[Decided] = []
        self._forked: list[Decided] = []

    def recorded(self, at_ms: int, item: Input) -> None:
        """It took effect on the recorded floor."""
        self._note(self._recorded, at_ms, item)

    def forked(self, at_ms: int, item: Input) -> None:
        """It took effect on the fork's."""
        self._note(self._forked, at_ms, item)

    def compare(self) -> None:
        """The instant is over."""
        if self.difference is None and (self._recorded or self._forked):
            self.difference = first_difference([*map(self._renamed, self._recorded)], self._forked)
        self._recorded.clear()
        self._forked.clear()

    def _note(self, log: list[Decided], at_ms: int, item: Input) -> None:
        decision = decided(at_ms, item) if self.difference is None else None
        if decision is not None:
            log.append(decision)

    def _renamed(self, decision: Decided) -> Decided:
        numbers = self._numbers
        known = numbers.commands if decision.action == "undo" else numbers.orders
        return replace(decision, about=known.get(decision.about, decision.about))
