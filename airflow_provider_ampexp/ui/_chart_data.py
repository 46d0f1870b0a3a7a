"""The percentage of a flag over time, for the chart. Pure: no I/O, no clock, no Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_ampexp.rollout._history import VersionEntry, exposure_changes
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

_MARKED = (RecordKind.CHECK, RecordKind.ROLLBACK, RecordKind.NOT_LOWERED, RecordKind.STOP)


def exposure_series(history: tuple[VersionEntry, ...], now: datetime) -> dict[str, Any]:
    """Return the percentage over time, each step with its actor, and when the flag was disabled.

    :param history: newest first
    :returns: ``points`` (each ``at`` and ``percentage``, until now), ``steps`` (each change with its actor), and
        ``off`` (each start and end)
    """
    known = [entry for entry in reversed(history) if entry.exposure is not None and entry.at is not None]
    points: list[dict[str, Any]] = []
    off: list[list[str]] = []
    for place, entry in enumerate(known):
        if entry.exposure is None or entry.at is None:
            continue
        following = known[place + 1].at if place + 1 < len(known) else now
        points.append({"at": _text(entry.at), "percentage": entry.exposure.percentage})
        if not entry.exposure.enabled and following is not None:
            if off and off[-1][1] == _text(entry.at):
                off[-1][1] = _text(following)
            else:
                off.append([_text(entry.at), _text(following)])
    if points:
        points.append({"at": _text(now), "percentage": points[-1]["percentage"]})
    return {"points": points, "steps": _steps(history), "off": off}


def chart_marks(record: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the verdicts of guardrails and the end of the rollout, as marks on the chart."""
    return [
        {
            "at": str(line.get("at")),
            "what": str(line.get("verdict") if line.get("what") == RecordKind.CHECK else line.get("what")),
            "name": str(line.get("name") or ""),
            "why": str(line.get("why") or ""),
            "percentage": line.get("stage", line.get("from")),
        }
        for line in record
        if line.get("what") in _MARKED
    ]


def _steps(history: tuple[VersionEntry, ...]) -> list[dict[str, Any]]:
    return [
        {
            "at": _text(change.entry.at),
            "version": change.entry.version,
            "by": change.entry.by,
            "from": str(change.before),
            "to": str(change.after),
            "percentage": change.after.percentage,
            "is_enabled": change.after.enabled,
        }
        for change in exposure_changes(history)
        if change.entry.at is not None
    ]


def _text(at: datetime | None) -> str:
    return at.isoformat() if at else ""
