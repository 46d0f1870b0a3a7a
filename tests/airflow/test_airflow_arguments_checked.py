"""A wrong argument is refused when Airflow parses the DAG."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators._rollout.release_order import AmplitudeReleaseOrderOperator
from airflow_provider_ampexp.operators.decision import AmplitudeDecideExperimentOperator
from airflow_provider_ampexp.operators.dependencies import AmplitudeSetDependenciesOperator
from airflow_provider_ampexp.operators.deployments import (
    AmplitudeCreateDeploymentOperator,
    AmplitudeEditDeploymentOperator,
)
from airflow_provider_ampexp.operators.groups import (
    AmplitudeAddToGroupOperator,
    AmplitudeCreateMutualExclusionGroupOperator,
    AmplitudeEditGroupOperator,
)
from airflow_provider_ampexp.operators.inclusions import (
    AmplitudeAddCohortsOperator,
    AmplitudeAddInclusionsOperator,
    AmplitudeRemoveCohortsOperator,
    AmplitudeRemoveInclusionsOperator,
    AmplitudeSetInclusionsOperator,
)
from airflow_provider_ampexp.operators.inventory import AmplitudeGetOperator, AmplitudeListOperator
from airflow_provider_ampexp.operators.lifecycle import (
    AmplitudeCreateExperimentOperator,
    AmplitudeCreateFlagOperator,
    AmplitudeEditOperator,
    AmplitudeEnableOperator,
)
from airflow_provider_ampexp.operators.preview import AmplitudePreviewRolloutOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeSetWeightsOperator
from airflow_provider_ampexp.operators.variants import AmplitudeCreateVariantOperator, AmplitudeEditVariantOperator
from airflow_provider_ampexp.operators.version import AmplitudeRestoreVersionOperator
from airflow_provider_ampexp.sensors.experiment import AmplitudeExperimentStateSensor
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

DECISION = {"experiment_key": "checkout", "decision": "rollback"}
VARIANT = {"flag_key": "checkout", "variant": "on"}
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
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"name": "None"}}, r"fields\.name: expected a text"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"name": ""}}, r"fields\.name: expected a non-empty"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"description": "None"}}, r"fields\.description"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"bucketingKey": "None"}}, r"fields\.bucketingKey"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"tags": "checkout"}}, r"fields\.tags: expected a list"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"tags": ["None"]}}, r"fields\.tags\[0\]"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"tags": [""]}}, r"fields\.tags\[0\]"),
        (AmplitudeCreateFlagOperator, {"flag_key": "a\n"}, "flag_key: .* without line ends, got 'a"),
        (AmplitudeCreateFlagOperator, {"flag_key": "a", "name": ""}, "name: expected a non-empty string"),
        (AmplitudeCreateFlagOperator, {"flag_key": "a", "bucketing_key": ""}, "bucketing_key: expected a non-empty"),
        (
            AmplitudeCreateFlagOperator,
            {"flag_key": "a", "evaluation_mode": "Remote"},
            "evaluation_mode: .*'remote' meant",
        ),
        (
            AmplitudeCreateFlagOperator,
            {"flag_key": "a", "rollout_weights": {}},
            "rollout_weights: expected at least one",
        ),
        (
            AmplitudeCreateFlagOperator,
            {"flag_key": "a", "variants": [{"name": "on"}]},
            r"variants\[0\]\.key: is required",
        ),
        (AmplitudeCreateFlagOperator, {"flag_key": "a", "variants": [{"key": "None"}]}, r"variants\[0\]\.key"),
        (
            AmplitudeCreateFlagOperator,
            {"flag_key": "a", "variants": [{"key": "."}]},
            r"variants\[0\]\.key: '\.' is not",
        ),
        (AmplitudeCreateExperimentOperator, {"experiment_key": " a"}, "experiment_key: .* without spaces around it"),
        (AmplitudeEnableOperator, {"flag_id": "12 "}, "flag_id: .* without spaces around it"),
        (AmplitudeEnableOperator, {"flag_key": "a", "project_id": "1\n"}, "project_id: .* without line ends"),
        (AmplitudeSetWeightsOperator, {"flag_key": "a", "weights": {}}, "weights: expected at least one variant"),
        (AmplitudeAddInclusionsOperator, {**VARIANT, "users": ["ann", "bob\n"]}, r"users\[1\]: .* without line ends"),
        (AmplitudeAddInclusionsOperator, {**VARIANT, "users": ["ann\nbob"]}, r"users\[0\]: .* without line ends"),
        (AmplitudeSetInclusionsOperator, {**VARIANT, "users": [" ann"]}, r"users\[0\]: .* without spaces around it"),
        (AmplitudeAddCohortsOperator, {**VARIANT, "cohorts": ["abc\n"]}, r"cohorts\[0\]: .* without line ends"),
        (AmplitudeCreateVariantOperator, {"flag_key": "a", "variant": "on\n"}, "variant: .* without line ends"),
        (AmplitudeEditVariantOperator, {**VARIANT, "fields": {}}, "fields: expected fields to change, got none"),
        (AmplitudeEditVariantOperator, {**VARIANT, "fields": {"key": "None"}}, r"fields\.key: expected a text"),
        (AmplitudeEditVariantOperator, {**VARIANT, "fields": {"name": "None"}}, r"fields\.name"),
        (AmplitudeCreateDeploymentOperator, {"label": "None", "deployment_type": "server"}, "label: expected a text"),
        (
            AmplitudeEditDeploymentOperator,
            {"deployment_id": "1", "label": "null"},
            "label: expected a text, got 'null'",
        ),
        (
            AmplitudeAddToGroupOperator,
            {"experiment_key": "a", "holdout_key": "b\n"},
            "holdout_key: .* without line ends",
        ),
        (AmplitudeGetOperator, {"flag_key": "a", "fields": []}, "fields: expected at least one field, got none"),
        (AmplitudeListOperator, {"kind": "flags", "fields": "[]"}, "fields: expected at least one field, got none"),
        (AmplitudeSetDependenciesOperator, {"flag_key": "a", "depends_on": {"None": ["on"]}}, r"depends_on\.None: "),
        (
            AmplitudeRolloutSensor,
            {"flag_key": "a", "at_least": 5, "deferrable": "no"},
            "deferrable: expected true or false, got 'no'",
        ),
        (
            AmplitudeExperimentStateSensor,
            {"experiment_key": "a", "states": ["running"], "failed_states": ["planning", "running"]},
            r"failed_states\[1\]: 'running' is one of states too",
        ),
        (AmplitudePreviewRolloutOperator, {**PREVIEW, "refuse_if": {"tier": []}}, r"refuse_if\.tier.*, got \[\]"),
    ],
)
def test_it_is_refused_by_name(operator: type, given: dict[str, Any], said: str) -> None:
    with DAG("wrong"), pytest.raises(InvalidInputError, match=said):
        operator(task_id="task", **given)


def test_what_was_included_by_mistake_can_be_removed() -> None:
    with DAG("right"):
        AmplitudeRemoveInclusionsOperator(task_id="users", **VARIANT, users=["ann\n"])
        AmplitudeRemoveCohortsOperator(task_id="cohorts", **VARIANT, cohorts=[" abc"])
        AmplitudeEditVariantOperator(task_id="variant", flag_key="a", variant="on\n", fields={"key": "on"})
        AmplitudeEditOperator(task_id="tags", flag_key="a", fields={"tags": "['a', 'b']", "description": ""})
