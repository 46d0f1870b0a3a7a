"""Read and write times: the parser of ISO 8601, and the format for people.

``datetime.fromisoformat`` of Python 3.10 does not accept ``Z`` or offsets without a colon, and accepts only 3 or 6
digits of a second's fraction. This parser is the same on all versions of Python.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_MOMENT = (  # compiled at the first call: a parse of a DAG file makes none
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"(?:([Zz])|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?"
)


def parse_timestamp(value: object, *, default_zone: timezone | None = None) -> datetime | None:
    """Parse a time such as ``2023-07-29T03:32:49.594Z``, and return it in UTC.

    It accepts 0 to 9 digits of a second's fraction (digits after the sixth are dropped), ``Z``, and offsets with or
    without a colon.

    :param value: any JSON value
    :param default_zone: the zone of a time or a day without a zone; without it, such a value is invalid
    :returns: ``None`` if the value is invalid
    """
    found = re.fullmatch(_MOMENT, value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zulu, sign, hours, minutes = found.groups()
    zone: timezone | None = timezone.utc if zulu else default_zone
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            zone = timezone(-offset if sign == "-" else offset)
        if zone is None:
            return None
        microsecond = int(f"{fraction or '':0<6}"[:6])
        local = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), microsecond, zone
        )
        return local.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def format_timestamp(moment: datetime | None) -> str:
    """Return a time for a person: ``2023-07-29 03:32:49Z``."""
    return "an unknown time" if moment is None else f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%SZ}"
