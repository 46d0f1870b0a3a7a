"""Make a task group of a rollout, so that the grid shows its progress."""

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
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.operators._rollout.rollback import AmplitudeRollbackOperator
from airflow_provider_ampexp.operators._rollout.stage import AmplitudeStageOperator
from airflow_provider_ampexp.rollout import RolloutPlan, parse_stages
from airflow_provider_ampexp.rollout._plan import APPROVALS, PARAMETERS, with_plan

if TYPE_CHECKING:
    from airflow_provider_ampexp.rollout._approval import OnReject
    from airflow_provider_ampexp.rollout._duration import DurationLike
    from airflow_provider_ampexp.rollout._plan import StagesLike


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
    """Make a task group of a rollout, with one task for each stage.

    ``AmplitudeRampRolloutOperator`` does the same rollout as one task. The group is
    ``stage_1 >> stage_5 >> approve_25 >> stage_25 >> ... >> rollback``. Each stage task sets its percentage, soaks and
    runs the checks. The task ``rollback`` runs if a task before it failed, was rejected or was marked as failed by a
    person. Otherwise it is skipped. A soaking stage that a person marks as success is promoted.

    :param group_id: the name of the group; default: ``rollout``
    :param plan: a :class:`~airflow_provider_ampexp.rollout.RolloutPlan` in place of the arguments that follow
    :param stages: percentages or :class:`~airflow_provider_ampexp.rollout.Stage` objects. They are not templated,
        because each stage is a task.
    :param soak: the time at each stage except the last: a ``timedelta`` or a text such as ``"2h"`` (templated)
    :param approve_before: the stages that need an approval before they are set, as percentages; default: none. The
        guardrails keep running while an approval waits.
    :param approvers: ids of the Airflow users who may answer (templated); default: each user who can edit the DAG run
    :param approval_timeout: the time for an answer: a ``timedelta`` or a text such as ``"1d"`` (templated); default: no
        limit
    :param on_reject: what to do after a rejection. ``"rollback"`` (default) rolls the flag back. ``"hold"`` leaves the
        flag as it is and skips the remaining stages.
    :param on_no_answer: what to do without an answer at the end of ``approval_timeout``: ``"rollback"`` or ``"hold"``
        (default)
    :param rollout: the flag, ``guardrails``, ``window`` and the other arguments of the ramp, and arguments of each
        task, such as ``retries``
    :raises InvalidInputError: while the DAG is parsed; names the wrong argument
    """
    given = with_plan(plan, {name: value for name, value in locals().items() if name in PARAMETERS} | rollout)
    if not arguments.is_literal(given["stages"]) or isinstance(given["stages"], str):
        raise InvalidInputError("stages", "must be known when the DAG is parsed, because each of them is a task")
    planned = parse_stages(given["stages"])
    approvals = {name: given.pop(name, PARAMETERS[name]) for name in APPROVALS}
    if not arguments.is_literal(approvals["approve_before"]):
        raise InvalidInputError("approve_before", "must be known when the DAG is parsed, because each is a task")
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
            tasks.append(AmplitudeStageOperator(task_id=f"stage_{percentage}", percentage=percentage, **given))
            for task in tasks:
                task >> back
                if last is not None:
                    last >> task
                last = task
    return group


def _check_names(given: Mapping[str, object]) -> None:
    """Refuse an argument that neither the ramp nor a task of Airflow accepts.

    Without this check, Airflow's error would name a task of the group and not the group.
    """
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
