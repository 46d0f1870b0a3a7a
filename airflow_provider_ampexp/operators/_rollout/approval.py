"""``AmplitudeApprovalOperator``: somebody has to approve before a stage, while the guardrails go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._rollout.base import ReconcilingOperator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy, OnReject
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_duration

if TYPE_CHECKING:
    pass


class AmplitudeApprovalOperator(ReconcilingOperator):
    """Wait until somebody approves a stage under *Required Actions*; the guardrails are asked on meanwhile.

    It is what the standard provider's ``ApprovalOperator`` is, on the same interface of Airflow, but for one thing:
    that one parks its task until the answer comes, so that no guardrail could act while a person sleeps. Here a failed
    guardrail rolls the flag back and ends the waiting.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator` (of which it
    raises nothing), and:

    :param before: the stage, as a percentage, that is not set without approval
    :param approvers: ids of the Airflow users who may answer; if not given, everybody who may edit the DAG run
        (templated). With ``[core] simple_auth_manager_all_admins`` everybody is the same user, and anybody may answer.
    :param approval_timeout: how long to wait for an answer: a ``timedelta`` or a text such as ``"12h"``; for
        as long as it takes if not given (templated)
    :param on_reject: ``"rollback"`` to where the plan says, and fail; or ``"hold"``: leave the flag where it is, and
        skip what comes next
    :param on_no_answer: the same when the time is over

    ``execution_timeout`` does not end the waiting: it counts only while the task is on a worker.
    """

    template_fields: Sequence[str] = (*ReconcilingOperator.template_fields, "approvers", "approval_timeout")
    ui_color = "#fdf0c4"

    def __init__(
        self,
        *,
        before: int,
        approvers: Sequence[str] | str = (),
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
        # A worker is never told the answer; the triggerer and the task that is resumed are.
        super().__init__(**{**kwargs, "deferrable": True})
        arguments.check_literal("approvers", approvers, arguments.approvers)
        self.approval()

    def plan(self) -> RolloutPlan:
        """The plan of the whole rollout, of which nothing is carried out here."""
        return replace(super().plan(), approval=self.approval())

    def approval(self) -> ApprovalPolicy:
        """What is asked, once the arguments are rendered."""
        given = self.approval_timeout
        is_known = given is not None and arguments.is_literal(given)
        timeout = parse_duration("approval_timeout", given) if is_known else None
        return ApprovalPolicy(self.before, timeout, self.on_reject, self.on_no_answer)

    @property
    def is_continuation(self) -> bool:
        """Whether an earlier stage's task began the rollout."""
        return self.before != super().plan().all_stages[0].percentage
