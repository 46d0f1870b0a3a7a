"""The note at the start of a rollout: which share of all users the stages of an experiment in a group are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.operators._group_share import read_group_share
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout._state import RolloutState


def note_group_share(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Log and record the groups of an experiment, and the share of all users at each stage.

    It takes 2 requests for an experiment, none for a flag, and none if a rollback is to be finished. The rollout does
    not depend on the answer.
    """
    flag, plan = task.flag, task.plan
    if state.rollback_reason is not None:
        return state
    try:
        share = read_group_share(flag.client, flag.target.kind, flag.config)
    except ManagementApiError as error:
        task.logger.warning(
            "Reading the groups of %s failed: %s The stages may be percentages of a part of the users.",
            task.described,
            error,
        )
        return state
    if share is None:
        return state
    flag.groups = share.ids
    whole = "all users" if plan.segment is None else f"the users of segment {plan.segment!r}"
    why = f"it is {share.describe([stage.percentage for stage in plan.all_stages], whole)}."
    task.log(why)
    return state.with_line(RecordKind.NOTE, flag.now, {"why": why})
