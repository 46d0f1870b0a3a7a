"""A wrong argument of `staged_rollout` is refused when the DAG is parsed, by the name that the user gave."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators._rollout.approval import AmplitudeApprovalOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

PLAN: dict[str, Any] = {"flag_key": "search", "stages": [1, 50, 100], "soak": "1h"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"approve_before": 50}, r"approve_before: expected a list of stages such as \[50\], got 50"),
        ({"approve_before": "50"}, "approve_before: expected a list of stages"),
        ({"approve_before": ["50"]}, r"approve_before\[0\]: 50 is none of the stages"),
        ({"approve_before": [50, "x"]}, r"approve_before\[1\]: x is none of the stages"),
        ({"approve_before": [50], "on_reject": "holdd"}, r"on_reject: .*'holdd'.*is 'hold' meant"),
        ({"on_no_answer": "rolback"}, r"on_no_answer: .*'rolback'.*is 'rollback' meant"),
        ({"approvers": ["eve"]}, r"approvers: .*approve_before"),
        ({"approval_timeout": "1d"}, r"approval_timeout: .*approve_before"),
        ({"approve_before": [50], "approvers": ""}, "^approvers: expected a list, got ''"),
        ({"approve_before": [50], "approvers": "[]"}, "^approvers: expected at least one user, got none"),
        ({"approve_before": [50], "approvers": "None"}, "^approvers: expected a list, got None"),
        ({"approve_before": [50], "approvers": False}, "^approvers: expected a list, got False"),
        ({"approve_before": [50], "approvers": set()}, "^approvers: expected at least one user, got none"),
        ({"approve_before": [50], "approvers": [""]}, r"^approvers\[0\]: expected a non-empty string, got ''"),
        (
            {"approve_before": [50], "approvers": ["eve", None]},
            r"^approvers\[1\]: expected a non-empty string, got None",
        ),
        ({"gaurdrails": []}, "gaurdrails: is not an argument of staged_rollout; is 'guardrails' meant"),
        ({"retrys": 3}, r"retrys: .*is 'retries' meant"),
        ({"zzz": 3}, r"zzz: is not an argument of staged_rollout$"),
        ({"task_id": "ramp"}, "task_id: is not an argument of staged_rollout"),
    ],
    ids=str,
)
def test_a_wrong_argument_of_the_group_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    with DAG("refused", schedule=None), pytest.raises(InvalidInputError, match=said):
        staged_rollout(**{**PLAN, **wrong})


def test_the_group_takes_what_the_ramp_and_every_task_take() -> None:
    with DAG("taken", schedule=None):
        staged_rollout(**PLAN, approve_before={50}, hold_tag="wait", retries=3, queue="slow", doc_md="A rollout")


def test_on_reject_is_checked_also_where_the_timeout_is_a_template() -> None:
    with pytest.raises(InvalidInputError, match=r"on_reject: .*is 'hold' meant"):
        AmplitudeApprovalOperator(
            task_id="approve", before=50, on_reject="holdd", approval_timeout="{{ params.timeout }}", **PLAN
        )


@pytest.mark.parametrize("nobody_named", [None, (), []], ids=str)
def test_all_users_may_approve_where_the_dag_file_names_none(nobody_named: Any) -> None:
    approval = AmplitudeApprovalOperator(task_id="approve", before=50, approvers=nobody_named, **PLAN)
    assert approval.approver_ids() == []
