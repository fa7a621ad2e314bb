"""What the floor has learned from itself, as records of the state: stores, driving, and how well ETAs came true.

It must not know how any of it is learned or used: `learning` writes it, `forecast` reads it.
"""

from msgspec import Struct, field

from streamer.core.estimates import Moments, Quantiles

ASSIGNED_PRIOR, ABOARD_PRIOR = (-1.5, 4.5), (-1.5, 1.5)
"""Where 80 % of misses lie before a mall has any of its own, in predicted standard deviations. A normal one would lie
within 1.28; but the parts go wrong together, and until it leaves the mall a trip may still grow (assumed)."""


class Score(Struct):
    """Errors summed up in the order things happened: each was predicted before it was learned from.

    Source: Dawid 1984, "The prequential approach", doi:10.2307/2981683.
    """

    n: int = 0
    plain: float = 0.0
    """Of what is believed without learning: a store's promise (ms), the model's driving time (share of the actual)."""
    learned: float = 0.0

    def add(self, plain: float, learned: float) -> None:
        """Counts one prediction."""
        self.n += 1
        self.plain += abs(plain)
        self.learned += abs(learned)


class EtaScore(Struct):
    """How deliveries came out against what was said of them once; durations are sums, milliseconds."""

    n: int = 0
    inside: int = 0
    miss_ms: int = 0
    width_ms: int = 0


class StoreLearned(Struct):
    """How late one store is, ready less promised in ms: at any hour, by UTC hour; and how often it says so at all."""

    any_hour: Moments = field(default_factory=Moments)
    hours: dict[int, Moments] = field(default_factory=dict)
    speaks: Moments = field(default_factory=Moments)
    """1 for an order it reported ready before it was collected, 0 for one it did not."""
    score: Score = field(default_factory=Score)


class MallLearned(Struct):
    """What is known of one mall. Driving is log(actual / model): at any hour, by UTC hour, and by pair of hexes."""

    stores: dict[str, StoreLearned] = field(default_factory=dict)
    ready: Moments = field(default_factory=Moments)
    """Of all its stores."""
    ready_score: Score = field(default_factory=Score)
    leave: Moments = field(default_factory=Moments)
    """From the last pick-up to the mall's edge, less the walk out; ms."""
    drive: Moments = field(default_factory=Moments)
    drive_hours: dict[int, Moments] = field(default_factory=dict)
    drive_pairs: dict[str, Moments] = field(default_factory=dict)
    """What is left after the hour, by `FROM-TO` (H3, res 7); the pair driven longest ago stands first."""
    drive_score: Score = field(default_factory=Score)
    assigned: Quantiles = field(default_factory=lambda: Quantiles(*ASSIGNED_PRIOR))
    """Misses of ETAs said when an order was given to a driver, and below when it was collected."""
    aboard: Quantiles = field(default_factory=lambda: Quantiles(*ABOARD_PRIOR))


class Leg(Struct):
    """A driver on the way to a door: since when and from where, and where it has last been seen to move on."""

    at_ms: int
    lat: float
    lng: float
    assignment: int
    moved_ms: int
    moved_lat: float
    moved_lng: float


class Learned(Struct):
    """Everything learned, by mall, and the legs being driven, by driver."""

    malls: dict[str, MallLearned] = field(default_factory=dict)
    legs: dict[str, Leg] = field(default_factory=dict)

    def mall(self, mall_id: str) -> MallLearned:
        """What is known of a mall; kept from the first time it is asked for by somebody who learns."""
        return self.malls.setdefault(mall_id, MallLearned())


class SaidEta(Struct, frozen=True):
    """An ETA as it was said once: under which assignment, between when and when, and its standard deviation."""

    assignment: int
    eta_ms: int
    low_ms: int
    high_ms: int
    sd_ms: int


class Said(Struct, omit_defaults=True):
    """What was foretold of one order, kept until it has come true."""

    promise_ms: int | None = None
    """The store's promise that `ready_ms` was made of."""
    ready_ms: int | None = None
    assigned: SaidEta | None = None
    aboard: SaidEta | None = None
