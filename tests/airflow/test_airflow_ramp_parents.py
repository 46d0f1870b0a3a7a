"""A rollout of a flag with dependencies reports at its start how many users can get the flag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import flag

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]
BETA = {"name": "Beta", "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["beta"]}]}
SERVES: dict[str, Any] = {"enabled": True, "rolloutPercentage": 100}


@pytest.fixture
def warnings_of(run: Runner, emulator: Emulator, dag_id: str) -> Callable[..., list[str]]:
    """Return a function for the warnings in the record of a rollout of a flag with given dependencies."""

    def warnings(
        dependencies: dict[str, Any], *, stages: Any = (1, 25, 50), operator: str = "all", **fields: Any
    ) -> list[str]:
        flag(emulator, parentDependencies={"flags": dependencies, "operator": operator}, **fields)
        with DAG(dag_id) as dag:
            AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", stages=list(stages), soak="0s")
        ran = run(dag)
        assert ran.succeeded
        return [line["why"] for line in ran.xcom("ramp", RECORD_XCOM) if line["what"] == "warning"]

    return warnings


def test_a_parent_at_a_lower_percentage(emulator: Emulator, warnings_of: Callable[..., list[str]]) -> None:
    api = flag(emulator, "api", enabled=True, rolloutPercentage=10)
    assert warnings_of({api: ["on"]}) == [
        "it depends on flag 'api' (variant 'on'), which at most 10 % of users get. From stage 25 % on, at most 10 % of "
        "users get it. At stage 50 % expect 5 %: the two flags bucket users independently."
    ]


def test_the_weights_of_the_parent_count(emulator: Emulator, warnings_of: Callable[..., list[str]]) -> None:
    variants = [{"key": "on"}, {"key": "blue"}, {"key": "red"}]
    api = flag(emulator, "api", variants=variants, rolloutWeights={"on": 2, "blue": 1, "red": 1}, **SERVES)
    (why,) = warnings_of({api: ["blue", "red"]})
    assert why.startswith(
        "it depends on flag 'api' (variant 'blue' or 'red'), which at most 50 % of users get. At stage 50 %"
    )
    assert why.endswith("expect 25 %: the two flags bucket users independently.")


def test_users_who_are_bucketed_alike_are_the_same(emulator: Emulator, warnings_of: Callable[..., list[str]]) -> None:
    api = flag(emulator, "api", enabled=True, rolloutPercentage=40, bucketingSalt="same")
    assert warnings_of({api: ["on"]}, bucketingSalt="same") == [
        "it depends on flag 'api' (variant 'on'), which at most 40 % of users get. From stage 50 % on, at most 40 % of "
        "users get it."
    ]


def test_nested_buckets_of_enough_users_are_no_warning(
    emulator: Emulator, warnings_of: Callable[..., list[str]]
) -> None:
    api = flag(emulator, "api", enabled=True, rolloutPercentage=50, bucketingSalt="same")
    assert warnings_of({api: ["on"]}, bucketingSalt="same") == []


@pytest.mark.parametrize(("percentage", "warns"), [(10, True), (50, False)])
def test_of_target_segments_the_largest_counts(
    emulator: Emulator, warnings_of: Callable[..., list[str]], percentage: int, warns: bool
) -> None:
    segment = {**BETA, "percentage": percentage, "rolloutWeights": {"on": 1}}
    api = flag(emulator, "api", enabled=True, rolloutPercentage=5, targetSegments=[segment])
    found = warnings_of({api: ["on"]})
    assert bool(found) is warns
    assert not any("expect" in why for why in found)


def test_a_parent_with_all_users_is_no_warning(emulator: Emulator, warnings_of: Callable[..., list[str]]) -> None:
    api = flag(emulator, "api", **SERVES)
    sticky = emulator.create_experiment("sticky", enabled=True, rolloutPercentage=10, stickyBucketing=True)["id"]
    assert warnings_of({api: ["on"], sticky: ["treatment"]}) == []


def test_users_without_the_parent(emulator: Emulator, warnings_of: Callable[..., list[str]]) -> None:
    disabled = flag(emulator, "disabled")
    api = flag(emulator, "api", enabled=True, rolloutPercentage=80)
    assert [why[:75] for why in warnings_of({disabled: ["off"], api: ["off"]})] == [
        "it depends on flag 'api' (variant 'off'), which at most 20 % of users get. "
    ]


@pytest.mark.parametrize(("percentage", "warns"), [(10, True), (100, False)])
def test_any_of_several_parents(
    emulator: Emulator, warnings_of: Callable[..., list[str]], percentage: int, warns: bool
) -> None:
    off, api = flag(emulator, "disabled"), flag(emulator, "api", enabled=True, rolloutPercentage=percentage)
    assert (
        warnings_of({off: ["on"], api: ["on"]}, operator="any")
        == [
            "it depends on any of flag 'disabled' (variant 'on'), flag 'api' (variant 'on'), which at most 10 % of "
            "users get. From stage 25 % on, at most 10 % of users get it."
        ]
        * warns
    )


def test_a_parent_that_cannot_be_read_stops_nothing(emulator: Emulator, warnings_of: Callable[..., list[str]]) -> None:
    api = flag(emulator, "api", **SERVES)
    emulator.fault("status", status=403, route="GET /api/1/flags/{id}")
    (why,) = warnings_of({api: ["on"]})
    assert why.startswith(f"it depends on flag {api} (variant 'on'), which could not be read (GET /api/1/flags/{api}: ")


def test_each_parent_is_read_once_and_only_by_the_first_task(run: Runner, emulator: Emulator, dag_id: str) -> None:
    api = flag(emulator, "api", enabled=True, rolloutPercentage=10)
    flag(emulator, parentDependencies={"flags": {api: ["on"]}, "operator": "all"})
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", stages=[5, 50], soak="0s")
    ran = run(dag)
    assert ran.succeeded
    records = [ran.xcom(f"rollout.stage_{stage}", RECORD_XCOM) for stage in (5, 50)]
    assert [[line["what"] for line in record].count("warning") for record in records] == [1, 0]
    assert [entry["path"] for entry in emulator.request_log()].count(f"/api/1/flags/{api}") == 1
