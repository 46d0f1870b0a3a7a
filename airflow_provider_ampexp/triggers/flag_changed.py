"""The trigger of an ``AssetWatcher``: it starts a DAG when a flag changes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.history._field_changes import CREATED, Row, rows_of
from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
from airflow_provider_ampexp.listeners.watermark import TOLD
from airflow_provider_ampexp.polling._flag_watch import watch_flag
from airflow_provider_ampexp.rollout._duration import interval
from airflow_provider_ampexp.triggers._watermark import load_watermark, save_watermark

if TYPE_CHECKING:
    from airflow_provider_ampexp.client.types import FlagConfig, Json, Version

__all__ = ["AmplitudeFlagChangedTrigger"]

FIELDS = ("rolloutPercentage", "enabled", "deleted", "state", "decision")
_COMMIT_GRACE = 10.0


class AmplitudeFlagChangedTrigger(BaseEventTrigger):
    """Send an event for each version of a flag or experiment that changes one of some fields.

    The trigger reports no change before its first poll, and misses no change after it, also while the triggerer is
    down: it reads the version history from the last reported version. The event is::

        {"kind": "flags", "id": "848347", "key": "search", "project_id": "100001", "version": 7,
         "at": "2026-03-01T13:40:00.000Z", "by": "Maria",
         "changes": {"rolloutPercentage": {"from": 25, "to": 100}}}

    In a DAG the event is ``context["triggering_asset_events"][asset][0].extra["payload"]``. All watchers, sensors and
    soaks of a connection share one poll, with at most 1 request for each 1,000 flags. A changed flag takes 1 more.

    Exactly one of the first four arguments is required.

    :param flag_key: the key of a flag
    :param flag_id: the id of a flag
    :param experiment_key: the key of an experiment
    :param experiment_id: the id of an experiment
    :param project_id: the project of the key; default: the connection's
    :param amplitude_conn_id: the connection
    :param fields: the fields to watch, in the API's spelling, or a part of a field as a path (``rolloutWeights.on``,
        ``targetSegments[Beta].percentage``); default: percentage, enabled, archived, state and decision
    :param to: only changes that bring a field to this value, such as ``{"rolloutPercentage": 100}``, instead of
        ``fields``
    :param poll_interval: seconds between two polls; default 30
    :raises InvalidInputError: when Airflow parses the DAG and an argument is invalid
    """

    def __init__(
        self,
        *,
        flag_key: str | None = None,
        flag_id: str | None = None,
        experiment_key: str | None = None,
        experiment_id: str | None = None,
        project_id: str | None = None,
        amplitude_conn_id: str = AmplitudeExperimentHook.default_conn_name,
        fields: Sequence[str] | None = None,
        to: Mapping[str, Json] | str | None = None,
        poll_interval: float | timedelta | str = 30.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        ways = {
            "flag_key": flag_key,
            "flag_id": flag_id,
            "experiment_key": experiment_key,
            "experiment_id": experiment_id,
        }
        named = None if project_id is None else validate.identifier("project_id", project_id)
        self.target = FlagRef.of(**ways, project_id=named)
        if to is not None and fields is not None:
            raise InvalidInputError("fields", "expected fields or to, got both")
        if isinstance(fields, str) or (fields is not None and not fields):
            raise InvalidInputError("fields", f"expected a list of fields, got {fields!r}")
        self.amplitude_conn_id = amplitude_conn_id
        self.to: dict[str, Json] = {} if to is None else _wanted(to)
        self.fields = list(self.to or fields or FIELDS)
        self.poll_interval = interval("poll_interval", poll_interval)
        self._ways = {way: value for way, value in ways.items() if value is not None}
        self._seen: FlagConfig | None = None
        self._told: int | None = None
        self._telling: list[tuple[float, int]] = []
        self._is_plugin_missed = False
        self._complained: str | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments of this trigger as JSON values."""
        return (
            "airflow_provider_ampexp.triggers.flag_changed.AmplitudeFlagChangedTrigger",
            {
                **self._ways,
                "project_id": self.target.project_id,
                "amplitude_conn_id": self.amplitude_conn_id,
                # As a text: Airflow 3.2 returns a mapping in its stored form.
                **({"to": json.dumps(self.to)} if self.to else {"fields": self.fields}),
                "poll_interval": self.poll_interval,
            },
        )

    @property
    def key(self) -> str:
        """The key of the watermark. Another target or other fields have another key."""
        what = [self._ways, self.target.project_id, self.amplitude_conn_id, sorted(self.fields), self.to]
        text = json.dumps(what, sort_keys=True)
        return f"amplitude_experiment_told_{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the flag, and yield its changes."""
        async for config in watch_flag(self.amplitude_conn_id, self.target, self.poll_interval):
            async for event in self._news(config):
                yield event

    async def _news(self, config: FlagConfig) -> AsyncIterator[TriggerEvent]:
        """Yield new changes. This never raises, because Airflow would restart the trigger at once, again and again."""
        try:
            await self._keep_told()
            if config == self._seen:
                return
            versions = await asyncio.to_thread(self._history, config["id"])
            news = await self._not_yet_told(config["id"], versions)
        except Exception as error:
            self._complain(error)
            return
        for event in news:
            self._told = int(event["version"])
            self._telling.append((time.monotonic(), self._told))
            yield TriggerEvent(event)  # type: ignore[no-untyped-call]
        if self._is_told_by(versions, config):
            self._seen = config
        self._complained = None

    async def _not_yet_told(self, id: str, versions: list[Version]) -> list[dict[str, Any]]:
        newest = max(map(version_number, versions), default=0)
        # Another triggerer may have reported it.
        kept = await load_watermark(self, self.key)
        if kept is None and self._told is None:
            await save_watermark(self, self.key, newest)
            self._told = newest
        self._told = max(self._told or 0, kept or 0)
        rows = [row for row in rows_of(self.target.kind, id, versions) if self._counts(row)]
        return [
            self._event(version, list(made))
            for version, made in groupby(rows, key=lambda row: row["version"])
            if version > self._told
        ]

    def _is_told_by(self, versions: list[Version], config: FlagConfig) -> bool:
        """Return true if the history is as new as the configuration. Otherwise the next poll reads it again."""
        newest = max(versions, key=version_number, default=None)
        told: Mapping[str, Any] = config_of(newest or {})
        names = [name for name in config if any(field.startswith(name) for field in self.fields)]
        return all(told[name] == cast("Mapping[str, Any]", config)[name] for name in names if name in told)

    def _counts(self, row: Row) -> bool:
        field = row["field"]
        if self.to:
            return field in self.to and row["to"] == self.to[field]
        return field != CREATED and any(
            field == watched or field.startswith((f"{watched}.", f"{watched}[")) for watched in self.fields
        )

    def _event(self, version: int, rows: list[Row]) -> dict[str, Any]:
        first = rows[0]
        return {
            "kind": first["kind"],
            "id": first["id"],
            "key": first["key"],
            "project_id": first["project_id"],
            "version": version,
            "at": first["at"],
            "by": first["by"],
            "changes": {row["field"]: {"from": row["from"], "to": row["to"]} for row in rows},
            TOLD: self.key,
        }

    async def _keep_told(self) -> None:
        """Store the watermark of events that Airflow has stored, if the listener is not loaded."""
        now = time.monotonic()
        sure = [version for at, version in self._telling if now - at >= _COMMIT_GRACE]
        if not sure:
            return
        kept = await load_watermark(self, self.key)
        if kept is None or kept < sure[-1]:
            await save_watermark(self, self.key, sure[-1])
            if not self._is_plugin_missed:
                self.log.warning(
                    "The plugin amplitude_experiment_watcher is not loaded. If the triggerer is killed in the next "
                    "seconds, it reports a change of %s twice.",
                    self.target,
                )
            self._is_plugin_missed = True
        self._telling = [event for event in self._telling if event[1] > sure[-1]]

    def _history(self, id: str) -> list[Version]:
        fields = AmplitudeExperimentHook(self.amplitude_conn_id).fields
        with fields.connect(retry_for=0) as client:
            return self.target.endpoints(client).versions(id)

    def _complain(self, error: Exception) -> None:
        """Log an error once, not at each poll."""
        text = f"{type(error).__name__}: {error}"
        if text != self._complained:
            self.log.error("Polling for changes of %s failed; will keep retrying. %s", self.target, text)
        self._complained = text


def _wanted(to: Mapping[str, Json] | str) -> dict[str, Json]:
    """Read the argument ``to``. Without a field, it would report each change."""
    try:
        found = json.loads(to) if isinstance(to, str) else to
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise InvalidInputError("to", f"expected fields with their values, got {to!r}")
    return validate.some("to", dict(found), "at least one field with its value")
