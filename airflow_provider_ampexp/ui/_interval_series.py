"""The difference of users with and without the feature over time, as the page draws it. Pure: no I/O, no clock.

A check of a ``HoldbackGuardrail`` has its relative difference and the bounds of it in the record. A record of an older
version has no bounds, so its checks are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from airflow_provider_ampexp.rollout._vocabulary import RecordKind

_MOST_CHECKS = 100  # of a stage
_NUMBERS = ("value", "low", "high")


def interval_series(record: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the checks with bounds of each guardrail, by stage, oldest first.

    :returns: for each guardrail ``name``, ``worse``, ``at_most_worse`` and ``stages``: each with ``percentage`` and
        ``checks``, of which each has ``at``, ``value``, ``low``, ``high`` and ``verdict``. Differences are relative:
        -0.031 is 3.1 % lower.
    """
    checks: dict[str, list[Mapping[str, Any]]] = {}
    for line in record:
        if line.get("what") == RecordKind.CHECK and all(_is_number(line.get(name)) for name in _NUMBERS):
            checks.setdefault(str(line.get("name") or ""), []).append(line)
    return [_of_guardrail(name, lines) for name, lines in checks.items()]


def _of_guardrail(name: str, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    newest = lines[-1]
    acceptable = newest.get("at_most_worse")
    return {
        "name": name,
        "worse": "higher" if newest.get("worse") == "higher" else "lower",
        "at_most_worse": acceptable if _is_number(acceptable) else None,
        "stages": [
            {"percentage": percentage, "checks": [_check(line) for line in _thinned(list(of_stage))]}
            for percentage, of_stage in groupby(lines, key=lambda line: line.get("stage"))
        ],
    }


def _check(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"at": str(line.get("at")), "verdict": str(line.get("verdict")), **{name: line[name] for name in _NUMBERS}}


def _thinned(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return at most 100 checks of a stage, evenly spaced, with the first and the last."""
    step = (len(lines) - 1) / (_MOST_CHECKS - 1)
    return list(lines) if step <= 1 else [lines[round(place * step)] for place in range(_MOST_CHECKS)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
