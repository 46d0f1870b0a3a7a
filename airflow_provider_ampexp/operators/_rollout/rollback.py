"""``AmplitudeRollbackOperator``: takes a flag back when a task of its rollout failed, by itself or by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp.operators._rollout.base import RolloutOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.operators._rollout.rollback_task import RollbackTask


class AmplitudeRollbackOperator(RolloutOperator):
    """Take the flag back to where its rollout says, when a task before this one failed.

    The last task of :func:`~airflow_provider_ampexp.task_groups.rollout.staged_rollout`, as a teardown: it runs
    however the stages ended, and is skipped where there is nothing to take back: nothing failed, nothing was raised in
    this run, or a person changed the flag meanwhile, which is left as it is. Where a stage rolled back by itself, it
    confirms that.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator`, so that it
    knows the whole rollout; it raises nothing.
    """

    ui_color = "#f8d7d0"

    @property
    def is_continuation(self) -> bool:
        """The stages began the rollout, and told what keeps users out."""
        return True

    def new_task(self, context: Context) -> RollbackTask:
        """Return what this task does when it runs."""
        from airflow_provider_ampexp.operators._rollout.rollback_task import RollbackTask

        return RollbackTask(self, context)
