"""Find a change of another actor that a write of the rollout overwrote. Pure.

The API has no conditional write. A version has the whole configuration. So the versions show afterwards what another
actor set between the observation and the write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.ensure._fields import differing
from airflow_provider_ampexp.ensure._segments import raises_a_segment
from airflow_provider_ampexp.ensure._writer import Writer, writer_of
from airflow_provider_ampexp.rollout._history import Exposure, exposure_of


class OverwrittenEdit(NamedTuple):
    """The last overwritten version of another actor.

    :param config: the flag then. A field that the version does not show is as before.
    :param moved: the actor changed the exposure or archived the flag, in this version or just before
    :param edited: the actor changed the segments
    :param is_restorable: our write certainly overwrote it, or it gave the feature to no more users. A higher exposure
        that its actor may have lowered again is not restored.
    :param is_superseded: another actor changed the segments after our write
    """

    version: Version
    config: FlagConfig
    moved: bool
    edited: bool
    is_restorable: bool = True
    is_superseded: bool = False


def find_overwritten_edit(
    versions: Iterable[Version], newest: int, observed: FlagConfig, sent: Mapping[str, Any], segment: str | None
) -> OverwrittenEdit | None:
    """Find the last version of another actor that changed the exposure or the segments before our write.

    It can also be after a version of our write: the client repeats a write whose response was lost. An exposure that
    another actor changed again after our write does not count as overwritten.

    :param newest: the number of the newest version at the observation before the write
    :param observed: the flag at that observation
    :param sent: the written fields
    :param segment: the ramped segment; ``None`` for all users
    """
    matters = ("enabled", "deleted", "targetSegments" if segment is not None else "rolloutPercentage")
    external = lost = None
    was: FlagConfig = observed
    new = sorted((version for version in versions if version_number(version) > newest), key=version_number)
    as_sent: list[Version] = []
    for version in new:
        config = config_of(version)
        now = cast("FlagConfig", {**was, **config})  # a field that a version does not show counts as unchanged
        if not any(name in config for name in differing(config, sent)):
            now = cast("FlagConfig", {**was, **sent, **config})
            if external is not None and not _edit_survived(external, now, segment):
                lost = _overwritten_by(version, now, external, as_sent, segment) or lost
            as_sent += [version] if differing(was, sent) else []
            external = None
        elif changed := [name for name in matters if name in was and now.get(name) != was.get(name)]:
            moves = not _same_exposure(was, now, segment)
            moved = moves or (external is not None and external.moved)
            edited = "targetSegments" in changed or (external is not None and external.edited)
            external = OverwrittenEdit(version, now, moved, edited)
            lost = None if lost is None or (moves and lost.moved) else lost._replace(is_superseded=True)
        was = now
    return lost


def _overwritten_by(
    version: Version, now: FlagConfig, external: OverwrittenEdit, as_sent: Sequence[Version], segment: str | None
) -> OverwrittenEdit | None:
    """Return the change, if this version of our value may be our write."""
    writer = writer_of(version, external.version, as_sent)
    if writer is Writer.THEIRS:
        return None
    is_safe = not external.moved or _is_lower(exposure_of(external.config, segment), exposure_of(now, segment))
    if as_sent and raises_a_segment(external.config.get("targetSegments") or (), now.get("targetSegments") or ()):
        is_safe = False
    return external._replace(is_restorable=writer is Writer.OURS or is_safe)


def _is_lower(had: Exposure | None, now: Exposure | None) -> bool:
    return had is not None and now is not None and had.reached < now.reached


def _edit_survived(external: OverwrittenEdit, now: FlagConfig, segment: str | None) -> bool:
    """Whether our write left the change of the other actor: a write has only the fields that differ."""
    same_segments = not external.edited or now.get("targetSegments") == external.config.get("targetSegments")
    return same_segments and _same_exposure(external.config, now, segment)


def _same_exposure(one: FlagConfig, other: FlagConfig, segment: str | None) -> bool:
    is_same = exposure_of(one, segment) == exposure_of(other, segment)
    return is_same and one.get("deleted", False) == other.get("deleted", False)
