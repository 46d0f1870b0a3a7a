"""Check that target segments can be sent back. The service replaces the whole list at each edit.

The API does not accept cohort conditions and may hide them. A cohort segment then looks like a segment without
conditions. If it is sent back as read, it captures all users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client._optional_fields import may_be_for_a_cohort
from airflow_provider_ampexp.ensure._errors import MissingFieldError, WrongStateError

if TYPE_CHECKING:
    from airflow_provider_ampexp.client.types import FlagConfig, TargetSegment

_WHY = "the API neither accepts nor shows cohort conditions, and a segment without conditions captures all users"


def refuse_cohorts(flag: str | None, segments: Sequence[TargetSegment], *, catch_all: str | None = None) -> None:
    """Raise if one of these segments may be for a cohort, also if it is the only segment.

    :param flag: the key of the flag, for the error
    :param segments: the segments as read
    :param catch_all: the name of a segment that has no conditions on purpose
    :raises WrongStateError: when a segment shows no conditions, or one that is not on a property
    """
    if found := cohort_segments(segments, catch_all):
        raise WrongStateError(
            f"The target segments of {flag!r} cannot be sent back: {_listed(found)} may be for a cohort; {_WHY}. "
            "Nothing was changed. Change the segment in Amplitude. If it has no conditions on purpose, set `catch_all` "
            "to its name."
        )


def cohort_segments(segments: Sequence[TargetSegment], catch_all: str | None = None) -> list[str | None]:
    """Return the names of the segments that may be for a cohort.

    :param catch_all: the name of a segment that has no conditions on purpose
    """
    return [
        segment.get("name")
        for segment in segments
        if may_be_for_a_cohort(segment) and not _is_named(segment, catch_all)
    ]


def refuse_catch_alls(
    flag: str | None,
    segments: Sequence[TargetSegment],
    wanted: Sequence[TargetSegment],
    *,
    catch_all: str | None = None,
) -> None:
    """Raise if a segment of a new list has no conditions, so that it would capture all users.

    A new segment at 0 % gives the feature to no user, and is sent.

    :param segments: the segments as read
    :param wanted: the new list
    :param catch_all: the name of a segment that has no conditions on purpose
    :raises WrongStateError: when there is such a segment
    """
    hidden = cohort_segments(segments)
    found = [
        segment.get("name")
        for segment in wanted
        if not segment.get("conditions")
        and not _is_named(segment, catch_all)
        and (segment.get("percentage") or segment.get("name") in hidden)
    ]
    if found:
        raise WrongStateError(
            f"The target segments of {flag!r} cannot be replaced: {_listed(found)} has no conditions and would capture "
            "all users. The API does not show the conditions of a segment for a cohort. Nothing was changed. Give the "
            "segment its conditions. If it has no conditions on purpose, set `catch_all` to its name."
        )


def _is_named(segment: TargetSegment, catch_all: str | None) -> bool:
    return catch_all is not None and segment.get("name") == catch_all and not segment.get("conditions")


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(map(repr, names))


def shown_segments(config: FlagConfig) -> list[TargetSegment]:
    """Return the target segments as they were read. A list that is not shown is not an empty list.

    :raises MissingFieldError: when the service does not show the list, or shows one that cannot be read
    """
    if "targetSegments" not in config:
        raise MissingFieldError(
            f"Amplitude does not show the target segments of {config.get('key')!r}, or not in a form that can be read. "
            "Nothing was changed. Check the segments in Amplitude."
        )
    return list(config["targetSegments"])


def refuse_unknown_values(config: FlagConfig, segments: Sequence[TargetSegment]) -> None:
    """Raise if a segment to send back has no known percentage, or an unknown weight.

    :raises MissingFieldError: names the segment and the field
    """
    for segment in segments:
        if fields := unknown_values(segment):
            raise MissingFieldError(
                f"Amplitude does not show the {' and the '.join(fields)} of segment {segment.get('name')!r} of "
                f"{config.get('key')!r}. A change of one segment must send all segments back. Nothing was changed. Set "
                "it in Amplitude."
            )


def unknown_values(segment: TargetSegment) -> list[str]:
    """Return the values of a segment that the service does not show, so that the segment cannot be sent back."""
    unknown = [] if segment.get("percentage") is not None else ["percentage"]
    weights: Mapping[str, float | None] = segment.get("rolloutWeights") or {}
    return [*unknown, *(f"weight of {key!r}" for key, weight in weights.items() if weight is None)]


def raises_a_segment(segments: Iterable[TargetSegment], now: Iterable[TargetSegment]) -> bool:
    """Return true if a segment's percentage is higher in the first list. A missing segment counts as 0 %."""
    given = {segment.get("name"): segment.get("percentage") or 0 for segment in now}
    return any((segment.get("percentage") or 0) > given.get(segment.get("name"), 0) for segment in segments)


def find_segment(config: FlagConfig, name: str) -> TargetSegment:
    """Return the target segment of that name.

    :raises WrongStateError: when no segment or several segments have the name
    :raises MissingFieldError: when the service does not show the segments
    """
    segments = shown_segments(config)
    found = [segment for segment in segments if segment.get("name") == name]
    if len(found) != 1:
        known = ", ".join(f"{segment.get('name')!r} at {segment.get('percentage')} %" for segment in segments) or "none"
        raise WrongStateError(
            f"{config.get('key')!r} has {len(found) or 'no'} target segments named {name!r} (its segments: {known}). "
            "Nothing was changed. Correct the name of the segment."
        )
    return found[0]
