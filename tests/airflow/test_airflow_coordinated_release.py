"""A coordinated release: flags in the order of their dependencies, and one rollback in reverse order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run
from ramps import Failures, exposures, flag, writes

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CallableGuardrail
from airflow_provider_ampexp.guardrails._base import CheckContext
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.task_groups.release import coordinated_release
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]
QUICK: dict[str, Any] = {"stages": [5, 100], "soak": "0s", "poll_interval": 0.3}


def depends(emulator: Emulator, child: str, *parents: str) -> None:
    emulator.edit("flags", child, parentDependencies={"flags": {id: ["on"] for id in parents}, "operator": "all"})


def percentages(emulator: Emulator) -> list[tuple[str, int]]:
    """Return each change of a percentage, in the order of the service."""
    found = []
    for listed in emulator.dump()["flags"]:
        before = 0
        for version in reversed(emulator.versions("flags", listed["id"])):
            config = version["flagConfig"]
            now = config["rolloutPercentage"] if config["enabled"] else 0
            if now != before:
                found.append((version["createdAt"], config["key"], now))
            before = now
    return [(key, now) for _, key, now in sorted(found)]


def test_flags_are_released_one_after_the_other(run: Runner, emulator: Emulator, dag_id: str) -> None:
    api, web = flag(emulator, "api"), flag(emulator, "web.v2")
    depends(emulator, web, api)
    with DAG(dag_id) as dag:
        coordinated_release(flags=["api", {"flag_id": web, "plan": RolloutPlan([50], rollback="off")}], **QUICK)
    ran = run(dag)
    assert ran.succeeded
    assert ran.states == {
        "release.check_order": "success",
        "release.api.stage_5": "success",
        "release.api.stage_100": "success",
        "release.api.rollback": "skipped",
        f"release.{web}.stage_50": "success",
        f"release.{web}.rollback": "skipped",
    }
    assert percentages(emulator) == [("api", 5), ("api", 100), ("web.v2", 50)]


def test_a_child_before_its_parent_is_refused_before_the_first_write(
    run: Runner, emulator: Emulator, dag_id: str
) -> None:
    backend, web, api = flag(emulator, "backend"), flag(emulator, "web"), flag(emulator, "api")
    depends(emulator, web, api)
    depends(emulator, api, backend)
    refused = Failures()
    with DAG(dag_id, default_args=refused.callback) as dag:
        coordinated_release(flags=["backend", "web", "api"], **QUICK)
    ran = run(dag)
    assert ran.states["release.check_order"] == "failed"
    assert {ran.states[f"release.{key}.stage_5"] for key in ("backend", "web", "api")} == {"upstream_failed"}
    assert refused.said("release.check_order") == (
        "Failed to check the order of the release: Flag 'web' comes before flag 'api', on which it depends. Nothing "
        "was raised. Use this order: flag 'backend', flag 'api', flag 'web'."
    )
    assert writes(emulator) == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["api", "gone"], "The flag 'gone' of project 100001 does not exist"),
        (["api", "old"], "Flag 'old' is archived, so no user gets it"),
        (["api", {"flag_id": "{{ params.id }}"}], "Flag 'api' is named twice"),
        (["one", "other"], "These depend on each other: flag 'one', flag 'other'"),
    ],
)
def test_a_release_that_cannot_succeed_does_not_begin(
    run: Runner, emulator: Emulator, dag_id: str, flags: Any, says: str
) -> None:
    api, one, other = flag(emulator, "api"), emulator.create_flag("one")["id"], None
    flag(emulator, "old", deleted=True)
    other = flag(emulator, "other", parentDependencies={"flags": {one: ["on"]}, "operator": "all"})
    emulator.load({"flags": [{"id": one, "key": "one", "parentDependencies": {"flags": {other: ["on"]}}}]})
    refused = Failures()
    with DAG(dag_id, default_args=refused.callback, params={"id": api}) as dag:
        coordinated_release(flags=flags, **QUICK)
    assert run(dag).states["release.check_order"] == "failed"
    assert says in refused.said("release.check_order")
    assert writes(emulator) == 0


def test_one_failed_check_rolls_all_flags_back_in_reverse_order(run: Runner, emulator: Emulator, dag_id: str) -> None:
    ids = {key: flag(emulator, key) for key in ("backend", "api", "web")}
    alerts: list[tuple[str, str]] = []

    def works(moment: CheckContext) -> bool:
        return not (moment.flag_key == "web" and moment.percentage == 5)

    def tell(context: Any) -> None:
        alerts.append((context["rollout"]["key"], context["rollout"]["event"]))

    with DAG(dag_id) as dag:
        coordinated_release(flags=[*ids], **QUICK, guardrails=[works], on_rollback=tell, preflight=False)
    ran = run(dag)
    assert not ran.succeeded
    assert percentages(emulator)[4:] == [("web", 5), ("web", 0), ("api", 0), ("backend", 0)]
    assert ran.states["release.web.stage_5"] == "failed"
    assert {ran.states[f"release.{key}.rollback"] for key in ids} == {"success"}
    assert [ran.xcom(f"release.{key}.rollback")["changed"] for key in ids] == [True, True, False]
    assert alerts == [(key, "rollback") for key in ("web", "api", "backend")]


def test_a_rollback_task_that_fails_is_no_failure_of_the_release(run: Runner, emulator: Emulator, dag_id: str) -> None:
    api, _ = flag(emulator, "api"), flag(emulator, "web")

    def fails(context: Any) -> None:
        raise RuntimeError("no connection")

    with DAG(dag_id) as dag:
        coordinated_release(flags=["api", "web"], **QUICK)
        dag.get_task("release.web.rollback").pre_execute = fails  # type: ignore[method-assign,union-attr]
    ran = run(dag)
    assert ran.states["release.web.rollback"] == "failed"
    assert ran.states["release.api.rollback"] == "skipped"
    assert exposures(emulator, api)[-1] == 100


def test_a_rollback_that_fails_does_not_stop_the_others(run: Runner, emulator: Emulator, dag_id: str) -> None:
    api, web = flag(emulator, "api"), flag(emulator, "web")

    def fails(context: Any) -> None:
        raise RuntimeError("no connection")

    with DAG(dag_id) as dag:
        coordinated_release(flags=["api", "web"], **QUICK)
        dag.get_task("release.web.stage_100").pre_execute = fails  # type: ignore[method-assign,union-attr]
        dag.get_task("release.web.rollback").pre_execute = fails  # type: ignore[method-assign,union-attr]
    ran = run(dag)
    assert ran.states["release.web.rollback"] == "failed"
    assert ran.states["release.api.rollback"] == "success"
    assert (exposures(emulator, api)[-1], exposures(emulator, web)[-1]) == (0, 5)


def test_a_flag_that_a_person_changed_stays_and_the_others_are_rolled_back(
    run: Runner, emulator: Emulator, dag_id: str
) -> None:
    api, web = flag(emulator, "api"), flag(emulator, "web")

    def lowered(context: Any) -> None:
        emulator.edit("flags", web, by="Maria", rolloutPercentage=2)

    with DAG(dag_id) as dag:
        coordinated_release(flags=["api", "web"], **QUICK)
        dag.get_task("release.web.stage_100").pre_execute = lowered  # type: ignore[method-assign,union-attr]
    ran = run(dag)
    assert ran.states["release.web.stage_100"] == "failed"
    assert ran.states["release.web.rollback"] == "skipped"
    assert (exposures(emulator, api)[-1], exposures(emulator, web)[-1]) == (0, 2)


def test_a_flag_whose_own_plan_leaves_it_leaves_the_others_too(run: Runner, emulator: Emulator, dag_id: str) -> None:
    """The plan of the flag that stops decides, and not the plan of each flag that could be rolled back."""
    api, web = flag(emulator, "api"), flag(emulator, "web")
    held = CallableGuardrail(lambda moment: False, "errors", effect="hold")
    leaves = RolloutPlan([5, 100], "0s", guardrails=[held], hold_timeout="1s", preflight=False, poll_interval=0.3)
    with DAG(dag_id) as dag:
        coordinated_release(flags=["api", {"flag_key": "web", "plan": leaves}], **QUICK, on_hold_timeout="rollback")
    ran = run(dag)
    assert ran.states["release.web.stage_5"] == "failed"
    assert {ran.states[f"release.{key}.rollback"] for key in ("api", "web")} == {"skipped"}
    assert (exposures(emulator, api)[-1], exposures(emulator, web)[-1]) == (100, 5)


def test_a_flag_that_fails_beside_a_flag_that_is_left_is_rolled_back(
    run: Runner, emulator: Emulator, dag_id: str
) -> None:
    flag_id = flag(emulator, "search")
    held = CallableGuardrail(lambda moment: False, "errors", effect="hold")
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", guardrails=[held], hold_timeout="1s", preflight=False, **QUICK)

        @task
        def fails() -> None:
            raise AirflowFailException("the catalogue was not published")

        fails() >> dag.get_task("rollout.rollback")
    ran = run(dag)
    assert (ran.states["fails"], ran.states["rollout.stage_5"]) == ("failed", "failed")
    assert ran.states["rollout.rollback"] == "success"
    assert exposures(emulator, flag_id)[-1] == 0


def test_regions_come_one_after_the_other(emulator: Emulator, dag_id: str) -> None:
    with DAG(dag_id) as dag:
        coordinated_release(flags=["api", "web"], connections=["us", "eu"], **QUICK, project_id="7", segment="Beta")
    first, released = dag.get_task("release.eu.api.stage_5"), dag.get_task("release.us.released")
    assert first.upstream_task_ids == {"release.us.released"}
    assert released.upstream_task_ids == {"release.us.web.stage_100"}
    assert dag.get_task("release.us.api.stage_5").upstream_task_ids == {
        "release.us.check_order",
        "release.eu.check_order",
    }
    assert released.partial_kwargs["amplitude_conn_id"] == "us"  # type: ignore[union-attr]
    assert released.expand_input.value == [  # type: ignore[union-attr]
        {"flag_key": key, "project_id": "7", "at_least": 100, "segment": "Beta"} for key in ("api", "web")
    ]
    backs = {name: dag.get_task(f"release.{name}.rollback") for name in ("us.api", "us.web", "eu.api")}
    assert "release.us.web.rollback" in backs["us.api"].upstream_task_ids
    assert not any("rollback" in name for name in backs["us.web"].upstream_task_ids)
    stages = {
        f"release.{region}.{key}.stage_{at}" for region in ("us", "eu") for key in ("api", "web") for at in (5, 100)
    }
    assert all(stages <= back.upstream_task_ids for back in backs.values())


def test_the_segment_of_a_plan_is_the_segment_that_the_next_region_waits_for(dag_id: str) -> None:
    common = RolloutPlan([5, 50], soak="1h", segment="DE")
    own = {"flag_key": "web", "plan": RolloutPlan([100], segment="AT")}
    everywhere = {"flag_key": "app", "plan": RolloutPlan([20])}
    with DAG(dag_id) as dag:
        coordinated_release(flags=["api", own, everywhere], connections=["us", "eu"], plan=common)
    assert dag.get_task("release.us.released").expand_input.value == [  # type: ignore[union-attr]
        {"flag_key": "api", "at_least": 50, "segment": "DE"},
        {"flag_key": "web", "at_least": 100, "segment": "AT"},
        {"flag_key": "app", "at_least": 20},
    ]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"flags": []}, "flags"),
        ({"flags": [1]}, r"flags\[0\]"),
        ({"flags": ["api"], "connections": "us"}, "connections"),
        ({"flags": ["api"], "connections": ["us"], "amplitude_conn_id": "eu"}, "amplitude_conn_id"),
        ({"flags": ["api"], "soack": "1h"}, "soack.*is 'soak' meant"),
        ({"flags": [{"soak": "1h"}]}, "flag_key"),
        ({"flags": "api"}, "flags: expected a list of flags, got 'api'"),
        ({"flags": {"flag_key": "api"}}, "flags: expected a list of flags"),
        ({"flags": {"api", "web"}}, "flags: expected a list of flags"),
        ({"flags": None}, "flags: expected a list of flags, got None"),
        ({"flags": ["api", "web", "api"]}, r"flags\[2\]: 'api' is given twice"),
        ({"flags": ["a.b", "a_b"]}, r"flags\[1\]: 'a.b' and 'a_b' have the same task ids"),
        ({"flags": ["api"], "plan": "api.yaml"}, "plan: expected a RolloutPlan, got 'api.yaml'"),
        ({"flags": [{"flag_key": "api", "plan": {"stages": [1]}}]}, "plan: expected a RolloutPlan"),
        ({"flags": ["api"], "connections": []}, "connections: expected at least one"),
        ({"flags": ["api"], "connections": {}}, "connections: expected at least one"),
        ({"flags": ["api"], "connections": 5}, "connections: expected a list or a mapping"),
        ({"flags": ["api"], "connections": {"us", "eu"}}, "connections: expected a list or a mapping"),
        ({"flags": ["api"], "connections": ["us", ""]}, r"connections\[1\]"),
        ({"flags": ["api"], "connections": {"us": None}}, r"connections\.us"),
        ({"flags": ["api"], "connections": {"": "us"}}, "connections: expected a name"),
        ({"flags": ["api"], "connections": {"u s": "us"}}, "connections: expected a name"),
        ({"flags": ["api"], "connections": ["amp.us", "amp_us"]}, r"connections\[1\]: 'amp.us' and 'amp_us' have"),
        ({"flags": ["api"], "connections": ["us", "us"]}, r"connections\[1\]: 'us' is given twice"),
    ],
)
def test_wrong_arguments_are_refused_while_the_dag_is_parsed(dag_id: str, given: dict[str, Any], field: str) -> None:
    with DAG(dag_id), pytest.raises(InvalidInputError, match=field):
        coordinated_release(**{**QUICK, **given})


def test_the_check_reads_each_flag_once(run: Runner, emulator: Emulator, dag_id: str) -> None:
    from airflow_provider_ampexp.operators._rollout.release_order import AmplitudeReleaseOrderOperator

    for key in ("backend", "api", "web"):
        flag(emulator, key)
    emulator.clear_requests()
    keys = ["backend", "api", "web"]
    check = AmplitudeReleaseOrderOperator(task_id="check", flags=[{"flag_key": key} for key in keys])
    assert check.execute({}) == keys
    assert emulator.requests()["total"] == 3
