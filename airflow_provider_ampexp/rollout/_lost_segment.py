"""What happened to a target segment that no longer exists, or exists twice: the actor, and who gets the feature now.

Pure. Segments have no ids. So a segment is identified by its name, and a renamed segment by its other fields.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._optional_fields import config_of, segments_of, version_number
from airflow_provider_ampexp.client.types import FlagConfig, TargetSegment, Version
from airflow_provider_ampexp.rollout._audience import AudienceFields


def what_became_of(segment: str, versions: Iterable[Version]) -> str | None:
    """Describe the change of the segment, with the actor and the time.

    :returns: ``None`` if no version shows the segment. Then it may never have existed.
    """
    changed: Version | None = None
    for version in sorted(versions, key=version_number, reverse=True):
        config = config_of(version)
        if "targetSegments" not in config:
            continue
        named = _named(config, segment)
        if len(named) == 1:
            if changed is None:
                return None
            by = f"by {actor_name(changed.get('createdBy'))} at {changed.get('createdAt')}"
            return f"{_change(named[0], config, config_of(changed))} {by} (version {changed.get('version')})"
        changed = version
    return None


def who_still_gets_it(config: FlagConfig) -> str:
    """Name the segments and percentages through which users get the flag now."""
    if config.get("deleted") or config.get("enabled") is False:
        return "The flag is disabled, so nobody gets it."
    ways = AudienceFields.of(config, "").others()
    return f"USERS STILL GET IT through {', and '.join(ways)}." if ways else "All percentages are 0, so nobody gets it."


def _change(was: TargetSegment, before: FlagConfig, after: FlagConfig) -> str:
    name = was.get("name")
    if len(_named(after, str(name))) > 1:
        return f"segment {name!r} was doubled: there are {len(_named(after, str(name)))} of that name,"
    known = {segment.get("name") for segment in segments_of(before)}
    alike = [
        segment
        for segment in segments_of(after)
        if {**segment, "name": name} == was and segment.get("name") not in known
    ]
    if len(alike) == 1:
        return f"segment {name!r} was renamed to {alike[0].get('name')!r}"
    return f"segment {name!r} was removed"


def _named(config: FlagConfig, name: str) -> list[TargetSegment]:
    return [segment for segment in segments_of(config) if segment.get("name") == name]
