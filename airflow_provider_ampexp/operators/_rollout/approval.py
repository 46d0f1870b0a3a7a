"""``AmplitudeApprovalOperator``: wait for an approval before a stage, while the guardrails keep running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._rollout.base import ReconcilingOperator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy, OnReject
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_duration


class AmplitudeApprovalOperator(ReconcilingOperator):
    """Wait for a person to approve a stage under *Required Actions*. The guardrails keep running.

    The standard provider's ``ApprovalOperator`` uses the same interface of Airflow, and runs nothing until the answer
    comes. In this operator, a failed guardrail rolls the flag back and ends the wait.

    It takes the arguments of :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator`, raises
    nothing, and takes:

    :param before: the percentage of the stage that needs the approval
    :param approvers: ids of the Airflow users who may answer; if not given, all users who may edit the DAG run
        (templated). A template that renders to an empty value fails the task. With
        ``[core] simple_auth_manager_all_admins`` all people are the same user, so each may answer.
    :param approval_timeout: how long to wait for an answer: a ``timedelta`` or a text such as ``"12h"``; without limit
        if not given (templated)
    :param on_reject: ``"rollback"`` rolls back and fails; ``"hold"`` leaves the flag and skips the next tasks
    :param on_no_answer: the same, after ``approval_timeout``

    ``execution_timeout`` does not end the wait, because it counts only while the task is on a worker.
    """

    template_fields: Sequence[str] = (*ReconcilingOperator.template_fields, "approvers", "approval_timeout")
    ui_color = "#fdf0c4"

    def __init__(
        self,
        *,
        before: int,
        approvers: Sequence[str] | str | None = (),
        approval_timeout: DurationLike | None = None,
        on_reject: OnReject | str = "rollback",
        on_no_answer: OnReject | str = "hold",
        **kwargs: Any,
    ) -> None:
        self.before = before
        self.approvers = approvers
        self.approval_timeout = approval_timeout
        self.on_reject = on_reject
        self.on_no_answer = on_no_answer
        # Only the DAG file can name all users. An empty list in place of a template is a missing value.
        self._asks_all_users = approvers is None or (isinstance(approvers, list | tuple) and not approvers)
        # Only the triggerer and a resumed task get the answer.
        super().__init__(**{**kwargs, "deferrable": True})
        self.approval()

    def plan(self) -> RolloutPlan:
        """Return the plan of the whole rollout, without an own stage."""
        return replace(super().plan(), approval=self.approval())

    def approver_ids(self) -> list[str]:
        """Return the users who may answer, after the arguments are rendered; an empty list is for all users.

        :raises InvalidInputError: when the value is empty and the DAG file does not say so
        """
        return [] if self._asks_all_users else arguments.approvers("approvers", self.approvers)

    def approval(self) -> ApprovalPolicy:
        """Return the policy, after the arguments are rendered."""
        if arguments.is_literal(self.approvers):
            self.approver_ids()
        given = self.approval_timeout
        is_known = given is not None and arguments.is_literal(given)
        timeout = parse_duration("approval_timeout", given) if is_known else None
        return ApprovalPolicy(self.before, timeout, self.on_reject, self.on_no_answer)

    @property
    def is_continuation(self) -> bool:
        """Whether an earlier stage's task began the rollout."""
        return self.before != super().plan().all_stages[0].percentage
