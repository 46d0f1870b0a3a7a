"""The emulator's clock, which tests can move."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Annotated

from pydantic import Field

FARTHEST = 100 * 365.25 * 86400
"""The largest difference from the machine's time in seconds. Much later dates have no representation."""

OffsetSeconds = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST, allow_inf_nan=False)]


class Clock:
    """The machine's time plus an offset. The ``Date`` header, versions and the day's limit follow it."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._speed = 1.0
        self._since = time.time()

    @property
    def offset(self) -> float:
        """The difference from the machine's time in seconds."""
        return self._offset + (self._speed - 1) * (time.time() - self._since)

    @offset.setter
    def offset(self, seconds: float) -> None:
        """Set the difference.

        :raises ValueError: beyond ``FARTHEST``
        """
        if not abs(seconds) <= FARTHEST:
            raise ValueError(f"the clock would be {seconds:g} s from the machine's time, more than {FARTHEST:g} s")
        self._offset, self._since = seconds, time.time()

    @property
    def is_moved(self) -> bool:
        """Return true if the clock differs from the machine's, or runs at another speed."""
        return self._offset != 0 or self._speed != 1

    def run(self, speed: float) -> None:
        """Set the speed: the number of emulator seconds in each second."""
        self._offset, self._since = self.offset, time.time()
        self._speed = speed

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock; negative seconds move it back."""
        self.offset += seconds

    def stamp(self) -> str:
        """Return the time in the contract's form: ``2023-07-29T03:32:49.594Z``."""
        return iso(datetime.fromtimestamp(self.now(), timezone.utc))

    def day(self) -> str:
        """Return the day in UTC in the form of ``startDate``: ``2023-07-29``."""
        return self.stamp()[:10]

    def http_date(self, wrong_by: float = 0.0) -> str:
        """Return the time as a ``Date`` header.

        :param wrong_by: seconds to add, as a proxy with a wrong clock does
        """
        return formatdate(max(0.0, self.now() + wrong_by), usegmt=True)

    def seconds_to_midnight(self) -> int:
        """Return the whole seconds until midnight UTC, at least 1."""
        return max(1, 86400 - int(self.now()) % 86400)


def iso(moment: datetime) -> str:
    """Format a time in UTC with milliseconds and ``Z``."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """Parse an ISO 8601 date or time, in UTC without a zone. Raises ``ValueError``."""
    # Python 3.10 does not accept "Z", or fractions of other lengths than 3 or 6: `T10:26:00.9Z` is an error there.
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
