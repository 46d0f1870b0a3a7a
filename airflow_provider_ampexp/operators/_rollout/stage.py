"""``AmplitudeStageOperator``: one stage of a rollout as a task of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators._rollout.base import ReconcilingOperator
from airflow_provider_ampexp.rollout import RolloutPlan


class AmplitudeStageOperator(ReconcilingOperator):
    """Set one stage of a rollout, let it soak and check it, as one task.

    :func:`~airflow_provider_ampexp.task_groups.rollout.staged_rollout` makes one of these for each stage. It takes the
    arguments of :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator`, with the ``stages``
    of the whole rollout, and:

    :param percentage: the stage of this task. The task ends at once if the flag is already beyond it.
    :raises AirflowFailException: also if the stage before this one was never set
    """

    ui_color = "#cfe8d5"

    def __init__(self, *, percentage: int, **kwargs: Any) -> None:
        self.percentage = percentage  # before the next line, which checks the plan
        super().__init__(**kwargs)
        if not isinstance(self.stages, list | tuple):
            raise InvalidInputError("stages", "must be a list here, because each stage is a task")

    def plan(self) -> RolloutPlan:
        """Return the plan of the whole rollout, with this stage as the only own one."""
        return replace(super().plan(), only=self.percentage)

    @property
    def is_continuation(self) -> bool:
        """Whether an earlier stage's task began the rollout."""
        return self.percentage != self.plan().all_stages[0].percentage
