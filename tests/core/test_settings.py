"""Settings that would break the floor are refused when they are read."""

import msgspec
import pytest

from streamer.core.settings import Settings


@pytest.mark.parametrize(
    "given",
    [
        {"tick_ms": 0}, {"tick_ms": -5}, {"travel": {"local_mps": 0}}, {"pings": {"future_mss": 5}}, {"silent": 1},
        {"fences": {"confirm_fixes": 0}}, {"fences": {"point_radius_m": 0}}, {"travel": {"circuity": 0.2}},
    ],
)  # fmt: skip
def test_bad_setting_is_named(given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Settings)


def test_no_setting_at_all_is_the_default() -> None:
    assert msgspec.convert({}, Settings) == Settings()
