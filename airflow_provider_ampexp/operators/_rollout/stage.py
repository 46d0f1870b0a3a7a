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
    :raises AirflowFailException: also when the stage before this one was never set
    """

    ui_color = "#cfe8d5"

    def __init__(self, *, percentage: int, **kwargs: Any) -> None:
        self.percentage = percentage  # before what follows, which makes the plan to check it
        super().__init__(**kwargs)
        if not isinstance(self.stages, list | tuple):
            raise InvalidInputError("stages", "must be a list here, since each of them is a task")

    def plan(self) -> RolloutPlan:
        """The plan of the whole rollout, of which this stage is carried out."""
        return replace(super().plan(), only=self.percentage)

    @property
    def is_continuation(self) -> bool:
        """Whether an earlier stage's task began the rollout."""
        return self.percentage != self.plan().all_stages[0].percentage
