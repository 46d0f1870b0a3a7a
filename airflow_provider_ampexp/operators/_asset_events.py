"""Emit asset events for the flag that a task changed.

Airflow emits an event for each outlet of a successful task, also if the task changed nothing. So a task that changed
nothing removes its flag's asset from its own outlets. The process of the task has its own copy of the outlets; the DAG
keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.assets import SCHEME, asset_uri
from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.ensure._flag_ref import FlagRef

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client._flags import FlagEndpoints, Kind
    from airflow_provider_ampexp.client.types import Version
    from airflow_provider_ampexp.ensure import ChangeResultXCom
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.operators._base import AmplitudeOperator


def emit_asset_events(
    task: AmplitudeOperator, context: Context, hook: AmplitudeExperimentHook, kind: Kind, outcome: ChangeResultXCom
) -> None:
    """Add the change to the events of this task's outlets, and remove the outlets that get no event.

    The event of the flag's asset has ``{"from", "to", "version", "by", "url"}`` as ``extra``. An ``AssetAlias`` gets
    the flag's asset with the same ``extra``. Tasks use an alias if the flag is known only when the task runs. If the
    task changed nothing, no asset of a flag gets an event. The asset of another flag never gets an event. A change with
    such an outlet needs 1 request; otherwise there is no request.
    """
    from airflow.sdk import Asset, AssetAlias

    ours = [outlet for outlet in task.outlets if str(getattr(outlet, "uri", "")).startswith(f"{SCHEME}://")]
    aliases = [outlet for outlet in task.outlets if isinstance(outlet, AssetAlias)]
    silent = ours
    if outcome["changed"] and (ours or aliases):
        endpoints = FlagRef(kind, id=outcome["id"]).endpoints(hook.client)
        uri, extra = _event(task, hook, endpoints, outcome)
        silent = [outlet for outlet in ours if outlet.uri != uri]
        for outlet in silent:
            task.log.warning("The outlet %s gets no event: this task changed %s. Correct the outlet.", outlet.uri, uri)
        events: Any = context.get("outlet_events")
        if events is not None:  # the context has no outlet events outside of a task
            for outlet in ours:
                if outlet not in silent:
                    events[outlet].extra.update(extra)
            for alias in aliases:
                events[alias].add(Asset(uri, group=SCHEME), extra=extra)
    task.outlets = [outlet for outlet in task.outlets if not any(outlet is other for other in silent)]


def _event(
    task: AmplitudeOperator, hook: AmplitudeExperimentHook, endpoints: FlagEndpoints, outcome: ChangeResultXCom
) -> tuple[str, dict[str, Any]]:
    """Return the URI of the changed object, and the content of the event."""
    try:
        made = _version_that_made(endpoints.versions(outcome["id"]), outcome["after"])
    except ManagementApiError as error:
        # The change is complete, so a retry would find nothing to change and emit no event.
        task.log.warning(
            "Reading the version of the change failed: %s. The asset event of %s has no version and no actor.",
            error,
            task.outlets,
        )
        made = {}
    config = config_of(made)
    key = str(outcome["key"] or config.get("key") or outcome["id"])
    project_id = str(config.get("projectId") or task.project_of(hook) or "unknown")
    uri = asset_uri(endpoints.kind, key, project_id=project_id, region=hook.fields.region)
    by = made.get("createdBy")
    return uri, {
        "from": outcome["before"],
        "to": outcome["after"],
        "version": made.get("version"),
        "by": None if by is None else actor_name(by),
        "url": outcome["url"],
    }


def _version_that_made(versions: list[Version], after: object) -> Version:
    """Return the version that made the change: the oldest of the consecutive newest versions with the new values.

    If the newest version does not have the new values, or if these are not a mapping, return the newest version.
    """
    newest = sorted(versions, key=version_number, reverse=True)
    made: Version = newest[0] if newest else {}
    if isinstance(after, Mapping):
        for version in newest:
            config: Mapping[str, Any] = config_of(version)
            if any(name not in config or config[name] != value for name, value in after.items()):
                break
            made = version
    return made
