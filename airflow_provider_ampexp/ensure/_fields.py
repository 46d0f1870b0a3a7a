"""Set fields of a flag or experiment (contract: *Edit*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timezone
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._errors import ManagementApiError, UncertainWriteError
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, Json
from airflow_provider_ampexp.ensure._confirmation import read_until
from airflow_provider_ampexp.ensure._errors import (
    NOT_SHOWN_NEXT_STEP,
    ArchivedError,
    ChangeNotVisibleError,
    ConflictError,
    EnsureError,
    MissingFieldError,
    UnconfirmedWriteError,
)
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, flag_url
from airflow_provider_ampexp.ensure._parents import same_dependencies
from airflow_provider_ampexp.ensure._reached import enabled_notes
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._sticky import sticky_notes

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

# The contract's reads do not show these fields. A note says that the change is not confirmed. Any other field that is
# not visible after a write is an error.
_NEVER_SHOWN = ("exposureEvent",)
_REACHES_USERS = ("enabled", "rolloutPercentage", "targetSegments")


def write_fields(
    client: ManagementClient,
    target: FlagRef,
    config: FlagConfig,
    wanted: EditFields,
    *,
    read: Callable[[], FlagConfig] | None = None,
) -> ChangeResult:
    """Set fields of a flag that was just read.

    :param config: the present configuration
    :param read: reads the flag back; default: by its id
    """
    wrong = differing(config, wanted)
    before = shown(config, wanted)
    if not wrong:
        return ChangeResult(config["id"], config.get("key"), False, before, before, flag_url(client, config))
    if config.get("deleted") and "archive" not in wanted and any(wrong.get(name) for name in _REACHES_USERS):
        raise ArchivedError(
            f"{_capital(target)} is archived, so {wrong} would have no effect. Nothing was changed. Restore it first."
        )
    endpoints = target.endpoints(client)
    lost: UncertainWriteError | None = None
    try:
        endpoints.edit(config["id"], cast("EditFields", wrong), as_read=True)
    except UncertainWriteError as error:
        lost = error
    now, is_applied = read_until(
        client,
        read or (lambda: endpoints.get(config["id"])),
        lambda now: not _confirmable(differing(now, wrong), now),
    )
    if not is_applied:
        raise _not_shown(client, target, wrong, before, now, lost)
    unseen = sorted(differing(now, wrong))
    _must_show(target, unseen)
    notes = (*sticky_notes(config, wrong), *enabled_notes(now, wrong))
    if unseen:
        notes = (f"Amplitude does not show {', '.join(unseen)}, so this change is not confirmed.", *notes)
    return ChangeResult(
        config["id"], config.get("key"), True, before, shown(now, wanted), flag_url(client, config), notes
    )


def differing(config: FlagConfig, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the wanted fields that differ, also those that the service does not show."""
    is_now = shown(config, wanted)
    return {
        name: value for name, value in wanted.items() if name not in is_now or not same_field(name, is_now[name], value)
    }


def shown(config: FlagConfig, names: Mapping[str, Any]) -> dict[str, Json]:
    """Return the visible values of the named fields. ``archive`` of a write is ``deleted`` of a read."""
    read = cast("dict[str, Json]", config)
    is_now = {name: read[name] for name in names if name in read}
    if "archive" in names:
        is_now["archive"] = bool(read.get("deleted", False))
    return is_now


def _confirmable(wrong: dict[str, Any], config: FlagConfig) -> dict[str, Any]:
    return {name: value for name, value in wrong.items() if name in shown(config, wrong)}


def _must_show(target: FlagRef, unseen: list[str]) -> None:
    missing = [name for name in unseen if name not in _NEVER_SHOWN]
    if missing:
        raise MissingFieldError(
            f"Updating {target} failed: Amplitude accepted the change, but does not show {', '.join(missing)}. It is "
            "unknown whether the change was applied. Check the names of the fields, and the object in Amplitude."
        )


def _not_shown(
    client: ManagementClient,
    target: FlagRef,
    wrong: dict[str, Any],
    before: Mapping[str, Json],
    now: FlagConfig,
    lost: UncertainWriteError | None,
) -> EnsureError:
    still = shown(now, differing(now, wrong))
    newest = _newest_version(client, target, now["id"])
    if lost is not None:
        return UnconfirmedWriteError(
            f"Updating {target} to {wrong} failed: no attempt got a response, and it shows {still}. {newest}"
            f"Run this again when the API has recovered. Cause: {lost}"
        )
    if any(name in before and not same_field(name, value, before[name]) for name, value in still.items()):
        return ConflictError(
            f"Updating {target} to {wrong} failed: another actor changed it at the same time, and it shows {still}. "
            f"{newest}If the change of this task waits for approval, reject it. Check the flag in Amplitude, then "
            "run this again."
        )
    return ChangeNotVisibleError(
        f"Updating {target} to {wrong} failed: Amplitude accepted the change, but shows {still}. {newest}"
        f"{NOT_SHOWN_NEXT_STEP}"
    )


def _newest_version(client: ManagementClient, target: FlagRef, id: str) -> str:
    try:
        newest = target.endpoints(client).versions(id)[0]
    except (ManagementApiError, IndexError):
        return ""
    by = actor_name(newest.get("createdBy"))
    return f"Its newest version is {newest.get('version')}, by {by} at {newest.get('createdAt')}. "


def same_field(name: str, is_now: Any, wanted: Any) -> bool:
    """Return true if a field has the wanted value: tags in any order, dates by day, segments with more fields."""
    if name == "tags" and isinstance(is_now, list) and isinstance(wanted, list | tuple):
        return sorted(map(str, is_now)) == sorted(map(str, wanted))
    if name == "parentDependencies":
        return same_dependencies(is_now, wanted)
    if name in ("startDate", "endDate") and is_now and wanted:
        return _same_moment(str(is_now), str(wanted))
    if name == "targetSegments" and isinstance(is_now, list) and isinstance(wanted, list | tuple):
        # The service may add fields to a segment. The wanted fields must be in it.
        return len(is_now) == len(wanted) and all(
            same_json({key: item.get(key) for key in asked}, asked) for item, asked in zip(is_now, wanted, strict=True)
        )
    return same_json(is_now, wanted)


def same_json(one: Any, other: Any) -> bool:
    """Return true if both are equal as JSON: true is not 1, and a tuple is a list."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_json(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _same_moment(is_now: str, wanted: str) -> bool:
    """Return true if both are the same time. Amplitude accepts a time and shows the day in UTC (contract: *Edit*)."""
    known, asked = (parse_timestamp(text, default_zone=timezone.utc) for text in (is_now, wanted))
    if known is None or asked is None:
        return is_now == wanted
    if "T" not in is_now or "T" not in wanted:
        return known.date() == asked.date()
    return known == asked


def _capital(target: FlagRef) -> str:
    text = str(target)
    return text[0].upper() + text[1:]
