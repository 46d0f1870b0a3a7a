"""Merge two concurrent changes of one list. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Segment = Mapping[str, Any]


def merged_tags(read: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Return the other actor's tags, with the tags that we added and without the tags that we removed."""
    kept = [tag for tag in theirs if tag in ours or tag not in read]
    return [*kept, *(tag for tag in ours if tag not in read and tag not in theirs)]


def merged_segments(
    read: Sequence[Segment], ours: Sequence[Segment], theirs: Sequence[Segment]
) -> list[dict[str, Any]] | None:
    """Merge both changes by segment and by field; ``None`` if both changed the same field.

    A segment is identified by its name. The order of the segments decides which users each segment captures, so only
    one of the two changes may change the order.
    """
    before, mine, other = (
        {str(segment.get("name")): segment for segment in segments} for segments in (read, ours, theirs)
    )
    if [len(before), len(mine), len(other)] != [len(read), len(ours), len(theirs)]:
        return None
    order = _one_of(list(before), list(mine), list(other))
    if order is None:
        return None
    merged = {
        name: _merged_fields(before.get(name), mine.get(name), other.get(name)) for name in {**before, **mine, **other}
    }
    for name, segment in merged.items():
        is_removed = _is_removed(before.get(name), mine.get(name), other.get(name))
        if segment is None if name in order else not is_removed:
            return None
    return [merged[name] or {} for name in order]


def _is_removed(before: Segment | None, mine: Segment | None, other: Segment | None) -> bool:
    """Return true if one change removed the segment and the other left it."""
    return before is not None and all(segment is None or segment == before for segment in (mine, other))


def _merged_fields(before: Segment | None, mine: Segment | None, other: Segment | None) -> dict[str, Any] | None:
    if mine is None or other is None:
        added = mine if mine is not None else other
        return dict(added) if added is not None and before is None else None
    merged = {}
    for name in {**mine, **other}:
        values = [(name in segment, segment.get(name)) for segment in (before or {}, mine, other)]
        value = _one_of(*values)
        if value is None:
            return None
        if value[0]:
            merged[name] = value[1]
    return merged


def _one_of(before: Any, mine: Any, other: Any) -> Any:
    """Return the changed value; ``None`` if both changed it differently."""
    if mine == before:
        return other
    return mine if other in (before, mine) else None
