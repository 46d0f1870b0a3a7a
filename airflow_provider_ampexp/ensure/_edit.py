"""Set fields of a flag or experiment, and keep concurrent changes by others (contract: *Edit*)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow_provider_ampexp.client import _request_body as request_body
from airflow_provider_ampexp.client.types import EditFields, FlagConfig
from airflow_provider_ampexp.ensure._fields import differing
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._lost_updates import write_and_keep_edits
from airflow_provider_ampexp.ensure._no_weight import refuse_segments_without_weight
from airflow_provider_ampexp.ensure._reached import with_unreached_notes
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import refuse_catch_alls, shown_segments

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


def ensure_fields(
    client: ManagementClient, target: FlagRef, wanted: EditFields, *, catch_all: str | None = None
) -> ChangeResult:
    """Set the named fields, and leave all others.

    1 request without a change, 3 with a change, 4 if the percentage, ``targetSegments`` or ``tags`` are written.
    ``before`` and ``after`` contain the fields to change.

    :param catch_all: the name of a target segment without conditions on purpose; any other one without conditions is
        refused
    :raises ChangeNotVisibleError: when the service accepted the change and does not show it (approvals)
    :raises ConflictError: when another actor changed the same percentage or list at the same moment; that change was
        restored
    """
    checked = cast("EditFields", request_body.flag_fields(wanted, patched=True))
    return write_validated_fields(client, target, target.read(client), checked, catch_all=catch_all)


def write_validated_fields(
    client: ManagementClient,
    target: FlagRef,
    config: FlagConfig,
    wanted: EditFields,
    *,
    catch_all: str | None = None,
) -> ChangeResult:
    """Set validated fields of a flag that was just read.

    :raises WrongStateError: when a segment would capture all users, or would have a percentage and no weight
    """
    refuse_wrong_segments(config, wanted, catch_all=catch_all)
    outcome = write_and_keep_edits(client, target, config, wanted)
    return with_unreached_notes(outcome, config, wanted)


def refuse_wrong_segments(config: FlagConfig, wanted: EditFields, *, catch_all: str | None = None) -> None:
    """Raise if the fields replace the segments by a list that is not safe.

    :raises WrongStateError: when a segment would capture all users, or would have a percentage and no weight
    :raises MissingFieldError: when the service does not show the segments that the list would replace
    """
    if "targetSegments" in differing(config, wanted):
        segments = shown_segments(config)
        refuse_segments_without_weight(config.get("key"), segments, wanted["targetSegments"])
        refuse_catch_alls(config.get("key"), segments, wanted["targetSegments"], catch_all=catch_all)
