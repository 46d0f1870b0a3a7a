"""Target segments that can be sent back safely. The service replaces the whole list at each edit.

The API does not take cohort conditions and may not show them: the segment of a cohort then reads like one without
conditions. Sent back as read, it would capture every user.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_ampexp.client._optional_fields import may_be_for_a_cohort
from airflow_provider_ampexp.client.types import TargetSegment
from airflow_provider_ampexp.ensure._errors import WrongStateError

_WHY = (
    "the Management API neither takes nor shows conditions on a cohort, and without them a segment captures every user"
)


def refuse_cohorts(flag: str | None, segments: Sequence[TargetSegment], *, catch_all: str | None = None) -> None:
    """Refuse to send back segments of which one may be for a cohort, also if it is the only one.

    :param flag: the key of the flag, for the error
    :param segments: as they were read
    :param catch_all: the name of a segment that has no conditions on purpose
    :raises WrongStateError: when a segment shows no conditions, or one that is not on a property
    """
    found = [one.get("name") for one in segments if may_be_for_a_cohort(one) and not _is_named(one, catch_all)]
    if found:
        raise WrongStateError(
            f"The target segments of {flag!r} cannot be sent back: {_listed(found)} may be for a cohort; {_WHY}. "
            "Nothing was changed. Change the segment in Amplitude. If it has no conditions on purpose, name it as "
            "`catch_all`."
        )


def refuse_to_empty(flag: str | None, segments: Sequence[TargetSegment], wanted: Sequence[TargetSegment]) -> None:
    """Refuse a list of segments in which one that may be for a cohort comes back without conditions.

    The last wanted segment may have none: it is then the catch-all. So may all, where none shows conditions.

    :param segments: as they were read
    :param wanted: what is to take their place
    :raises WrongStateError: when there is one
    """
    emptied = {one.get("name") for one in wanted[:-1] if not one.get("conditions")}
    others_show = any(one.get("conditions") for one in segments)
    found = [one.get("name") for one in segments if others_show and may_be_for_a_cohort(one)]
    found = [name for name in found if name in emptied]
    if found:
        raise WrongStateError(
            f"The target segments of {flag!r} cannot be replaced: {_listed(found)} may be for a cohort; {_WHY}. "
            "Nothing was changed. Give the segment its conditions, or put it last if it is for every user."
        )


def emptied_notes(segments: Sequence[TargetSegment], written: Sequence[TargetSegment]) -> tuple[str, ...]:
    """Warn of written segments without conditions that may have been for a cohort before.

    :param segments: as they were read
    :param written: what took their place
    """
    hidden = [one.get("name") for one in segments if may_be_for_a_cohort(one)]
    found = [one.get("name") for one in written if not one.get("conditions") and one.get("name") in hidden]
    return tuple(
        f"Segment {name!r} was written without conditions and captures every user. Amplitude had shown none of its "
        "conditions: if it was for a cohort, set the cohort again in Amplitude."
        for name in found
    )


def _is_named(segment: TargetSegment, catch_all: str | None) -> bool:
    return catch_all is not None and segment.get("name") == catch_all and not segment.get("conditions")


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(map(repr, names))
