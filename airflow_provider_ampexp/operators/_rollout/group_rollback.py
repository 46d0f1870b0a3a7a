"""``AmplitudeRollbackOperator``: roll a flag back when a task of its group failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp.operators._rollout.base import RolloutOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.operators._rollout.group_rollback_task import RollbackTask


class AmplitudeRollbackOperator(RolloutOperator):
    """Roll the flag back to the plan's target when a task before this one failed.

    It is the last task of :func:`~airflow_provider_ampexp.task_groups.rollout.staged_rollout`, as a teardown, so it
    runs after each end of the stages. It is skipped if no task failed, if this run raised nothing, or if a person
    changed the flag. If a stage has already rolled the flag back, the task confirms that.

    It takes the arguments of :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator`.
    """

    ui_color = "#f8d7d0"

    @property
    def is_continuation(self) -> bool:
        """The tasks of the stages began the rollout."""
        return True

    def new_task(self, context: Context) -> RollbackTask:
        """Return what this task does when it runs."""
        from airflow_provider_ampexp.operators._rollout.group_rollback_task import RollbackTask

        return RollbackTask(self, context)
