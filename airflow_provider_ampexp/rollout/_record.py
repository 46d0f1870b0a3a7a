"""The record of a rollout: one line for each thing that was done, measured or found, for an audit. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypedDict

from airflow_provider_ampexp.rollout._history import Exposure, ExposureChange, VersionEntry, exposure_changes
from airflow_provider_ampexp.rollout._own_steps import OwnSteps
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

# In this form, since "from" is a word of Python.
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
"""One line. ``id``, ``at`` and ``what`` are always there; docs/record.md says what each field means."""

_MOST_LINES = 200
_MOST_CHARACTERS = 128 * 1024  # of the whole record as JSON: it lies in Airflow's database, in XCom and in deferrals
_LONGEST_TEXT = 1000
_SAME_FOR_ALL_TASKS = ("only", "approval")


def line_of(kind: RecordKind, at: datetime, more: RecordLine) -> RecordLine:
    """Make a line.

    :param at: when it happened, on the service's clock
    :param more: what there is to say besides. A ``why`` of more than 1,000 characters is cut.
    :returns: with an ``id``: of a write its version, so that the line of a dead attempt and the one that is rebuilt
        from the history are the same; of anything else a digest
    """
    line: RecordLine = {"at": moment(at), "what": kind.value, **more}
    if len(line.get("why", "")) > _LONGEST_TEXT:
        line["why"] = f"{line['why'][:_LONGEST_TEXT]} ..."
    is_write = kind in (RecordKind.RAISE, RecordKind.ROLLBACK) and "version" in line
    return {"id": f"{kind}-{line['version']}" if is_write else _digest(line), **line}


def bounded(lines: tuple[RecordLine, ...]) -> tuple[RecordLine, ...]:
    """The newest 200 lines, and 128 KiB as JSON, at most. The oldest checks are given up first."""
    sizes = [len(json.dumps(line, default=str)) + 2 for line in lines]
    kept, total = list(lines), sum(sizes)
    while len(kept) > 1 and (len(kept) > _MOST_LINES or total > _MOST_CHARACTERS):
        place = next((place for place, line in enumerate(kept) if line.get("what") == RecordKind.CHECK), 0)
        del kept[place]
        total -= sizes.pop(place)
    return tuple(kept)


def digest_of(plan: Mapping[str, Any]) -> str:
    """A short digest of a plan that ``RolloutPlan.as_json`` wrote; the same in all tasks of a group."""
    return _digest({name: value for name, value in plan.items() if name not in _SAME_FOR_ALL_TASKS})


def from_exposure(before: Exposure, since: datetime) -> RecordLine:
    """Where a flag stood before a step, and since when."""
    return {"from": before.percentage, "since": moment(since)}


def stands_at(position: Exposure, entry: VersionEntry | None) -> RecordLine:
    """Where a flag stands after a step, and the version that the step made, as far as the history shows it."""
    line: RecordLine = {"percentage": position.percentage, "enabled": position.enabled}
    if entry is not None:
        line["version"] = entry.version
        if entry.at is not None:
            line["made_at"] = moment(entry.at)
    return line


def earlier_steps(
    plan: RolloutPlan, history: tuple[VersionEntry, ...], began: datetime | None, now: datetime
) -> Iterator[RecordLine]:
    """Rebuild what earlier attempts of this task did, oldest first: raises of its own stages, and lowerings after them.

    :param began: since when; nothing is rebuilt where that is not known
    :param now: stands in where a version does not show its time
    """
    steps, hand = OwnSteps(plan, history), None
    own = {stage.percentage for stage in plan.own_stages}
    for change in exposure_changes(history, began) if began is not None else ():
        if steps.could_make(change):
            hand = change.entry.by
            if change.after.percentage in own:
                yield _rebuilt(RecordKind.RAISE, change, now)
        elif change.lowers and change.entry.by == hand:
            yield _rebuilt(RecordKind.LOWERED, change, now)


def moment(at: datetime) -> str:
    """A moment as the record writes it: ISO 8601, to the second."""
    return at.isoformat(timespec="seconds")


def _rebuilt(kind: RecordKind, change: ExposureChange, now: datetime) -> RecordLine:
    more: RecordLine = {
        "from": change.before.percentage,
        "to": change.after.percentage,
        **stands_at(change.after, change.entry),
        "by": change.entry.by,
        "rebuilt": True,
    }
    return line_of(kind, change.entry.at or now, more)


def _digest(value: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
