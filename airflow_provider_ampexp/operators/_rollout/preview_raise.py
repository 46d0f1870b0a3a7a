"""The preview of a raise: who enters, by the warehouse."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.operators._preview import begin_preview, count_entrants, refusal_of
from airflow_provider_ampexp.operators._rollout.record import mask_secrets
from airflow_provider_ampexp.rollout import PreviewResult
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.operators.preview import PreviewXCom
    from airflow_provider_ampexp.rollout import RolloutPreview
    from airflow_provider_ampexp.rollout._actions import PreviewRaise
    from airflow_provider_ampexp.rollout._state import RolloutState

LIMIT = timedelta(minutes=10)
"""The time limit of the query. Until it ends, no guardrail runs."""
_LONGEST_CAUSE = 300


def preview_raise(task: RolloutTask, action: PreviewRaise, state: RolloutState) -> RolloutState:
    """Compute the preview, log it, and add it to the record.

    A preview that cannot be computed is shown in the approval, where a person decides.

    :raises AmplitudeTaskError: when the preview cannot be computed, and without an approval ``refuse_if`` decides
    """
    plan, flag, percentage = task.plan, task.flag, action.percentage
    assert plan.preview is not None
    preview = plan.preview.at(percentage)
    try:
        result = _compute(task, preview, percentage)
    except Exception as error:
        why = f"Preview of {percentage} % failed: {_cause(error)}."
        if preview.refuse_if and plan.approval is None:
            raise AmplitudeTaskError(
                f"{why} Nothing was raised: {task.described} is at {flag.seen.exposure}. Correct the preview, or "
                "remove refuse_if."
            ) from error
        if preview.refuse_if:
            why += " Users whom refuse_if names may enter."
        task.logger.warning("%s", why)
        state = state.with_line(RecordKind.WARNING, flag.now, {"why": why})
        return replace(state, preview=PreviewResult(percentage, why))
    text = mask_secrets(result["text"])
    task.log(f"Preview: {text}.")
    state = state.with_line(RecordKind.PREVIEW, flag.now, {"stage": percentage, "why": text})
    return replace(state, preview=PreviewResult(percentage, f"{text}.", mask_secrets(refusal_of(result))))


def _compute(task: RolloutTask, preview: RolloutPreview, percentage: int) -> PreviewXCom:
    flag = task.flag
    entrants = begin_preview(
        flag.client, flag.target, preview, percentage, segment=flag.segment, catch_all=flag.catch_all
    )
    counting = limited_call.begin(lambda: count_entrants(entrants, percentage, flag.segment), "preview")
    return counting.result(LIMIT.total_seconds())


def _cause(error: Exception) -> str:
    text = " ".join(mask_secrets(str(error)).split()) or type(error).__name__
    return (text if len(text) <= _LONGEST_CAUSE else f"{text[:_LONGEST_CAUSE]} ...").removesuffix(".")
