"""Each operator, as a task that Airflow runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, chain, task
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run
from ramps import Failures

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.operators._change import AmplitudeChangeOperator
from airflow_provider_ampexp.operators.decision import AmplitudeDecideExperimentOperator
from airflow_provider_ampexp.operators.dependencies import AmplitudeSetDependenciesOperator
from airflow_provider_ampexp.operators.deployments import (
    AmplitudeAddDeploymentsOperator,
    AmplitudeCreateDeploymentOperator,
    AmplitudeEditDeploymentOperator,
    AmplitudeRemoveDeploymentOperator,
)
from airflow_provider_ampexp.operators.groups import (
    AmplitudeAddToGroupOperator,
    AmplitudeCreateHoldoutGroupOperator,
    AmplitudeCreateMutualExclusionGroupOperator,
    AmplitudeEditGroupOperator,
    AmplitudeRemoveFromGroupOperator,
)
from airflow_provider_ampexp.operators.inclusions import (
    AmplitudeAddCohortsOperator,
    AmplitudeAddInclusionsOperator,
    AmplitudeClearInclusionsOperator,
    AmplitudeRemoveCohortsOperator,
    AmplitudeRemoveInclusionsOperator,
    AmplitudeSetCohortsOperator,
    AmplitudeSetInclusionsOperator,
)
from airflow_provider_ampexp.operators.lifecycle import (
    AmplitudeArchiveOperator,
    AmplitudeCreateExperimentOperator,
    AmplitudeCreateFlagOperator,
    AmplitudeDisableOperator,
    AmplitudeEditOperator,
    AmplitudeEnableOperator,
    AmplitudeRestoreOperator,
)
from airflow_provider_ampexp.operators.rollout import AmplitudeSetRolloutOperator, AmplitudeSetWeightsOperator
from airflow_provider_ampexp.operators.variants import (
    AmplitudeCreateVariantOperator,
    AmplitudeEditVariantOperator,
    AmplitudeRemoveVariantOperator,
)
from airflow_provider_ampexp.operators.version import AmplitudeRestoreVersionOperator
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

Runner = Callable[[DAG], Run]

WEB_APP = "{{ ti.xcom_pull(task_ids='AmplitudeCreateDeploymentOperator')['id'] }}"
CHECKOUT = {"flag_key": "checkout"}
BUTTON = {"experiment_key": "button"}
WHOLE = [{"percentage": 100}]
GERMANY = {"type": "property", "prop": "country", "op": "is"}
ON = {"flag_key": "checkout", "variant": "on"}

# Each case needs the results of the cases before it. The numbers are the requests of a first run, and of a second run
# without a change, by key. By id it is one less if the flag itself need not be read.
STEPS: list[tuple[type[AmplitudeChangeOperator], dict[str, Any], int, int]] = [
    (
        AmplitudeCreateFlagOperator,
        {
            **CHECKOUT,
            "name": "Checkout",
            "description": "The new\ncheckout ☕",
            "variants": [{"key": "on", "payload": {"color": "red"}}, {"key": "off"}],
            "rollout_weights": {"on": 1, "off": 1},
            "target_segments": [
                {
                    "name": "Beta",
                    "conditions": [{"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}],
                    "percentage": 0,
                    "bucketingKey": "amplitude_id",
                    "rolloutWeights": {"on": 1},
                }
            ],
            "evaluation_mode": "remote",
            "bucketing_key": "amplitude_id",
        },
        3,
        1,
    ),
    (
        AmplitudeCreateExperimentOperator,
        {
            "experiment_key": "button",
            "variants": [{"key": "control"}, {"key": "treatment"}],
            "experiment_type": "no-harm",
        },
        3,
        1,
    ),
    (AmplitudeEditOperator, {**CHECKOUT, "fields": {"name": "Checkout 2", "tags": ["web"]}}, 4, 1),
    (AmplitudeRestoreVersionOperator, {**CHECKOUT, "version": "1", "fields": ["tags"], "overwrite": ["Airflow"]}, 5, 2),
    (AmplitudeEnableOperator, CHECKOUT, 3, 1),
    (AmplitudeSetRolloutOperator, {**CHECKOUT, "percentage": "50", "segment": "Beta"}, 4, 1),
    (AmplitudeSetWeightsOperator, {"experiment_key": "button", "weights": {"control": 1, "treatment": 3}}, 6, 2),
    (
        AmplitudeDecideExperimentOperator,
        {"experiment_key": "button", "decision": "rollout", "winner": "treatment", "reason": "It won."},
        8,
        2,
    ),
    (AmplitudeSetDependenciesOperator, {**CHECKOUT, "depends_on": {"button": ["treatment"]}}, 5, 3),
    (AmplitudeAddInclusionsOperator, {**ON, "users": ["ana", "b/c@d"]}, 4, 2),
    (AmplitudeSetInclusionsOperator, {**ON, "users": ["ana", "eve"]}, 6, 2),
    (AmplitudeRemoveInclusionsOperator, {**ON, "users": ["ana"]}, 4, 2),
    (AmplitudeClearInclusionsOperator, ON, 4, 2),
    (AmplitudeAddCohortsOperator, {**ON, "cohorts": ["c1", "c2"]}, 4, 2),
    (AmplitudeSetCohortsOperator, {**ON, "cohorts": ["c2", "c3"]}, 6, 2),
    (AmplitudeRemoveCohortsOperator, {**ON, "cohorts": ["c2"]}, 4, 2),
    (
        AmplitudeCreateVariantOperator,
        {**CHECKOUT, "variant": "blue", "name": "Blue", "payload": [1, None], "rollout_weight": "2"},
        4,
        2,
    ),
    (AmplitudeEditVariantOperator, {**CHECKOUT, "variant": "blue", "fields": {"payload": "x"}}, 4, 2),
    (AmplitudeRemoveVariantOperator, {**CHECKOUT, "variant": "blue"}, 7, 2),
    (AmplitudeCreateDeploymentOperator, {"label": "web-app", "deployment_type": "client"}, 3, 1),
    (AmplitudeEditDeploymentOperator, {"deployment_id": WEB_APP, "label": "web"}, 3, 1),
    (AmplitudeAddDeploymentsOperator, {**CHECKOUT, "deployment_ids": [WEB_APP]}, 4, 2),
    (AmplitudeRemoveDeploymentOperator, {**CHECKOUT, "deployment_id": WEB_APP}, 4, 2),
    (
        AmplitudeCreateMutualExclusionGroupOperator,
        {
            "mutex_key": "tests",
            "name": "Tests",
            "description": "",
            "slots": [{"percentage": "30", "individuals": ["ana"]}, {"percentage": 70}],
            "evaluation_mode": "remote",
            "bucketing_key": "user_id",
        },
        3,
        1,
    ),
    (
        AmplitudeCreateHoldoutGroupOperator,
        {
            "holdout_key": "no-tests",
            "name": "No tests",
            "holdout_percentage": "5",
            "experiment_ids": [],
            "individual_inclusion": ["eve"],
            "individual_exclusion": ["b/c@d"],
        },
        3,
        1,
    ),
    (AmplitudeEditGroupOperator, {"mutex_key": "tests", "slot": "1", "fields": {"individuals": []}}, 3, 1),
    (AmplitudeAddToGroupOperator, {"experiment_key": "button", "mutex_key": "tests", "slot": 2}, 4, 2),
    (AmplitudeRemoveFromGroupOperator, {"experiment_key": "button", "mutex_key": "tests"}, 4, 2),
    (AmplitudeDisableOperator, CHECKOUT, 3, 1),
    (AmplitudeArchiveOperator, CHECKOUT, 5, 1),
    (AmplitudeRestoreOperator, CHECKOUT, 3, 1),
]


def test_every_operator_changes_once_and_then_nothing(run: Runner, emulator: Emulator, dag_id: str) -> None:
    emulator.settings(extra_endpoints=True)
    requests: dict[str, int] = {}

    def before(context: Any) -> None:
        emulator.clear_requests()

    def after(context: Any, result: Any) -> None:
        requests[context["ti"].task_id] = emulator.requests()["total"]

    with DAG(dag_id) as dag:
        chain(
            *(
                operator(task_id=f"{operator.__name__}{again}", pre_execute=before, post_execute=after, **arguments)
                for operator, arguments, _, _ in STEPS
                for again in ("", "_again")
            )
        )
    ran = run(dag)

    assert ran.succeeded, {name: state for name, state in ran.states.items() if state != "success"}
    names = [operator.__name__ for operator, *_ in STEPS]
    outcomes = {name: ran.xcom(name) for name in ran.states}
    assert all(set(value) == {"id", "key", "changed", "before", "after", "url"} for value in outcomes.values())
    assert [outcomes[name]["changed"] for name in names] == [True] * len(names)
    assert [outcomes[f"{name}_again"]["changed"] for name in names] == [False] * len(names)
    assert {name: (requests[name], requests[f"{name}_again"]) for name in names} == {
        operator.__name__: (first, second) for operator, _, first, second in STEPS
    }
    # and the emulator itself shows the change
    flag = emulator.flag(outcomes["AmplitudeCreateFlagOperator"]["id"])
    experiment = emulator.experiment(outcomes["AmplitudeCreateExperimentOperator"]["id"])
    assert (flag["key"], flag["name"], flag["description"]) == ("checkout", "Checkout 2", "The new\ncheckout ☕")
    assert (flag["tags"], flag["enabled"], flag["deleted"], flag["deployments"]) == ([], False, False, [])
    assert flag["targetSegments"][0]["percentage"] == 50
    assert [variant["key"] for variant in flag["variants"]] == ["on", "off"]
    assert flag["variants"][0]["payload"] == {"color": "red"}
    assert experiment["rolloutWeights"] == {"control": 0, "treatment": 3}
    assert (experiment["decision"], experiment["decisionReason"]) == ("rollout", "It won.")
    assert experiment["experimentType"] == "no-harm"
    assert flag["parentDependencies"] == {"flags": {experiment["id"]: ["treatment"]}, "operator": "all"}
    assert emulator.inclusions("flags", flag["id"], "on") == []
    assert [stored["cohorts"] for stored in emulator.dump()["flags"]] == [{"on": ["c3"]}]
    assert [stored["label"] for stored in emulator.dump()["deployments"]][-1] == "web"
    (mutex,) = emulator.dump()["mutexes"]
    (holdout,) = emulator.dump()["holdouts"]
    assert (mutex["name"], mutex["description"], mutex["bucketingKey"]) == ("Tests", "", "user_id")
    assert [(slot["percentage"], slot["individuals"], slot["experiments"]) for slot in mutex["slots"]] == [
        (30, [], []),
        (70, [], []),
    ]
    assert (holdout["holdoutPercentage"], holdout["experiments"], holdout["individualInclusion"]) == (5, [], ["eve"])
    assert holdout["individualExclusion"] == ["b/c@d"]
    assert outcomes["AmplitudeAddToGroupOperator"]["after"] == [2]
    assert outcomes["AmplitudeRemoveFromGroupOperator"]["before"] == [2]
    assert outcomes["AmplitudeEnableOperator"]["after"] == {"enabled": True}


def test_every_operator_of_the_package_is_among_them() -> None:
    found = set()
    pending = [AmplitudeChangeOperator]
    while pending:
        one = pending.pop()
        pending += one.__subclasses__()
        if not one.__abstractmethods__ and not one.__name__.startswith("_"):
            found.add(one)
    found = {module_class for module_class in found if module_class.__module__.startswith("airflow_provider_ampexp.")}
    assert {operator for operator, *_ in STEPS} == found


def test_by_id_templated_mapped_and_from_other_tasks(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag = emulator.create_flag("search", enabled=True, variants=[{"key": "on"}])
    others = [emulator.create_flag(f"market_{name}", variants=[{"key": "on"}]) for name in ("de", "fr")]
    experiment = emulator.create_experiment("button", variants=[{"key": "control"}, {"key": "treatment"}])

    with DAG(
        dag_id,
        params={
            "percentage": 5,
            "flag": flag["id"],
            "users": ["ana", "bob"],
            "weights": {"control": 3, "treatment": 1},
        },
    ) as dag:

        @task
        def percentage() -> int:
            return 10

        @task
        def markets() -> list[dict[str, Any]]:
            return [{"flag_key": "market_de", "percentage": 1}, {"flag_key": "market_fr", "percentage": "2"}]

        by_id = AmplitudeSetRolloutOperator(
            task_id="by_id", flag_id="{{ params.flag }}", percentage="{{ params.percentage }}"
        )
        from_task = AmplitudeSetRolloutOperator(task_id="from_task", flag_id=flag["id"], percentage=percentage())
        mapped = AmplitudeSetRolloutOperator.partial(task_id="mapped").expand_kwargs(markets())
        enabled = AmplitudeEnableOperator.partial(task_id="enabled", project_id=emulator.project_id).expand(
            flag_key=["market_de", "market_fr"]
        )
        inclusions = AmplitudeAddInclusionsOperator(
            task_id="users", flag_key="search", variant="on", users="{{ params.users }}"
        )
        weights = AmplitudeSetWeightsOperator(
            task_id="weights", experiment_id=experiment["id"], weights="{{ params.weights }}"
        )
        edit = AmplitudeEditOperator(
            task_id="edit",
            experiment_key="button",
            fields={"rolloutPercentage": "{{ params.percentage }}", "enabled": "{{ params.percentage > 1 }}"},
        )
        chain(by_id, from_task, [mapped, enabled], inclusions, weights, edit)
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert ran.xcom("by_id")["after"] == {"rolloutPercentage": 5}
    assert ran.xcom("from_task")["after"] == {"rolloutPercentage": 10}
    assert [emulator.flag(other["id"])["rolloutPercentage"] for other in others] == [1, 2]
    assert [emulator.flag(other["id"])["enabled"] for other in others] == [True, True]
    assert ran.xcom("mapped", map_index=1)["key"] == "market_fr"
    assert ran.xcom("mapped", key="amplitude_experiment_url", map_index=1).endswith(f"/config/{others[1]['id']}")
    assert emulator.inclusions("flags", flag["id"], "on") == ["ana", "bob"]
    now = emulator.experiment(experiment["id"])
    assert now["rolloutWeights"] == {"control": 3, "treatment": 1}
    assert (now["rolloutPercentage"], now["enabled"]) == (5, True)


def test_native_rendering(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag = emulator.create_flag("2024", variants=[{"key": "on"}])  # native rendering turns this key into a number
    params = {"key": "2024", "id": flag["id"], "percentage": 30, "users": ["ana"]}
    with DAG(dag_id, params=params, render_template_as_native_obj=True) as dag:
        AmplitudeSetRolloutOperator(
            task_id="rollout",
            flag_key="{{ params.key }}",
            percentage="{{ params.percentage }}",
        ) >> AmplitudeAddInclusionsOperator(
            task_id="users", flag_id="{{ params.id }}", variant="on", users="{{ params.users }}"
        )
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert emulator.flag(flag["id"])["rolloutPercentage"] == 30
    assert emulator.inclusions("flags", flag["id"], "on") == ["ana"]


NUMERIC = ["1_000", "+48100200300", "0x10", "1e5", "007"]
"""Texts that Python, and so native rendering, reads as numbers."""


def test_a_text_without_jinja_stays_what_it_is_in_a_native_dag(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag = emulator.create_flag("1_000", variants=[{"key": "1_0"}], rolloutPercentage=0, enabled=True)
    other = emulator.create_flag("1000", variants=[{"key": "10"}], rolloutPercentage=0)
    which: dict[str, Any] = {"flag_key": "1_000"}
    with DAG(dag_id, params={"users": ["ana"]}, render_template_as_native_obj=True) as dag:
        chain(
            AmplitudeAddInclusionsOperator(task_id="users", **which, variant="1_0", users=NUMERIC),
            AmplitudeSetRolloutOperator(task_id="rollout", **which, percentage="25"),
            AmplitudeEditVariantOperator(task_id="variant", **which, variant="1_0", fields={"payload": "1_000"}),
            AmplitudeSetWeightsOperator(task_id="weights", **which, weights='{"1_0": 2}'),
            AmplitudeEditOperator(task_id="edit", **which, fields={"description": "1_000"}),
            AmplitudeRolloutSensor(task_id="sensor", **which, at_least="25", timeout=20, poll_interval=1),
            AmplitudeAddInclusionsOperator.partial(task_id="mapped", **which, variant="1_0").expand(
                users=[["+1"], "['+2']"]
            ),
        )
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert emulator.inclusions("flags", flag["id"], "1_0")[:5] == NUMERIC
    assert sorted(emulator.inclusions("flags", flag["id"], "1_0")[5:]) == ["+1", "+2"]
    now = emulator.flag(flag["id"])
    assert (now["rolloutPercentage"], now["description"], now["rolloutWeights"]) == (25, "1_000", {"1_0": 2})
    assert now["variants"][0]["payload"] == "1_000"
    assert emulator.versions("flags", other["id"])[0]["version"] == 1  # the flag of the number that Python would read


def test_marks_of_jinja_that_a_dag_chooses_are_rendered(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag = emulator.create_flag("search", rolloutPercentage=0)
    marks = {"variable_start_string": "[[", "variable_end_string": "]]"}
    with DAG(dag_id, params={"key": "search"}, jinja_environment_kwargs=marks) as dag:
        AmplitudeSetRolloutOperator(task_id="rollout", flag_key="[[ params.key ]]", percentage=5)
    assert run(dag).succeeded
    assert emulator.flag(flag["id"])["rolloutPercentage"] == 5


def test_default_args_name_the_connection_and_the_flag(
    run: Runner, emulator: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT")
    monkeypatch.setenv("AIRFLOW_CONN_WEB", emulator.connection_json)
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    with DAG(dag_id, default_args={"amplitude_conn_id": "web", "flag_key": "search"}) as dag:
        enable = AmplitudeEnableOperator(task_id="enable")
        mapped = AmplitudeSetRolloutOperator.partial(task_id="mapped").expand(percentage=[7])
        enable >> mapped
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert emulator.flag(flag["id"])["enabled"] is True
    assert emulator.flag(flag["id"])["rolloutPercentage"] == 7


@pytest.mark.parametrize(
    ("operator", "arguments", "named"),
    [
        (AmplitudeEnableOperator, {}, "flag_key"),
        (AmplitudeEnableOperator, {"flag_key": "a", "flag_id": "1"}, "flag_key/flag_id"),
        (AmplitudeEnableOperator, {"flag_key": "{{ params.a }}", "experiment_key": "b"}, "flag_key/experiment_key"),
        (AmplitudeEnableOperator, {"flag_key": " "}, "flag_key"),
        (AmplitudeEnableOperator, {"flag_key": ["a"]}, "flag_key"),
        (AmplitudeEnableOperator, {"flag_key": "a", "project_id": ""}, "project_id"),
        (AmplitudeEnableOperator, {"flag_key": "a", "amplitude_conn_id": ""}, "amplitude_conn_id"),
        (AmplitudeSetRolloutOperator, {"flag_key": "a", "percentage": 101}, "percentage"),
        (AmplitudeSetRolloutOperator, {"flag_key": "a", "percentage": 0.5}, "percentage"),
        (AmplitudeSetRolloutOperator, {"flag_key": "a", "percentage": "ten"}, "percentage"),
        (AmplitudeSetRolloutOperator, {"flag_key": "a", "percentage": True}, "percentage"),
        (AmplitudeSetRolloutOperator, {"flag_key": "a", "percentage": 1, "segment": ""}, "segment"),
        (AmplitudeSetWeightsOperator, {"flag_key": "a", "weights": {"on": -1}}, "weights.on"),
        (AmplitudeSetWeightsOperator, {"flag_key": "a", "weights": [1]}, "weights"),
        (AmplitudeAddInclusionsOperator, {**ON, "users": "ana"}, "users"),
        (AmplitudeAddInclusionsOperator, {**ON, "users": ["ana", None]}, "users[1]"),
        (AmplitudeSetInclusionsOperator, {**ON, "users": iter(["ana"])}, "users"),
        (AmplitudeSetCohortsOperator, {**ON, "cohorts": "c1"}, "cohorts"),
        (AmplitudeAddCohortsOperator, {**ON, "cohorts": ["c1", ""]}, "cohorts[1]"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"rolloutPercentage": 101}}, "rolloutPercentage"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"enabled": "maybe"}}, "enabled"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {}}, "fields"),
        (AmplitudeRestoreVersionOperator, {"flag_key": "a", "version": 1, "fields": []}, "fields"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"rolloutPercentge": 5}}, "is 'rolloutPercentage' meant?"),
        (AmplitudeEditOperator, {"flag_key": "a", "fields": {"targetSegments": [{"name": "B"}]}}, "conditions"),
        (AmplitudeEditVariantOperator, {**ON, "fields": {"rolloutWeigth": 1}}, "is 'rolloutWeight' meant?"),
        (AmplitudeCreateFlagOperator, {"flag_key": ""}, "flag_key"),
        (AmplitudeCreateFlagOperator, {"flag_key": "a", "if_exists": "replace"}, "if_exists"),
        (AmplitudeCreateFlagOperator, {"flag_key": "a", "variants": [{"key": ""}]}, "variants[0].key"),
        (AmplitudeCreateFlagOperator, {"flag_key": "a", "deployments": "12"}, "deployments"),
        (AmplitudeCreateVariantOperator, {**ON, "payload": float("nan")}, "payload"),
        (AmplitudeCreateVariantOperator, {**ON, "rollout_weight": "much"}, "rollout_weight"),
        (AmplitudeCreateDeploymentOperator, {"label": "a b", "deployment_type": "client"}, "label"),
        (AmplitudeCreateDeploymentOperator, {"label": "a", "deployment_type": "web"}, "deployment_type"),
        (AmplitudeEditDeploymentOperator, {"deployment_id": "1"}, "label/archive"),
        (AmplitudeArchiveOperator, {**CHECKOUT, "if_depended_on": "ignore"}, "if_depended_on"),
        (AmplitudeRestoreVersionOperator, {**CHECKOUT, "version": "newest"}, "version"),
        (AmplitudeRestoreVersionOperator, {**CHECKOUT, "version": True}, "version"),
        (AmplitudeRestoreVersionOperator, {**CHECKOUT, "version": 1, "overwrite": "Maria"}, "overwrite"),
        (AmplitudeSetDependenciesOperator, {**CHECKOUT, "depends_on": ["button"]}, "depends_on"),
        (AmplitudeSetDependenciesOperator, {**CHECKOUT, "depends_on": {"button": []}}, "depends_on.button"),
        (AmplitudeSetDependenciesOperator, {**CHECKOUT, "depends_on": {}, "operator": "every"}, "operator"),
        (AmplitudeDecideExperimentOperator, {**CHECKOUT, "decision": "rollback"}, "flag_key/flag_id"),
        (AmplitudeCreateMutualExclusionGroupOperator, {"mutex_key": "", "name": "x", "slots": WHOLE}, "mutex_key"),
        (AmplitudeCreateMutualExclusionGroupOperator, {"mutex_key": "a", "name": "", "slots": WHOLE}, "name"),
        (
            AmplitudeCreateMutualExclusionGroupOperator,
            {"mutex_key": "a", "name": "x", "slots": [{"percentage": 60}, {"percentage": 50}]},
            "slots: expected percentages that add up to 100, got 110",
        ),
        (
            AmplitudeCreateMutualExclusionGroupOperator,
            {"mutex_key": "a", "name": "x", "slots": [{"percentge": 100}]},
            "slots[0].percentge: is an unknown field of the API; is 'percentage' meant?",
        ),
        (
            AmplitudeCreateHoldoutGroupOperator,
            {"holdout_key": "a", "name": "x", "holdout_percentage": 100},
            "holdout_percentage: expected a whole number from 1 to 99, got 100",
        ),
        (
            AmplitudeCreateHoldoutGroupOperator,
            {"holdout_key": "a", "name": "x", "holdout_percentage": 5, "experiment_ids": "7"},
            "experiment_ids",
        ),
        (AmplitudeEditGroupOperator, {"mutex_key": "a", "fields": {}}, "fields"),
        (AmplitudeEditGroupOperator, {"mutex_key": "a", "fields": {"experiments": []}}, "fields.experiments"),
        (AmplitudeEditGroupOperator, {"mutex_key": "a", "slot": 1, "fields": {"name": "x"}}, "fields.name"),
        (AmplitudeEditGroupOperator, {"mutex_key": "a", "slot": 0, "fields": {"holdouts": []}}, "slot"),
        (AmplitudeEditGroupOperator, {"fields": {"name": "x"}}, "mutex_key, mutex_id, holdout_key, holdout_id"),
        (
            AmplitudeEditGroupOperator,
            {"mutex_key": "a", "holdout_id": "1", "fields": {}},
            "mutex_key/holdout",
        ),
        (AmplitudeAddToGroupOperator, {**BUTTON, "mutex_key": "a"}, "slot: expected the index of a slot, got None"),
        (AmplitudeAddToGroupOperator, {**BUTTON, "holdout_key": "a", "slot": 1}, "slot: expected none"),
        (AmplitudeAddToGroupOperator, {**CHECKOUT, "holdout_key": "a"}, "flag_key/flag_id: expected an experiment"),
        (AmplitudeRemoveFromGroupOperator, {**BUTTON, "holdout_key": " "}, "holdout_key"),
        (AmplitudeDecideExperimentOperator, {**BUTTON, "decision": "roll-out"}, "is 'rollout' meant?"),
        (AmplitudeDecideExperimentOperator, {**BUTTON, "decision": "rollout"}, "winner: expected a variant"),
        (AmplitudeDecideExperimentOperator, {**BUTTON, "decision": "rollback", "winner": "a"}, "winner: expected none"),
    ],
)
def test_wrong_arguments_are_refused_while_the_dag_is_parsed(
    operator: type, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(named)):
        operator(task_id="wrong", **arguments)


def test_wrong_arguments_that_only_show_when_rendered(run: Runner, emulator: Emulator, dag_id: str) -> None:
    emulator.create_flag("search", variants=[{"key": "on"}])
    emulator.clear_requests()
    with DAG(
        dag_id, params={"nothing": "", "much": "101"}, default_args={"retries": 1, "retry_delay": timedelta(0)}
    ) as dag:
        AmplitudeSetRolloutOperator(task_id="much", flag_key="search", percentage="{{ params.much }}")
        AmplitudeSetRolloutOperator(task_id="nothing", flag_key="{{ params.nothing }}", percentage=1)
        AmplitudeEnableOperator(task_id="blank", flag_key="search", project_id="{{ params.nothing }}")
        AmplitudeEnableOperator.partial(task_id="two", flag_key="search", retries=0).expand(flag_id=["1"])
    ran = run(dag)

    # The failure is final: a retry was left, and Airflow did not use it.
    assert ran.states == {"much": "failed", "nothing": "failed", "blank": "failed", "two[0]": "failed"}
    assert set(ran.tries.values()) == {1}
    assert emulator.requests()["total"] == 0
    operator = AmplitudeSetRolloutOperator(task_id="much", flag_key="search", percentage="{{ 101 }}")
    operator.percentage = "101"
    with pytest.raises(AirflowFailException, match="percentage: 101 is outside 0 to 100"):
        operator.execute({})


@pytest.mark.parametrize("is_native", [False, True])
def test_a_part_of_a_json_value_whose_param_is_missing_is_not_sent(
    run: Runner, emulator: Emulator, dag_id: str, is_native: bool
) -> None:
    missing = "{{ params.missing }}"
    segment = {"name": "DE", "percentage": 5, "conditions": [{**GERMANY, "values": ["DE", missing]}]}
    flag = emulator.create_flag("checkout", variants=[{"key": "on"}])
    emulator.clear_requests()
    failed = Failures()
    with DAG(
        dag_id,
        params={"missing": None},
        render_template_as_native_obj=is_native,
        default_args={"retries": 1, "retry_delay": timedelta(0), **failed.callback},
    ) as dag:
        AmplitudeCreateVariantOperator(task_id="whole", flag_key="checkout", variant="a", payload=missing)
        AmplitudeCreateVariantOperator(task_id="part", flag_key="checkout", variant="b", payload={"c": [1, missing]})
        AmplitudeEditVariantOperator(task_id="edit", **ON, fields={"payload": missing})
        AmplitudeEditOperator(task_id="segment", flag_key="checkout", fields={"targetSegments": [segment]})
        AmplitudeCreateFlagOperator(task_id="flag", flag_key="new", variants=[{"key": "on", "payload": missing}])
        AmplitudeCreateVariantOperator.partial(task_id="mapped", flag_key="checkout", variant="c").expand(
            payload=[{"c": missing}]
        )
    ran = run(dag)

    assert set(ran.states.values()) == {"failed"}
    assert set(ran.tries.values()) == {1}
    assert emulator.requests()["total"] == 0
    named = {
        "whole": "payload",
        "part": "payload.c[1]",
        "edit": "fields.payload",
        "segment": "fields.targetSegments[0].conditions[0].values[1]",
        "flag": "variants[0].payload",
        "mapped": "payload.c",
    }
    for task_id, field in named.items():
        became = "None" if is_native else "'None'"
        assert failed.said(task_id) == (
            f"Rendering task {task_id!r} failed: {field} became {became}: a Param or an XCom is missing. Nothing was "
            "sent. Correct the template or the task that gives the value."
        )
    assert emulator.versions("flags", flag["id"])[0]["version"] == 1


def test_a_payload_can_be_a_text_that_looks_like_nothing(run: Runner, emulator: Emulator, dag_id: str) -> None:
    emulator.create_flag("checkout", variants=[{"key": "on"}])
    with DAG(dag_id, params={"mode": "dark"}) as dag:
        AmplitudeEditVariantOperator(
            task_id="edit",
            **ON,
            fields={"payload": {"texts": ["None", "null"], "nothing": None, "m": "{{ params.mode }}"}},
        ) >> AmplitudeCreateVariantOperator(task_id="text", flag_key="checkout", variant="b", payload="None")
    assert run(dag).succeeded
    variants = emulator.dump()["flags"][0]["variants"]
    assert [variant["payload"] for variant in variants] == [
        {"texts": ["None", "null"], "nothing": None, "m": "dark"},
        "None",
    ]


def test_errors_say_what_was_being_done_and_whether_a_retry_helps(impatient: Emulator) -> None:
    emulator = impatient
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    emulator.create_flag("search", projectId="100002", variants=[{"key": "on"}])
    operator = AmplitudeSetRolloutOperator(task_id="rollout", flag_id=flag["id"], percentage=10)

    def refused(kind: type[Exception], one: Any = operator) -> str:
        with pytest.raises(kind) as caught:
            one.execute({})
        assert type(caught.value) is kind
        assert "ampex_" not in str(caught.value)
        emulator.clear_faults()
        return str(caught.value)

    for status in (400, 401, 403, 405):
        emulator.fault("status", times=None, status=status)
        said = refused(AirflowFailException)
        assert said.startswith(f"Failed to set the rollout percentage of flag {flag['id']!r}: ")
        assert f"({status})" in said
    for status in (429, 500, 503):
        emulator.fault("status", times=None, status=status, headers={"Retry-After": "1"})
        assert f"({status})" in refused(AmplitudeTaskError)
    emulator.hold("all")
    said = refused(AirflowFailException)
    assert "waits for approval" in said
    emulator.hold("none")
    missing = AmplitudeEnableOperator(task_id="missing", flag_key="serach")
    assert "The flag 'serach' of" in refused(AirflowFailException, missing)
    unnamed = AmplitudeEnableOperator(task_id="unnamed", flag_id=flag["id"], amplitude_conn_id="nowhere")
    assert "nowhere" in refused(AirflowFailException, unnamed)
    create = AmplitudeCreateFlagOperator(task_id="create", flag_key="search", if_exists="fail")
    assert refused(AirflowFailException, create).startswith("Failed to create flag 'search': ")


def test_a_key_in_two_projects_is_ambiguous_without_the_project(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = emulator.create_flag("search", variants=[{"key": "on"}])
    other = emulator.create_flag("search", projectId="100002", variants=[{"key": "on"}])
    everywhere = {"conn_type": "amplitude_experiment", "password": emulator.api_key}
    everywhere["extra"] = json.dumps({"base_url": emulator.base_url})
    monkeypatch.setenv("AIRFLOW_CONN_EVERYWHERE", json.dumps(everywhere))

    with pytest.raises(AirflowFailException, match="name the project_id"):
        AmplitudeEnableOperator(task_id="a", flag_key="search", amplitude_conn_id="everywhere").execute({})
    AmplitudeEnableOperator(
        task_id="b", flag_key="search", amplitude_conn_id="everywhere", project_id="100002"
    ).execute({})
    assert (emulator.flag(one["id"])["enabled"], emulator.flag(other["id"])["enabled"]) == (False, True)
    AmplitudeEnableOperator(task_id="c", flag_key="search").execute({})  # the connection names the project
    assert emulator.flag(one["id"])["enabled"] is True
    with pytest.raises(
        AirflowFailException,
        match="project_id: expected a project, got none: set project_id of the task or of connection 'everywhere'",
    ):
        AmplitudeCreateFlagOperator(task_id="d", flag_key="new", amplitude_conn_id="everywhere").execute({})


def test_what_may_pass_is_retried_by_airflow(run: Runner, impatient: Emulator, dag_id: str) -> None:
    flag = impatient.create_flag("search", variants=[{"key": "on"}])
    impatient.fault("status", status=503, route="GET /api/1/flags/{id}")
    with DAG(dag_id) as dag:
        AmplitudeSetRolloutOperator(
            task_id="rollout", flag_id=flag["id"], percentage=10, retries=1, retry_delay=timedelta(0)
        )
    ran = run(dag)

    assert ran.succeeded
    assert ran.tries == {"rollout": 2}
    assert impatient.flag(flag["id"])["rolloutPercentage"] == 10


@pytest.mark.parametrize("operator", [AmplitudeEditOperator, AmplitudeCreateFlagOperator])
def test_a_segment_whose_conditions_are_hidden_is_sent_only_as_the_named_catch_all(
    emulator: Emulator, operator: Any
) -> None:
    emulator.settings(hide_cohorts=True)
    cohort = {"type": "cohort", "prop": "userdata_cohort", "op": "set contains", "values": ["abc123"]}
    vip = {"name": "VIP", "conditions": [cohort], "percentage": 5, "rolloutWeights": {"on": 1}}
    flag = emulator.create_flag("early", variants=[{"key": "on"}], targetSegments=[vip])
    segments = [{**vip, "conditions": [], "percentage": 50}]
    if operator is AmplitudeEditOperator:
        given: dict[str, Any] = {"fields": {"targetSegments": segments}}
    else:
        given = {"target_segments": segments, "if_exists": "update"}
    with pytest.raises(AirflowFailException, match=r"'VIP' has no conditions.*Nothing was changed.*`catch_all`"):
        operator(task_id="a", flag_key="early", **given).execute({})
    assert emulator.dump()["flags"][-1]["targetSegments"][0]["conditions"] == [cohort]
    assert operator(task_id="b", flag_key="early", catch_all="VIP", **given).execute({})["changed"]
    assert emulator.flag(flag["id"])["targetSegments"][0]["percentage"] == 50
    with pytest.raises(InvalidInputError, match="catch_all"):
        operator(task_id="c", flag_key="early", catch_all="", **given)
