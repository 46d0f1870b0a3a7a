"""A rollout as a group of tasks, one a stage, so that the grid shows where it stands."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._rollout.approval import AmplitudeApprovalOperator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.operators._rollout.rollback import AmplitudeRollbackOperator
from airflow_provider_ampexp.operators._rollout.stage import AmplitudeStageOperator
from airflow_provider_ampexp.rollout import Stage, parse_stages
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy

if TYPE_CHECKING:
    from airflow_provider_ampexp.rollout._approval import OnReject
    from airflow_provider_ampexp.rollout._plan import DurationLike


def staged_rollout(
    group_id: str = "rollout",
    *,
    stages: Sequence[int | Stage | Mapping[str, Any]],
    soak: DurationLike | None = None,
    approve_before: Collection[int] = (),
    approvers: Sequence[str] | str = (),
    approval_timeout: DurationLike | None = None,
    on_reject: OnReject = "rollback",
    on_no_answer: OnReject = "hold",
    **rollout: Any,
) -> TaskGroup:
    """Make a group of the rollout that ``AmplitudeRampRolloutOperator`` carries out as one task.

    ``stage_1 >> stage_5 >> approve_25 >> stage_25 >> ... >> rollback``: each stage sets its percentage, soaks and is
    checked; ``rollback`` runs when one of them failed, was rejected or was marked as failed by hand, and is skipped
    otherwise. Marking a soaking stage as success promotes it.

    :param group_id: the name of the group
    :param stages: percentages or :class:`~airflow_provider_ampexp.rollout.Stage` objects. No template: each is a task.
    :param soak: how long to stay at each stage but the last (templated)
    :param approve_before: the stages that somebody has to approve first, as percentages. The guardrails are asked on
        while an approval is awaited.
    :param approvers: ids of the Airflow users who may approve; if not given, whoever may edit the DAG run
    :param approval_timeout: how long an answer is awaited; for as long as it takes if not given
    :param on_reject: ``"rollback"``, or ``"hold"`` to leave the flag where it is and skip the stages that follow
    :param on_no_answer: likewise, when the time is over
    :param rollout: the flag, ``guardrails``, ``window`` and whatever else the ramp takes; and arguments of every task,
        such as ``retries``
    :raises InvalidInputError: while the DAG is parsed; names what is wrong
    """
    if not arguments.is_literal(stages) or isinstance(stages, str):
        raise InvalidInputError("stages", "must be known when the DAG is parsed, since each of them is a task")
    percentages = [stage.percentage for stage in parse_stages(stages)]
    _check_approvals(approve_before, percentages, {"approvers": approvers, "approval_timeout": approval_timeout})
    ApprovalPolicy(percentages[0], on_reject=on_reject, on_no_answer=on_no_answer)  # refuses a wrong word
    _check_names(rollout)
    shared = {**rollout, "stages": stages, "soak": soak}
    with TaskGroup(group_id) as group:
        back = AmplitudeRollbackOperator(task_id="rollback", **shared).as_teardown()
        last = None
        for percentage in percentages:
            tasks: list[AmplitudeRampRolloutOperator] = []
            if percentage in approve_before:
                tasks.append(
                    AmplitudeApprovalOperator(
                        task_id=f"approve_{percentage}",
                        before=percentage,
                        approvers=approvers,
                        approval_timeout=approval_timeout,
                        on_reject=on_reject,
                        on_no_answer=on_no_answer,
                        **shared,
                    )
                )
            tasks.append(AmplitudeStageOperator(task_id=f"stage_{percentage}", percentage=percentage, **shared))
            for task in tasks:
                task >> back
                if last is not None:
                    last >> task
                last = task
    return group


def _check_approvals(approve_before: object, percentages: list[int], about_them: Mapping[str, object]) -> None:
    """Refuse approvals of what is no stage, and what is said about approvals where there are none."""
    if isinstance(approve_before, str | Mapping) or not isinstance(approve_before, Collection):
        raise InvalidInputError("approve_before", f"expected a list of stages such as [50], got {approve_before!r}")
    unknown = [stage for stage in approve_before if stage not in percentages]
    if unknown:
        raise InvalidInputError("approve_before", f"{unknown} are none of the stages {percentages}")
    given = [name for name, value in about_them.items() if value]
    if given and not approve_before:
        raise InvalidInputError(given[0], "is about approvals, and approve_before names no stage that needs one")


def _check_names(given: Mapping[str, object]) -> None:
    """Refuse what neither the ramp nor a task of Airflow takes: Airflow would name one of the group's tasks instead."""
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
