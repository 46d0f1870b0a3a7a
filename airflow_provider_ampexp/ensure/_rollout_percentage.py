"""Set the rollout percentage of a flag or of one target segment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, TargetSegment
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._lost_updates import write_and_keep_edits
from airflow_provider_ampexp.ensure._reached import with_unreached_notes
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import find_segment, refuse_cohorts, refuse_unknown_values

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


def ensure_percentage(
    client: ManagementClient,
    target: FlagRef,
    percentage: int,
    *,
    segment: str | None = None,
    catch_all: str | None = None,
) -> ChangeResult:
    """Set the percentage; 1 request without a change, 4 with a change.

    :param percentage: a whole number, 0 to 100
    :param segment: the name of a target segment, to set its percentage. All other segments are sent back unchanged,
        because the service replaces the whole list. Without it, the percentage is that of the users in no segment.
    :param catch_all: the name of a segment without conditions on purpose; it may be ``segment`` itself. Any other
        segment without visible conditions may be for a cohort, and is not sent back.
    :raises ConflictError: when another actor changed the same percentage at the same time; the message says which
        percentage is in effect
    """
    validate.percentage("percentage", percentage)
    config = target.read(client)
    wanted = percentage_fields(config, percentage, segment, catch_all)
    outcome = with_unreached_notes(write_and_keep_edits(client, target, config, wanted), config, wanted)
    if segment is None:
        return outcome
    was = find_segment(config, segment).get("percentage")
    return replace(
        outcome,
        before={"segment": segment, "percentage": was},
        after={"segment": segment, "percentage": percentage},
    )


def percentage_fields(
    config: FlagConfig, percentage: float, segment: str | None, catch_all: str | None = None
) -> EditFields:
    """Return the fields to edit so that the flag or the segment has this percentage.

    A fraction, here or in another segment, is a value that a person set in Amplitude. It is sent unchanged.

    :raises MissingFieldError: when another segment has no visible percentage, or a segment has an unknown weight
    :raises WrongStateError: when a segment may have a cohort condition, which cannot be sent back
    """
    if segment is None:
        return {"rolloutPercentage": percentage}
    wanted = find_segment(config, segment)
    if wanted.get("percentage") != percentage:
        refuse_cohorts(config.get("key"), config.get("targetSegments") or [], catch_all=catch_all)
    segments: list[TargetSegment] = [
        {**target, "percentage": percentage} if target is wanted else target for target in config["targetSegments"]
    ]
    refuse_unknown_values(config, segments)
    return {"targetSegments": segments}
