"""Find a change of another actor that a write of the rollout overwrote. Pure.

The API has no conditional write. A version has the whole configuration. So the versions show afterwards what another
actor set between the observation and the write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.ensure._fields import differing
from airflow_provider_ampexp.ensure._lost_updates import is_set_again
from airflow_provider_ampexp.rollout import exposure_of


class OverwrittenEdit(NamedTuple):
    """The last overwritten version of another actor.

    :param config: the flag then. A field that the version does not show is as before.
    :param moved: the actor changed the exposure or archived the flag, in this version or just before
    :param edited: the actor changed the segments
    """

    version: Version
    config: FlagConfig
    moved: bool
    edited: bool


def find_overwritten_edit(
    versions: Iterable[Version], newest: int, observed: FlagConfig, sent: Mapping[str, Any], segment: str | None
) -> OverwrittenEdit | None:
    """Find the last version of another actor that changed the exposure or the segments before our write.

    It can also be after a version of our write: the client repeats a write whose response was lost. Where another task
    with the same key may have set our stage again, only a lower exposure counts: to restore it puts nobody in.

    :param newest: the number of the newest version at the observation before the write
    :param observed: the flag at that observation
    :param sent: the written fields
    :param segment: the ramped segment; ``None`` for all users
    """
    matters = ("enabled", "deleted", "targetSegments" if segment is not None else "rolloutPercentage")
    external = lost = None
    was: FlagConfig = observed
    new = sorted((version for version in versions if version_number(version) > newest), key=version_number)
    as_sent = [version for version in new if _is_as_sent(config_of(version), sent)]
    for version in new:
        config = config_of(version)
        now = cast("FlagConfig", {**was, **config})  # a field that a version does not show counts as unchanged
        if _is_as_sent(config, sent):
            now = cast("FlagConfig", {**was, **sent, **config})
            if external is not None and not _edit_survived(external, now, segment):
                may_be_ours = not is_set_again(version, external.version, as_sent)
                is_lost = may_be_ours or (_share_a_key(as_sent) and _is_lower(external.config, now, segment))
                lost = external if is_lost else lost
            external = None
        elif changed := [name for name in matters if name in was and now.get(name) != was.get(name)]:
            moved = not _same_exposure(was, now, segment) or (external is not None and external.moved)
            edited = "targetSegments" in changed or (external is not None and external.edited)
            external = OverwrittenEdit(version, now, moved, edited)
        was = now
    return lost


def _is_as_sent(config: FlagConfig, sent: Mapping[str, Any]) -> bool:
    """Whether a version has the written fields, as far as it shows them."""
    return not any(name in config for name in differing(config, sent))


def _share_a_key(as_sent: Iterable[Version]) -> bool:
    """Whether one actor made all versions of our write: then nothing tells ours from those of another task."""
    return len({actor_name(version.get("createdBy")) for version in as_sent}) == 1


def _is_lower(one: FlagConfig, other: FlagConfig, segment: str | None) -> bool:
    """Whether the first configuration gives the feature to fewer users than the second."""
    first, second = exposure_of(one, segment), exposure_of(other, segment)
    return first is not None and second is not None and first.exposure < second.exposure


def _edit_survived(external: OverwrittenEdit, now: FlagConfig, segment: str | None) -> bool:
    """Whether our write left the change of the other actor: a write has only the fields that differ."""
    same_segments = not external.edited or now.get("targetSegments") == external.config.get("targetSegments")
    return same_segments and _same_exposure(external.config, now, segment)


def _same_exposure(one: FlagConfig, other: FlagConfig, segment: str | None) -> bool:
    is_same = exposure_of(one, segment) == exposure_of(other, segment)
    return is_same and one.get("deleted", False) == other.get("deleted", False)
