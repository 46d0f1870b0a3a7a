"""The record of a rollout: one line for each write, check, warning and end, for an audit. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict

from airflow_provider_ampexp.rollout._analysis import Worse
from airflow_provider_ampexp.rollout._history import Exposure, ExposureChange, VersionEntry, exposure_changes
from airflow_provider_ampexp.rollout._own_steps import OwnSteps
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

# In this form, because "from" is a keyword of Python.
RecordLine = TypedDict(
    "RecordLine",
    {
        "id": str,
        "at": str,
        "what": str,
        "plan": str,
        "version": int,
        "percentage": float,
        "enabled": bool,
        "made_at": str,
        "from": float,
        "since": str,
        "to": float,
        "stage": float | None,
        "name": str,
        "verdict": str | None,
        "value": float | None,
        "low": float,
        "high": float,
        "worse": Worse,
        "at_most_worse": float | None,
        "why": str,
        "cause": str,
        "still_through": list[str],
        "rebuilt": bool,
        "by": str,
        "was": str,
        "approvers": list[str],
        "approved": bool,
        "answered_at": str,
    },
    total=False,
)
"""One line. ``id``, ``at`` and ``what`` are always there; docs/record.md describes each field."""

_MOST_LINES = 200
_MOST_CHARACTERS = 128 * 1024  # of the whole record as JSON: it lies in Airflow's database, in XCom and in deferrals
_LONGEST_TEXT = 1000
_SAME_FOR_ALL_TASKS = ("only", "approval")


def line_of(kind: RecordKind, at: datetime, more: RecordLine) -> RecordLine:
    """Make a line.

    :param at: the time, on the service's clock
    :param more: the other fields. A ``why`` of more than 1,000 characters is cut.
    :returns: the line with an ``id``. The id of a write is its version, so that the line of a dead attempt and the line
        that is rebuilt from the history have the same id. Any other id is a digest.
    """
    line: RecordLine = {"at": moment(at), "what": kind.value, **more}
    if len(line.get("why", "")) > _LONGEST_TEXT:
        line["why"] = f"{line['why'][:_LONGEST_TEXT]} ..."
    is_write = kind in (RecordKind.RAISE, RecordKind.ROLLBACK) and "version" in line
    return {"id": f"{kind}-{line['version']}" if is_write else _digest(line), **line}


def bounded(lines: tuple[RecordLine, ...]) -> tuple[RecordLine, ...]:
    """Return at most 200 lines and 128 KiB of JSON. Checks that repeat the checks around them are dropped first."""
    sizes = [len(json.dumps(line, default=str)) + 2 for line in lines]
    kept, total = list(lines), sum(sizes)
    while len(kept) > 1 and (len(kept) > _MOST_LINES or total > _MOST_CHARACTERS):
        place = _most_dispensable(kept)
        del kept[place]
        total -= sizes.pop(place)
    return tuple(kept)


def _most_dispensable(lines: Sequence[RecordLine]) -> int:
    """Return the place of the check that lies closest between two checks of its guardrail, stage and verdict.

    So the checks of each stage are thinned out evenly, and each change of a verdict is kept. Without such a check it is
    the oldest check, and without any check the oldest line.
    """
    checks: dict[object, list[int]] = {}
    for place, line in enumerate(lines):
        if line.get("what") == RecordKind.CHECK:
            checks.setdefault((line.get("name"), line.get("stage")), []).append(place)
    between: list[tuple[timedelta, int]] = []
    for places in checks.values():
        for before, place, after in zip(places, places[1:], places[2:], strict=False):
            if len({lines[index].get("verdict") for index in (before, place, after)}) == 1:
                apart = datetime.fromisoformat(lines[after]["at"]) - datetime.fromisoformat(lines[before]["at"])
                between.append((apart, place))
    if between:
        return min(between)[1]
    return min((places[0] for places in checks.values()), default=0)


def digest_of(plan: Mapping[str, Any]) -> str:
    """Return a short digest of a plan that ``RolloutPlan.as_json`` wrote. It is the same in all tasks of a group."""
    return _digest({name: value for name, value in plan.items() if name not in _SAME_FOR_ALL_TASKS})


def fields_before(before: Exposure, since: datetime) -> RecordLine:
    """Return the fields of the exposure before a step, and its start."""
    return {"from": before.percentage, "since": moment(since)}


def exposure_fields(exposure: Exposure, entry: VersionEntry | None) -> RecordLine:
    """Return the fields of the exposure after a step, and of the version of the step, if the history shows it."""
    line: RecordLine = {"percentage": exposure.percentage, "enabled": exposure.enabled}
    if entry is not None:
        line["version"] = entry.version
        if entry.at is not None:
            line["made_at"] = moment(entry.at)
    return line


def earlier_steps(
    plan: RolloutPlan, history: tuple[VersionEntry, ...], began: datetime | None, now: datetime
) -> Iterator[RecordLine]:
    """Rebuild the lines of earlier attempts of this task, oldest first: raises of its own stages, and rollbacks.

    :param began: the start of the run; without it nothing is rebuilt
    :param now: the time of a version that does not show one
    """
    steps, actor = OwnSteps(plan, history), None
    own = {stage.percentage for stage in plan.own_stages}
    for change in exposure_changes(history, began) if began is not None else ():
        if steps.could_make(change):
            actor = change.entry.by
            if change.after.percentage in own:
                yield _rebuilt(RecordKind.RAISE, change, now)
        elif change.lowers and change.entry.by == actor:
            yield _rebuilt(RecordKind.LOWERED, change, now)


def moment(at: datetime) -> str:
    """Format a time for the record: ISO 8601, to the second."""
    return at.isoformat(timespec="seconds")


def _rebuilt(kind: RecordKind, change: ExposureChange, now: datetime) -> RecordLine:
    more: RecordLine = {
        "from": change.before.percentage,
        "to": change.after.percentage,
        **exposure_fields(change.after, change.entry),
        "by": change.entry.by,
        "rebuilt": True,
    }
    return line_of(kind, change.entry.at or now, more)


def _digest(value: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
