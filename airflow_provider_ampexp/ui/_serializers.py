"""Flags and rollouts as JSON for the page. Pure: no I/O, no clock, no Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.client._optional_fields import config_of, tags_of, version_number
from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.history._field_changes import Row, rows_of
from airflow_provider_ampexp.rollout._audience import AudienceFields
from airflow_provider_ampexp.rollout._history import FlagSnapshot, exposure_of, read_history
from airflow_provider_ampexp.ui._chart_data import chart_marks, exposure_series
from airflow_provider_ampexp.ui._forecast import remaining_stages
from airflow_provider_ampexp.ui._interval_series import interval_series
from airflow_provider_ampexp.ui._manual_actions import manual_actions
from airflow_provider_ampexp.ui._phase import Reason
from airflow_provider_ampexp.ui._rollout_status import RolloutStatus, status_of
from airflow_provider_ampexp.ui._rollout_tasks import Rollout, latest
from airflow_provider_ampexp.ui._stages import stages_of

_LONGEST = 2000  # characters of one value; a description can be any length
_MOST_SEGMENTS = 20
_NO_NAME = "(no name)"


def list_item(kind: Kind, config: FlagConfig, url: str, rollouts: Iterable[Rollout], now: datetime) -> dict[str, Any]:
    """Return a flag or experiment for the list, without its description: a thousand of them would be megabytes."""
    rollout = latest(rollouts)
    seen = _seen(config, (), rollout) if rollout else None
    return {
        **_named(kind, config, url),
        "percentage": config.get("rolloutPercentage"),
        "segments": _segments(config),
        "changed_at": _text(config.get("lastModifiedAt") or config.get("createdAt")),
        "changed_by": actor_name(config.get("lastModifiedBy"), "") or actor_name(config.get("createdBy"), ""),
        "rollout": None if rollout is None else _rollout(rollout, seen, status_of(rollout, seen, now)),
    }


def flag_detail(
    kind: Kind, flag_id: str, versions: Iterable[Version], url: str, rollouts: Iterable[Rollout], now: datetime
) -> dict[str, Any]:
    """Return all data of one flag or experiment."""
    listed = sorted(versions, key=version_number, reverse=True)
    newest: FlagConfig = {**config_of(listed[0]), "id": flag_id} if listed else {"id": flag_id}
    rollout = latest(rollouts)
    # The history has segments by their names.
    segments = [None, *(name for segment in _segments(newest) if (name := segment["name"]) != _NO_NAME)]
    return {
        **_named(kind, newest, url),
        "description": _cut(newest.get("description") or ""),
        "percentage": newest.get("rolloutPercentage"),
        "segments": _segments(newest),
        "variants": _variants(newest),
        "pictures": [{"segment": name, **exposure_series(read_history(listed, name), now)} for name in segments],
        "marks": chart_marks(rollout.record) if rollout else [],
        "intervals": interval_series(rollout.record) if rollout else [],
        "rollout": None if rollout is None else _rollout_in_full(rollout, _seen(newest, listed, rollout), now),
        "versions": _versions(kind, flag_id, listed),
        "now": now.isoformat(),
    }


def diff_versions(
    kind: Kind, flag_id: str, versions: Iterable[Version], numbers: tuple[int, int]
) -> list[dict[str, Any]]:
    """List what differs between two versions.

    :raises LookupError: names the version that does not exist
    """
    found = {version_number(version): version for version in versions}
    for number in numbers:
        if number not in found:
            raise LookupError(f"Comparing versions failed: version {number} does not exist. Choose another version.")
    # The numbers are their order here, so that any two can be compared in either direction.
    pair: list[Version] = [{**found[number], "version": place} for place, number in enumerate(numbers, 2)]
    return [_change(row) for row in rows_of(kind, flag_id, pair)]


def _named(kind: Kind, config: FlagConfig, url: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": config["id"],
        "key": str(config.get("key") or config["id"]),
        "name": _cut(config.get("name") or "", 200),
        "project": config.get("projectId"),
        "enabled": config.get("enabled"),
        "archived": bool(config.get("deleted")),
        "state": config.get("state"),
        "decision": config.get("decision"),
        "tags": [tag[:100] for tag in tags_of(config) or ()][:20],
        "url": url if url.startswith(("https://", "http://")) else "",
    }


def _seen(config: FlagConfig, versions: Iterable[Version], rollout: Rollout) -> FlagSnapshot | None:
    segment = rollout.plan.segment
    exposure = exposure_of(config, segment)
    if exposure is None:
        return None
    tags = tags_of(config) or ()
    history, audience = read_history(versions, segment), AudienceFields.of(config, segment)
    if history:
        audience = history[0].audience.over(audience)
    return FlagSnapshot(exposure, bool(config.get("deleted")), history, tags, audience)


def _rollout_in_full(rollout: Rollout, seen: FlagSnapshot | None, now: datetime) -> dict[str, Any]:
    """Return a rollout with its stages, and with the effect of each manual action in Airflow."""
    here = status_of(rollout, seen, now)
    remaining = remaining_stages(rollout.plan, here, seen, now)
    return {
        **_rollout(rollout, seen, here),
        "plan": stages_of(rollout, here, _reached(rollout, seen), remaining),
        "ahead": [[percentage, _moment(at)] for percentage, at in remaining.stages],
        "end": _moment(remaining.end),
        "manual_actions": [action._asdict() for action in manual_actions(rollout, seen, now)],
    }


def _rollout(rollout: Rollout, seen: FlagSnapshot | None, here: RolloutStatus) -> dict[str, Any]:
    task, plan, reason = rollout.task, rollout.plan, here.reason
    return {
        "phase": reason.phase.value,
        "colour": reason.phase.colour,
        "reason": reason.value,
        "label": reason.label,
        "why": here.why,
        "since": _moment(here.since),
        "next": here.next,
        "when": _moment(here.when),
        "next_step": f"{reason.next_step} {plan.hold_tag}" if reason is Reason.TAG else reason.next_step,
        "is_over": rollout.is_over,
        "stage": here.stage,
        "stages": len(plan.all_stages),
        "stands_since": _moment(here.stands_since),
        "segment": plan.segment,
        "rollback": plan.rollback,
        "dag_id": task.dag_id,
        "run_id": task.run_id,
        "task_id": task.task_id,
        "map_index": task.map_index,
        "began": _moment(rollout.began(seen) if seen else task.began),
        "reached": _reached(rollout, seen),
    }


def _reached(rollout: Rollout, seen: FlagSnapshot | None) -> float | None:
    """Return the highest stage that was set, by the record, otherwise by the percentage of the flag."""
    if rollout.reached is not None or seen is None:
        return rollout.reached
    stages = [
        stage.percentage for stage in rollout.plan.all_stages if stage.percentage <= seen.exposure.effective_percentage
    ]
    return max(stages, default=None)


def _segments(config: FlagConfig) -> list[dict[str, Any]]:
    segments = [segment for segment in config.get("targetSegments") or [] if isinstance(segment, Mapping)]
    return [
        {"name": str(segment.get("name") or _NO_NAME)[:200], "percentage": segment.get("percentage")}
        for segment in segments[:_MOST_SEGMENTS]
    ]


def _variants(config: FlagConfig) -> list[dict[str, Any]]:
    weights = config.get("rolloutWeights") or {}
    return [
        {
            "key": str(variant.get("key")),
            "name": _cut(variant.get("name") or "", 200),
            "weight": variant.get("rolloutWeight", weights.get(str(variant.get("key")))),
        }
        for variant in config.get("variants") or []
        if isinstance(variant, Mapping)
    ]


def _versions(kind: Kind, flag_id: str, listed: list[Version]) -> list[dict[str, Any]]:
    """Return each version with its author and its changes, newest first."""
    rows: dict[int, list[Row]] = {}
    for row in rows_of(kind, flag_id, listed):
        rows.setdefault(row["version"], []).append(row)
    return [
        {
            "version": version_number(version),
            "at": _text(version.get("createdAt")),
            "by": actor_name(version.get("createdBy"), ""),
            "changes": [_change(row) for row in rows.get(version_number(version), [])],
        }
        for version in listed
    ]


def _change(row: Row) -> dict[str, Any]:
    return {"field": row["field"], "from": _value(row["from"]), "to": _value(row["to"])}


def _value(value: Any) -> str | None:
    return None if value is None else _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _cut(text: Any, longest: int = _LONGEST) -> str:
    text = str(text)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest} characters more)"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
