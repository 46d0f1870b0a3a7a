"""Merge two changes of one list that were made at the same moment. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Segment = Mapping[str, Any]


def merged_tags(read: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Their tags, with those that we added and without those that we removed."""
    kept = [tag for tag in theirs if tag in ours or tag not in read]
    return [*kept, *(tag for tag in ours if tag not in read and tag not in theirs)]


def merged_segments(
    read: Sequence[Segment], ours: Sequence[Segment], theirs: Sequence[Segment]
) -> list[dict[str, Any]] | None:
    """Both changes, segment by segment and field by field; ``None`` when both changed the same.

    Segments are told apart by their names. Their order is what captures users, so that only one of both may change it.
    """
    before, mine, other = ({str(one.get("name")): one for one in each} for each in (read, ours, theirs))
    if [len(before), len(mine), len(other)] != [len(read), len(ours), len(theirs)]:
        return None
    order = _one_of(list(before), list(mine), list(other))
    if order is None:
        return None
    merged = []
    for name in dict.fromkeys([*before, *mine, *other]):
        segment = _merged_fields(before.get(name), mine.get(name), other.get(name))
        if segment is None and name in order:
            return None
        if name not in order and not _is_removed(before.get(name), mine.get(name), other.get(name)):
            return None
    for name in order:
        segment = _merged_fields(before.get(name), mine.get(name), other.get(name))
        merged.append(segment or {})
    return merged


def _is_removed(before: Segment | None, mine: Segment | None, other: Segment | None) -> bool:
    """Whether one of both removed the segment and the other left it as it was."""
    return before is not None and all(one is None or one == before for one in (mine, other))


def _merged_fields(before: Segment | None, mine: Segment | None, other: Segment | None) -> dict[str, Any] | None:
    if mine is None or other is None:
        added = mine if mine is not None else other
        return dict(added) if added is not None and before is None else None
    merged = {}
    for name in {**mine, **other}:
        values = [(name in one, one.get(name)) for one in (before or {}, mine, other)]
        value = _one_of(*values)
        if value is None:
            return None
        if value[0]:
            merged[name] = value[1]
    return merged


def _one_of(before: Any, mine: Any, other: Any) -> Any:
    """The value of whichever changed it; ``None`` when both did, differently."""
    if mine == before:
        return other
    return mine if other in (before, mine) else None
