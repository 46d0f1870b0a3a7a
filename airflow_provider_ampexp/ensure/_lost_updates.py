"""Find and restore a change by another actor that our write of a percentage or of a whole list overwrote.

The API has no conditional write. A version contains the whole configuration. So the version before ours shows the value
as we read it, unless another actor changed it in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp.client._actors import actor_name, author_of
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, Version
from airflow_provider_ampexp.ensure._errors import ConflictError, EnsureError, WrongStateError
from airflow_provider_ampexp.ensure._fields import differing, same_field, same_json, write_fields
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._merge import merged_segments, merged_tags
from airflow_provider_ampexp.ensure._parents import merged_dependencies
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import refuse_cohorts

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_MERGED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "targetSegments": merged_segments,
    "tags": merged_tags,
    "parentDependencies": merged_dependencies,
    "rolloutPercentage": lambda read, ours, theirs: None,  # two changes of a number cannot both be kept
}
_TIMES = 5


def overwritten(
    versions: Sequence[Version],
    value: Callable[[FlagConfig], Any],
    read: Any,
    sent: Any,
    same: Callable[[Any, Any], bool] = same_json,
) -> Version | None:
    """Return the last version in which another actor changed a value between our read and our write.

    :param value: returns the value of a configuration; ``None`` if it has none
    :param read: the value that we read
    :param sent: the value that we wrote, several times after a lost response
    :returns: ``None`` also if the history does not show the value that we read
    """
    steps: list[tuple[Version, Any]] = []  # each version that set another value, from the one that we read
    as_sent: list[Version] = []
    for version in sorted(versions, key=version_number):
        shown = value(config_of(version))
        if shown is not None and same(shown, read):
            steps, as_sent = [(version, shown)], []
        elif shown is not None and steps:
            as_sent += [version] if same(shown, sent) else []
            steps += [] if same(shown, steps[-1][1]) else [(version, shown)]
    for (theirs, _), (version, shown) in zip(steps[-2:0:-1], steps[:1:-1], strict=True):
        if same(shown, sent) and not is_set_again(version, theirs, as_sent):
            return theirs
    return None


def is_set_again(version: Version, theirs: Version, as_sent: Sequence[Version]) -> bool:
    """Whether another actor, who had changed our value, set the same value again. Then this version is not our write.

    :param version: the version that shows our value after ``theirs``
    :param as_sent: all versions that show our value. One of them is our write: an older one, or one of another author.
        Where two tasks share a key, the oldest of them counts as our write.
    """
    actor = actor_name(version.get("createdBy"))
    if actor != actor_name(theirs.get("createdBy")):
        return False
    return version is not as_sent[0] or any(actor_name(other.get("createdBy")) != actor for other in as_sent)


def write_and_keep_edits(
    client: ManagementClient,
    target: FlagRef,
    config: FlagConfig,
    wanted: EditFields,
    *,
    read: Callable[[], FlagConfig] | None = None,
) -> ChangeResult:
    """Set fields, and restore a concurrent change of the same percentage or list that our write overwrote.

    Both changes are merged if they are about different tags or segments, or different fields of a segment. A write of
    such a field takes 1 more request.

    :param read: reads the object back; default: by its id
    :raises ConflictError: when both changed the same value; the other change was restored
    """
    sent = {name: value for name, value in differing(config, wanted).items() if name in _MERGED and name in config}
    outcome = write_fields(client, target, config, wanted, read=read)
    notes = [*outcome.notes]
    try:
        versions = target.endpoints(client).versions(config["id"]) if sent else ()
    except ManagementApiError as error:
        return replace(outcome, notes=(*notes, *(_not_checked(name, error) for name in sent)))
    for name, value in sent.items():
        notes += _restore(client, target, config, name, value, versions)
    return replace(outcome, notes=tuple(notes))


def _not_checked(name: str, error: ManagementApiError) -> str:
    return f"{name} was written, but a check for overwritten changes failed: {error}"


def _restore(
    client: ManagementClient, target: FlagRef, config: FlagConfig, name: str, sent: Any, versions: Sequence[Version]
) -> list[str]:
    endpoints = target.endpoints(client)
    read: Any = cast("dict[str, Any]", config)[name]
    notes: list[str] = []

    def value(version: FlagConfig) -> Any:
        return cast("dict[str, Any]", version).get(name)

    for _ in range(_TIMES):
        theirs = overwritten(versions, value, read, sent, partial(same_field, name))
        if theirs is None:
            return notes
        had = cast("dict[str, Any]", config_of(theirs))[name]
        who = author_of(theirs)
        merged = _MERGED[name](read, sent, had)
        _refuse_to_empty_theirs(target, name, sent, had if merged is None else merged, who)
        _write(client, target, config, name, had if merged is None else merged, who)
        if merged is None:
            raise ConflictError(
                f"Conflict on {name} of {target}: {who} changed it while this task was writing. That change was "
                "restored, and the change of this task was dropped. Check both, then run the task again."
            )
        notes.append(f"{who} changed {name} at the same time. Both changes were kept.")
        read, sent = sent, merged
        try:
            versions = endpoints.versions(config["id"])
        except ManagementApiError as error:
            return [*notes, _not_checked(name, error)]
    return [*notes, f"Others keep changing {name}. Check it in Amplitude."]


def _refuse_to_empty_theirs(target: FlagRef, name: str, sent: Any, restored: Any, who: str) -> None:
    """Refuse to restore a segment that may be for a cohort: without its conditions it would capture all users.

    A segment that this task itself sent without conditions is for all users on purpose.
    """
    if name != "targetSegments":
        return
    empty = {segment.get("name") for segment in sent if not segment.get("conditions")}
    kept = [segment for segment in restored if segment.get("name") not in empty]
    try:
        refuse_cohorts(target.key or target.id, kept)
    except WrongStateError as error:
        raise ConflictError(
            f"Conflict on {name} of {target}: {who} changed it while this task was writing. That change was "
            f"overwritten and NOT restored: {error} Check {name} in Amplitude now."
        ) from None


def _write(client: ManagementClient, target: FlagRef, config: FlagConfig, name: str, value: Any, who: str) -> None:
    try:
        now = target.endpoints(client).get(config["id"])
        write_fields(client, target, now, cast("EditFields", {name: value}))
    except (ManagementApiError, EnsureError) as error:
        raise ConflictError(
            f"Conflict on {name} of {target}: {who} changed it while this task was writing. That change was "
            f"overwritten and NOT restored: {error} Check {name} in Amplitude now."
        ) from None
