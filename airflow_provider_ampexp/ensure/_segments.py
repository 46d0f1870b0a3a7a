"""Target segments that can be sent back safely. The service replaces the whole list at each edit.

The API does not take cohort conditions and may not show them: the segment of a cohort then reads like one without
conditions. Sent back as read, it would capture every user.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_ampexp.client.types import TargetSegment
from airflow_provider_ampexp.ensure._errors import WrongStateError

_WHY = (
    "the Management API neither takes nor shows conditions on a cohort, and without them a segment captures every user"
)


def refuse_cohorts(flag: str | None, segments: Sequence[TargetSegment], *, catch_all: str | None = None) -> None:
    """Refuse to send back segments of which one may be for a cohort.

    :param flag: the key of the flag, for the error
    :param segments: as they were read
    :param catch_all: the name of a segment that has no conditions on purpose
    :raises WrongStateError: when a condition is not on a property, or a segment shows no conditions while others do
    """
    found = [name for name in _perhaps_of_a_cohort(segments) if name is None or name != catch_all]
    if found:
        raise WrongStateError(
            f"The target segments of {flag!r} cannot be sent back: {_listed(found)} may be for a cohort; {_WHY}. "
            "Nothing was changed. Change the percentage in Amplitude. If a segment has no conditions on purpose, name "
            "it as `catch_all`."
        )


def refuse_to_empty(flag: str | None, segments: Sequence[TargetSegment], wanted: Sequence[TargetSegment]) -> None:
    """Refuse a list of segments in which one that may be for a cohort comes back without conditions.

    The last wanted segment may have none: it is then the catch-all.

    :param segments: as they were read
    :param wanted: what is to take their place
    :raises WrongStateError: when there is one
    """
    emptied = {one.get("name") for one in wanted[:-1] if not one.get("conditions")}
    found = [name for name in _perhaps_of_a_cohort(segments) if name in emptied]
    if found:
        raise WrongStateError(
            f"The target segments of {flag!r} cannot be replaced: {_listed(found)} may be for a cohort; {_WHY}. "
            "Nothing was changed. Give the segment its conditions, or put it last if it is for every user."
        )


def _perhaps_of_a_cohort(segments: Sequence[TargetSegment]) -> list[str | None]:
    others_show = any(one.get("conditions") for one in segments)
    return [
        one.get("name")
        for one in segments
        if any(condition.get("type") not in ("property", None) for condition in one.get("conditions") or ())
        or (others_show and not one.get("conditions"))
    ]


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(map(repr, names))
