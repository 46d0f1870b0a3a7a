"""Bring fields of a flag or experiment to wanted values, and keep what others change meanwhile (contract: *Edit*)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client.types import EditFields
from airflow_provider_ampexp.ensure._fields import differing
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._lost_updates import bring_keeping_others
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import refuse_to_empty

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


def ensure_fields(client: ManagementClient, target: FlagRef, wanted: EditFields) -> ChangeResult:
    """Bring the named fields to the wanted values and leave all others as they are.

    1 request when it is already so, 3 when not; 4 when ``targetSegments`` or ``tags`` are written. ``before`` and
    ``after`` hold the fields that were to be changed.

    :raises NotAppliedError: when the service accepted the change and does not show it (approvals)
    :raises OverwrittenError: when another changed the same list at the same moment; theirs was restored
    """
    checked = cast("EditFields", validate.flag_fields(wanted, patched=True))
    config = target.read(client)
    if "targetSegments" in differing(config, checked):
        refuse_to_empty(config.get("key"), config.get("targetSegments") or [], checked["targetSegments"])
    return bring_keeping_others(client, target, config, checked)
