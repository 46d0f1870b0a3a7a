"""Find a change of another actor that a write of the rollout overwrote. Pure.

There is no way to write only if nobody else has. Versions hold the whole configuration, so they show afterwards what
another person had set between our look and our write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.ensure._fields import differing
from airflow_provider_ampexp.rollout import exposure_of


class OverwrittenEdit(NamedTuple):
    """The last version of another person that was written over.

    :param config: the flag then. What the version does not show is as it was before.
    :param moved: whether that person had moved the flag with it, or just before: its percentage, switch or archive
    :param edited: whether that person had changed the segments
    """

    version: Version
    config: FlagConfig
    moved: bool
    edited: bool


def find_overwritten_edit(
    versions: Iterable[Version], newest: int, looked_at: FlagConfig, sent: Mapping[str, Any], segment: str | None
) -> OverwrittenEdit | None:
    """Find the last version that moved the flag, or changed the segments, and that our write came after.

    That may be after a version of ours, too: the client repeats a write whose response was lost.

    :param newest: the number of the newest version that was seen before the write
    :param looked_at: the flag as it was seen before the write
    :param sent: what was written
    :param segment: the segment that is ramped; ``None`` for all users
    """
    matters = ("enabled", "deleted", "targetSegments" if segment is not None else "rolloutPercentage")
    theirs = lost = None
    was: FlagConfig = looked_at
    for version in sorted((version for version in versions if version_number(version) > newest), key=version_number):
        config = config_of(version)
        now = cast("FlagConfig", {**was, **config})  # what a version does not show is taken to be as before
        if not any(name in config for name in differing(config, sent)):
            now = cast("FlagConfig", {**was, **sent, **config})
            lost = theirs if theirs is not None and not _stands(theirs, now, segment) else lost
            theirs = None
        elif changed := [name for name in matters if name in was and now.get(name) != was.get(name)]:
            moved = not _same_stand(was, now, segment) or (theirs is not None and theirs.moved)
            edited = "targetSegments" in changed or (theirs is not None and theirs.edited)
            theirs = OverwrittenEdit(version, now, moved, edited)
        was = now
    return lost


def _stands(theirs: OverwrittenEdit, now: FlagConfig, segment: str | None) -> bool:
    """Whether our write left what they had set as it was: only what differed was sent."""
    segments_stand = not theirs.edited or now.get("targetSegments") == theirs.config.get("targetSegments")
    return segments_stand and _same_stand(theirs.config, now, segment)


def _same_stand(one: FlagConfig, other: FlagConfig, segment: str | None) -> bool:
    is_same_position = exposure_of(one, segment) == exposure_of(other, segment)
    return is_same_position and one.get("deleted", False) == other.get("deleted", False)
