"""Read and format durations: a ``timedelta``, or a text such as ``"30m"`` or ``"1d 12h"``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

from airflow_provider_ampexp._validate import InvalidInputError

DurationLike: TypeAlias = timedelta | int | float | str

LONGEST = timedelta(days=3650)
"""A longer duration is a slip, and ``datetime`` cannot count far beyond it."""

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_TEXT = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*([dhms])\s*)+", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])", re.IGNORECASE)


def parse_duration(field: str, value: object) -> timedelta:
    """Read a duration of 0 or more.

    A bare number is refused, except 0: 12 may mean seconds or hours, and a soak that is too short exposes all users.

    :raises InvalidInputError: names the field
    """
    duration = _parse(value)
    if duration is None:
        raise InvalidInputError(field, f"{value!r} is not a length of time such as timedelta(hours=2) or '2h'")
    if duration < timedelta(0):
        raise InvalidInputError(field, f"must not be negative, got {value!r}")
    if duration and not isinstance(value, timedelta) and not _has_unit(value):
        raise InvalidInputError(field, f"{value} has no unit; write '{value}s', '{value}m', '{value}h' or '{value}d'")
    return _bounded(field, value, duration)


def parse_positive_duration(field: str, value: object) -> timedelta:
    """Read a duration of more than 0.

    :raises InvalidInputError: names the field
    """
    duration = parse_duration(field, value)
    if not duration:
        raise InvalidInputError(field, "must be greater than zero")
    return duration


def interval(field: str, value: object) -> float:
    """Read the time between two polls, in seconds: a number of seconds, or what :func:`parse_duration` takes.

    :raises InvalidInputError: names the field; also when it is 0
    """
    duration = _parse(value)
    if duration is None or duration <= timedelta(0):
        raise InvalidInputError(field, f"expected more than 0 seconds, such as 60 or '1m', got {value!r}")
    return _bounded(field, value, duration).total_seconds()


def format_duration(duration: timedelta) -> str:
    """Write a duration as a person says it: ``10 minutes``, ``36 hours``, ``1.5 seconds``."""
    seconds = duration.total_seconds()
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, length = next((unit for unit in units if seconds and seconds % unit[1] == 0), units[-1])
    count = seconds / length
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def _bounded(field: str, value: object, duration: timedelta) -> timedelta:
    if duration > LONGEST:
        raise InvalidInputError(field, f"expected at most {LONGEST.days} days, got {value!r}")
    return duration


def _has_unit(value: object) -> bool:
    return isinstance(value, str) and _TEXT.fullmatch(value) is not None


def _parse(value: object) -> timedelta | None:
    """Return ``None`` for what is no duration, and :data:`timedelta.max` for what Python cannot count."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, str) and _TEXT.fullmatch(value):
            parts = _PART.findall(value)
            return sum((timedelta(**{_UNITS[unit.lower()]: float(number)}) for number, unit in parts), timedelta())
        return timedelta(seconds=float(value))  # type: ignore[arg-type]
    except OverflowError:
        return timedelta.max if _has_unit(value) or (isinstance(value, int | float) and value > 0) else None
    except (TypeError, ValueError):
        return None
