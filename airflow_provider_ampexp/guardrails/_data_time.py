"""Checks of a warehouse whose data arrive late: find the time up to which they are complete, and limit the result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult
from airflow_provider_ampexp.rollout._duration import format_duration
from airflow_provider_ampexp.rollout._vocabulary import Verdict

_CLOCK_ERROR = timedelta(minutes=5)
_log = logging.getLogger(__name__)


def check_with_complete_data(
    judge: Callable[[CheckContext], CheckResult],
    moment: CheckContext,
    loaded_until: datetime | None,
    load_timeout: timedelta,
    *,
    is_bounded: bool,
) -> CheckResult:
    """Judge only data that are complete, and pass only if they cover the whole soak.

    :param judge: the check itself
    :param loaded_until: the data are complete up to this time; ``None`` if the warehouse has no load yet
    :param load_timeout: how long after the soak the data may be late
    :param is_bounded: true if the query reads only data up to ``loaded_until``, so that it can fail before the end
    :raises ValueError: when the data are complete up to a time in the future, such as a local time without its zone
    :raises TimeoutError: when the data are later than ``load_timeout``
    """
    if loaded_until is not None and loaded_until > moment.now + _CLOCK_ERROR:
        raise ValueError(
            f"loaded_at_sql expected a time in the past, got {_shown(loaded_until)}, and it is {_shown(moment.now)}: a "
            "time without a zone is read as UTC"
        )
    moment = replace(moment, loaded_until=loaded_until)
    soak_ends = moment.soak_ends_at or moment.stage_started_at
    if moment.is_preflight or (loaded_until is not None and loaded_until >= soak_ends):
        return judge(moment)
    late = f"the warehouse is complete up to {_shown(loaded_until)}, and the soak ends at {_shown(soak_ends)}"
    if moment.now >= soak_ends + load_timeout:
        raise TimeoutError(f"{late}: expected the data within {format_duration(load_timeout)} (load_timeout)")
    if is_bounded and loaded_until is not None and loaded_until > moment.stage_started_at:
        result = judge(moment)
        if result.verdict != Verdict.PASS:
            return result
    return CheckResult(Verdict.INCONCLUSIVE, late, effect="wait")


def load_time(rows: Sequence[Sequence[object]]) -> datetime | None:
    """Return the time of the first column of the only row, in UTC. A time without a zone is UTC, with a warning.

    :returns: ``None`` for no row or ``NULL``
    :raises ValueError: when there is more than one row, or no time
    """
    if len(rows) > 1:
        raise ValueError(f"loaded_at_sql expected one row, got {len(rows)}")
    value = rows[0][0] if rows else None
    if value is None:
        return None
    if not _has_zone(value):
        _log.warning("loaded_at_sql: %r has no time zone, and is read as UTC. Add the zone in the query.", str(value))
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    if isinstance(value, date):  # complete up to the beginning of this day
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    found = parse_timestamp(value, default_zone=timezone.utc)
    if found is None:
        raise ValueError(f"loaded_at_sql expected a time, got {value!r}")
    return found


def _has_zone(value: object) -> bool:
    if isinstance(value, date):  # also a datetime
        return isinstance(value, datetime) and value.tzinfo is not None
    return parse_timestamp(value) is not None or parse_timestamp(value, default_zone=timezone.utc) is None


def _shown(moment: datetime | None) -> str:
    return "no time" if moment is None else f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
