"""Find and restore a change by another actor that our write of a percentage or of a whole list overwrote.

The API has no conditional write. A version contains the whole configuration. So the version before ours shows the value
as we read it, unless another actor changed it in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_ampexp.client._actors import author_of
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, Version
from airflow_provider_ampexp.ensure._errors import ConflictError, EnsureError, WrongStateError
from airflow_provider_ampexp.ensure._fields import differing, same_field, same_json, write_fields
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._merge import merged_segments, merged_tags
from airflow_provider_ampexp.ensure._parents import merged_dependencies
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import raises_a_segment, refuse_cohorts
from airflow_provider_ampexp.ensure._writer import Writer, writer_of

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_MERGED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "targetSegments": merged_segments,
    "tags": merged_tags,
    "parentDependencies": merged_dependencies,
    "rolloutPercentage": lambda read, ours, theirs: None,  # two changes of a number cannot both be kept
}
_TIMES = 5
# The service's time comes from a header with steps of 1 s, and a response takes a moment.
_CLOCK_STEP = timedelta(seconds=2)


class Overwritten(NamedTuple):
    """A change by another actor that our write overwrote.

    :param is_certain: whether the history shows that our write came after the change
    :param is_last: whether our write is the newest change of the value
    :param is_repeated: whether an older version shows our value too
    """

    version: Version
    is_certain: bool
    is_last: bool
    is_repeated: bool


def find_overwritten(
    versions: Sequence[Version],
    value: Callable[[FlagConfig], Any],
    read: Any,
    sent: Any,
    same: Callable[[Any, Any], bool] = same_json,
    *,
    read_at: datetime | None = None,
) -> Overwritten | None:
    """Find the last version in which another actor changed a value between our read and our write.

    :param value: returns the value of a configuration; ``None`` if it has none
    :param read: the value that we read
    :param sent: the value that we wrote, several times after a lost response
    :param read_at: the service's time of our read. A version made later that shows ``read`` is a change by another
        actor. Without it, such a version counts as older than our read.
    :returns: ``None`` also if the history does not show the value that we read
    """
    steps: list[tuple[Version, Any]] = []  # each version that set another value, from the one that we read
    for version in sorted(versions, key=version_number):
        shown = value(config_of(version))
        if shown is not None and same(shown, read) and not (steps and _is_after(version, read_at)):
            steps = [(version, shown)]
        elif shown is not None and steps and not same(shown, steps[-1][1]):
            steps.append((version, shown))
    as_sent = [(place, version) for place, (version, shown) in enumerate(steps) if place and same(shown, sent)]
    for place, version in reversed(as_sent):
        theirs = steps[place - 1][0]
        earlier = [older for before, older in as_sent if before < place]
        writer = writer_of(version, theirs, earlier)
        if place > 1 and writer is not Writer.THEIRS:
            return Overwritten(theirs, writer is Writer.OURS, place == len(steps) - 1, bool(earlier))
    return None


def _is_after(version: Version, read_at: datetime | None) -> bool:
    made = parse_timestamp(version.get("createdAt"))
    return made is not None and read_at is not None and made > read_at + _CLOCK_STEP


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
    :raises ConflictError: when both changed the same value; the message says which value is in effect
    """
    sent = {name: value for name, value in differing(config, wanted).items() if name in _MERGED and name in config}
    read_at = client.date
    outcome = write_fields(client, target, config, wanted, read=read)
    notes = [*outcome.notes]
    try:
        versions = target.endpoints(client).versions(config["id"]) if sent else ()
    except ManagementApiError as error:
        return replace(outcome, notes=(*notes, *(_not_checked(name, error) for name in sent)))
    for name, value in sent.items():
        notes += _restore(client, target, config, name, value, versions, read_at)
    return replace(outcome, notes=tuple(notes))


def _not_checked(name: str, error: ManagementApiError) -> str:
    return f"{name} was written, but a check for overwritten changes failed: {error}"


def _restore(
    client: ManagementClient,
    target: FlagRef,
    config: FlagConfig,
    name: str,
    sent: Any,
    versions: Sequence[Version],
    read_at: datetime | None,
) -> list[str]:
    endpoints = target.endpoints(client)
    read: Any = cast("dict[str, Any]", config)[name]
    notes: list[str] = []

    def value(version: FlagConfig) -> Any:
        return cast("dict[str, Any]", version).get(name)

    for _ in range(_TIMES):
        lost = find_overwritten(versions, value, read, sent, partial(same_field, name), read_at=read_at)
        if lost is None:
            return notes
        had, who = value(config_of(lost.version)), author_of(lost.version)
        merged = _MERGED[name](read, sent, had)
        if merged is None and not lost.is_last:
            return [*notes, f"Others changed {name} after this task. Check it in Amplitude."]
        is_doubtful = not lost.is_certain and (merged is None or lost.is_repeated)
        if is_doubtful and _raises(name, had if merged is None else merged, sent):
            raise ConflictError(
                f"Conflict on {name} of {target}: {who} changed it to {had} while this task was writing {sent}. The "
                "history does not show which came last. The value of this task stands, and the other one was NOT "
                f"restored. Check {name} in Amplitude."
            )
        _refuse_to_empty_theirs(target, name, sent, had if merged is None else merged, who)
        _write(client, target, config, name, had if merged is None else merged, who)
        if merged is None:
            raise ConflictError(
                f"Conflict on {name} of {target}: {who} changed it while this task was writing. That change was "
                "restored, and the change of this task was dropped. Check both, then run the task again."
            )
        notes.append(f"{who} changed {name} at the same time. Both changes were kept.")
        read, sent, read_at = sent, merged, None
        try:
            versions = endpoints.versions(config["id"])
        except ManagementApiError as error:
            return [*notes, _not_checked(name, error)]
    return [*notes, f"Others keep changing {name}. Check it in Amplitude."]


def _raises(name: str, restored: Any, sent: Any) -> bool:
    """Return true if a restored value gives the feature to more users than the sent value."""
    if name == "rolloutPercentage":
        return bool(restored > sent)
    return name == "targetSegments" and raises_a_segment(restored, sent)


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
