"""Which instant of a recording is meant by a number, or by the time on the clock of its first mall.

It must not know what is in the recording beyond its header.
"""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from streamer.core.errors import ConfigurationError
from streamer.core.malls import parse_malls
from streamer.edge.recordings.fixtures import Header
from streamer.edge.recordings.replay import FIRST_INSTANT_MS


def instant_at(header: Header, text: str) -> int:
    """UTC epoch milliseconds of `text`: such an instant, milliseconds since play began, or HH:MM (or HH:MM:SS) on the
    clock of the recording's first mall, the first time it shows that from the beginning of play on.

    Raises:
        ConfigurationError: it is neither.
        MallFileError: the malls in the header are none.
    """
    if ":" in text:
        return _on_the_clock(header, text)
    try:
        number = int(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is neither milliseconds nor a time of the day as HH:MM") from None
    return number if number >= FIRST_INSTANT_MS else header.start_ms + number


def _on_the_clock(header: Header, text: str) -> int:
    mall = next(iter(parse_malls(header.malls).malls.values()))
    try:
        shown = time.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no time of the day as HH:MM") from None
    start = datetime.fromtimestamp(header.start_ms / 1000, UTC).astimezone(ZoneInfo(mall.timezone))
    meant = datetime.combine(start.date(), shown, start.tzinfo)
    if meant < start:
        meant += timedelta(days=1)
    return round(meant.timestamp() * 1000)
