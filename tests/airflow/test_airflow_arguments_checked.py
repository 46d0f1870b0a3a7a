"""An argument that cannot be right is refused when Airflow parses the DAG."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators._rollout.release_order import AmplitudeReleaseOrderOperator
from airflow_provider_ampexp.operators.decision import AmplitudeDecideExperimentOperator
from airflow_provider_ampexp.operators.groups import (
    AmplitudeCreateMutualExclusionGroupOperator,
    AmplitudeEditGroupOperator,
)
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateFlagOperator
from airflow_provider_ampexp.operators.preview import AmplitudePreviewRolloutOperator
from airflow_provider_ampexp.operators.version import AmplitudeRestoreVersionOperator

DECISION = {"experiment_key": "checkout", "decision": "rollback"}
GROUP = {"mutex_key": "search", "name": "Search"}
PREVIEW = {"flag_key": "checkout", "percentage": 5, "conn_id": "warehouse", "sql": "select 1"}


@pytest.mark.parametrize(
    ("operator", "given", "said"),
    [
        (AmplitudeReleaseOrderOperator, {"flags": "[]"}, "flags: expected at least one flag"),
        (AmplitudeReleaseOrderOperator, {"flags": []}, "flags: expected at least one flag"),
        (AmplitudeReleaseOrderOperator, {"flags": None}, "flags: expected a list"),
        (AmplitudeReleaseOrderOperator, {"flags": "None"}, "flags: expected a list"),
        (AmplitudeReleaseOrderOperator, {"flags": ["api"]}, r"flags\[0\]: expected fields"),
        (AmplitudeReleaseOrderOperator, {"flags": [{"flag": "api"}]}, r"flags\[0\]\.flag: .*is 'flag_id' meant"),
        (AmplitudeReleaseOrderOperator, {"flags": [{"project_id": "1"}]}, r"flags\[0\].*flag_key"),
        (AmplitudeReleaseOrderOperator, {"flags": [{"flag_key": "None"}]}, r"flags\[0\]\.flag_key"),
        (AmplitudeDecideExperimentOperator, {**DECISION, "reason": ""}, "reason"),
        (AmplitudeDecideExperimentOperator, {**DECISION, "reason": "None"}, "reason"),
        (AmplitudeCreateFlagOperator, {"flag_key": "a", "description": "None"}, "description.*a Param or an XCom"),
        (AmplitudeRestoreVersionOperator, {"flag_key": "a", "version": 0}, "version: .* such as 12, got 0"),
        (AmplitudeRestoreVersionOperator, {"flag_key": "a", "version": "00"}, "version: .* such as 12, got '00'"),
        (
            AmplitudeCreateMutualExclusionGroupOperator,
            {**GROUP, "slots": [{"experiments": ["1"]}, {"percentage": 100}]},
            r"slots\[0\]\.percentage: is required",
        ),
        (
            AmplitudeCreateMutualExclusionGroupOperator,
            {**GROUP, "slots": [{"percentage": 0}, {"percentage": 100}]},
            r"slots\[0\]\.percentage: expected a whole number from 1 to 100, got 0",
        ),
        (
            AmplitudeCreateMutualExclusionGroupOperator,
            {**GROUP, "slots": [{"percentage": 4}] * 20 + [{"percentage": 20}]},
            "slots: expected 20 slots at most, got 21",
        ),
        (AmplitudeEditGroupOperator, {"mutex_key": "a", "fields": {"name": "None"}}, r"fields\.name"),
        (AmplitudePreviewRolloutOperator, {**PREVIEW, "refuse_if": {"tier": []}}, r"refuse_if\.tier.*, got \[\]"),
    ],
)
def test_it_is_refused_by_name(operator: type, given: dict[str, Any], said: str) -> None:
    with DAG("wrong"), pytest.raises(InvalidInputError, match=said):
        operator(task_id="task", **given)
