"""A rollout as a task group, with one task for each stage in the grid view."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._rollout.approval import AmplitudeApprovalOperator
from airflow_provider_ampexp.operators._rollout.base import RolloutOperator
from airflow_provider_ampexp.operators._rollout.group_rollback import AmplitudeRollbackOperator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.operators._rollout.stage import AmplitudeStageOperator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._plan import APPROVALS, PARAMETERS, with_plan
from airflow_provider_ampexp.rollout._stages import parse_stages

if TYPE_CHECKING:
    from airflow_provider_ampexp.rollout._approval import OnReject
    from airflow_provider_ampexp.rollout._duration import DurationLike
    from airflow_provider_ampexp.rollout._plan import StagesLike

__all__ = ["staged_rollout"]


def staged_rollout(
    group_id: str = "rollout",
    *,
    plan: RolloutPlan | None = None,
    stages: StagesLike | None = None,
    soak: DurationLike | None = None,
    approve_before: Collection[int] = (),
    approvers: Sequence[str] | str = (),
    approval_timeout: DurationLike | None = None,
    on_reject: OnReject | str = "rollback",
    on_no_answer: OnReject | str = "hold",
    **rollout: Any,
) -> TaskGroup:
    """Make a task group for a rollout, with one task for each stage.

    ``AmplitudeRampRolloutOperator`` carries out the same rollout as one task. The group is
    ``stage_1 >> stage_5 >> approve_25 >> stage_25 >> ... >> rollback``. Each stage task sets its percentage, soaks and
    runs the guardrails. ``rollback`` runs if a task failed or was marked as failed, or if an approver rejected a stage.
    Otherwise ``rollback`` is skipped. To promote a soaking stage, mark its task as success.

    :param group_id: the name of the group
    :param plan: a :class:`~airflow_provider_ampexp.rollout.RolloutPlan`, in place of the arguments of a plan
    :param stages: percentages or :class:`~airflow_provider_ampexp.rollout.Stage` objects (not templated, because each
        stage is a task)
    :param soak: the time at each stage except the last (templated)
    :param approve_before: the stages that need an approval, as percentages. The guardrails keep running during the
        wait for an approval.
    :param approvers: ids of the Airflow users who may approve; if not given, all users who may edit the DAG run
    :param approval_timeout: how long to wait for an answer; if not given, without limit
    :param on_reject: ``"rollback"``, or ``"hold"`` to leave the flag as it is and skip the next stages
    :param on_no_answer: the same, after ``approval_timeout``
    :param rollout: the flag, ``guardrails``, ``window`` and the other arguments of the ramp, and arguments of all
        tasks, such as ``retries``
    :raises InvalidInputError: when Airflow parses the DAG; names the argument
    """
    given = with_plan(plan, {name: value for name, value in locals().items() if name in PARAMETERS} | rollout)
    if not arguments.is_literal(given["stages"]) or isinstance(given["stages"], str):
        raise InvalidInputError("stages", "must be known when the DAG is parsed, because each stage is a task")
    planned = parse_stages(given["stages"])
    approvals = {name: given.pop(name, PARAMETERS[name]) for name in APPROVALS}
    RolloutPlan(planned, **{name: value for name, value in approvals.items() if arguments.is_literal(value)})
    _check_names(given)
    to_approve = approvals.pop("approve_before")
    with TaskGroup(group_id) as group:
        back = AmplitudeRollbackOperator(task_id="rollback", **given).as_teardown()
        last = None
        for percentage in (stage.percentage for stage in planned):
            tasks: list[RolloutOperator] = []
            if percentage in to_approve:
                name = f"approve_{percentage}"
                tasks.append(AmplitudeApprovalOperator(task_id=name, before=percentage, **approvals, **given))
                # The approval shows the preview, so the stage needs none.
                of_stage = {**given, "preview": None}
            else:
                of_stage = given
            tasks.append(AmplitudeStageOperator(task_id=f"stage_{percentage}", percentage=percentage, **of_stage))
            for task in tasks:
                task >> back
                if last is not None:
                    last >> task
                last = task
    return group


def _check_names(given: Mapping[str, object]) -> None:
    """Refuse an unknown argument, and name it. The error of Airflow would name a task of the group instead."""
    known = {
        name
        for kind in AmplitudeRampRolloutOperator.__mro__
        if "__init__" in vars(kind)
        for name in inspect.signature(vars(kind)["__init__"]).parameters
    } - {"self", "args", "kwargs", "task_id"}
    for name in given:
        if name not in known:
            own = inspect.signature(staged_rollout).parameters.keys() - {"rollout"}
            raise InvalidInputError(name, f"is not an argument of staged_rollout{validate.nearest(name, known | own)}")
