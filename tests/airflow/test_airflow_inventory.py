"""The operators that read one flag or list all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run

from airflow_provider_ampexp.client import InvalidInputError, ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.operators.inventory import AmplitudeGetOperator, AmplitudeListOperator


def some_flags(emulator: Emulator, count: int) -> None:
    emulator.load({"flags": [{"key": f"flag_{place}", "variants": [{"key": "on"}]} for place in range(count)]})


def test_get_and_list_as_tasks(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, tmp_path: Path) -> None:
    flag = emulator.create_flag("searché", variants=[{"key": "on", "payload": {"a": 1}}], someNewField=7)
    emulator.create_flag("archived", deleted=True, variants=[{"key": "on"}])
    emulator.create_flag("elsewhere", projectId="100002", variants=[{"key": "on"}])
    path = tmp_path / "flags.jsonl"
    with DAG(dag_id, params={"path": str(path), "archived": True}) as dag:
        AmplitudeGetOperator(task_id="get", flag_key="searché")
        AmplitudeGetOperator(task_id="fields", flag_id=flag["id"], fields="{{ ['key', 'projectId', 'nope'] }}")
        AmplitudeListOperator(task_id="list", fields=["key"], project_id=emulator.project_id)
        AmplitudeListOperator(task_id="all", fields=["key"], include_archived="{{ params.archived }}")
        AmplitudeListOperator(task_id="one", key="elsewhere", fields=["projectId"])
        AmplitudeListOperator(task_id="deployments", kind="deployments", fields=["label"])
        AmplitudeListOperator(task_id="file", path="{{ params.path }}")
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert ran.xcom("get") == emulator.flag(flag["id"])
    assert ran.xcom("get", key="amplitude_experiment_url").endswith(flag["id"])
    assert ran.xcom("fields") == {"key": "searché", "projectId": "100001", "nope": None}
    assert ran.xcom("list") == [{"key": "searché"}]
    assert [item["key"] for item in ran.xcom("all")] == ["elsewhere", "archived", "searché"]
    assert ran.xcom("one") == [{"projectId": "100002"}]
    assert [item["label"] for item in ran.xcom("deployments")] == ["acme-app-server", "acme-app-client"]
    assert ran.xcom("file") == {"path": str(path), "count": 2}
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["key"] for line in lines] == ["elsewhere", "searché"]


def test_get_can_read_what_belongs_to_it(emulator: Emulator) -> None:
    deployment = emulator.dump()["deployments"][0]
    flag = emulator.create_flag("search", variants=[{"key": "on"}, {"key": "off"}], deployments=[deployment["id"]])
    emulator.clear_requests()
    operator = AmplitudeGetOperator(
        task_id="get",
        flag_id=flag["id"],
        fields=["key"],
        include=["versions", "variants", "deployments", "inclusions"],
    )
    found: Any = operator.execute({})
    assert found["key"] == "search"
    assert [version["version"] for version in found["included"]["versions"]] == [1]
    assert [variant["key"] for variant in found["included"]["variants"]] == ["on", "off"]
    assert [deployment["label"] for deployment in found["included"]["deployments"]] == [deployment["label"]]
    assert found["included"]["inclusions"] == {"on": [], "off": []}
    assert emulator.requests()["total"] == 1 + 3 + 2


@pytest.mark.parametrize("kind", ["mutexes", "holdouts"])
def test_groups_are_listed_where_the_service_has_them(emulator: Emulator, kind: str) -> None:
    with pytest.raises(AirflowFailException, match="404"):
        AmplitudeListOperator(task_id="list", kind=kind).execute({})
    emulator.settings(extra_endpoints=True)
    shares = {"slots": [{"percentage": 100}]} if kind == "mutexes" else {"holdoutPercentage": 5}
    with ManagementClient(emulator.api_key, base_url=emulator.base_url) as client:
        for key, project in (("a", "100001"), ("b", "100001"), ("c", "100002")):
            fields: Any = {"projectId": project, "name": key, "key": key, **shares}
            getattr(client, kind).create(fields)
    for arguments, keys in (({"project_id": "100001"}, ["b", "a"]), ({}, ["c", "b", "a"]), ({"key": "b"}, ["b"])):
        found: Any = AmplitudeListOperator(task_id="list", kind=kind, fields=["key"], **arguments).execute({})
        assert [item["key"] for item in found] == keys


def test_get_can_read_cohorts_where_the_service_has_them(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", variants=[{"key": "on"}, {"key": "off"}], cohorts={"on": ["c1"]})
    operator = AmplitudeGetOperator(task_id="get", flag_id=flag["id"], fields=["key"], include=["cohorts"])
    with pytest.raises(AirflowFailException, match="404"):
        operator.execute({})
    emulator.settings(extra_endpoints=True)
    found: Any = operator.execute({})
    assert found["included"] == {"cohorts": {"on": ["c1"], "off": []}}


def test_inclusions_of_a_flag_that_does_not_show_its_variants(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", variants=[{"key": "on"}], inclusions={"on": ["ann"]})
    emulator.fault("status", status=200, body={"id": flag["id"], "key": "search"}, route="GET /api/1/flags/{id}")
    found: Any = AmplitudeGetOperator(task_id="get", flag_id=flag["id"], include=["inclusions"]).execute({})
    assert found["included"]["inclusions"] == {"on": ["ann"]}


def test_too_many_for_xcom_names_the_way_out(emulator: Emulator) -> None:
    some_flags(emulator, 5)
    with pytest.raises(AirflowFailException, match="more than 4 results; set path"):
        AmplitudeListOperator(task_id="list", max_items=4).execute({})
    assert len(AmplitudeListOperator(task_id="list", max_items=5).execute({})) == 5


def test_no_more_pages_are_read_than_are_wanted(emulator: Emulator) -> None:
    some_flags(emulator, 10)
    emulator.settings(page_size_cap=2)
    emulator.clear_requests()
    with pytest.raises(AirflowFailException):
        AmplitudeListOperator(task_id="list", max_items=3).execute({})
    assert emulator.requests()["total"] == 2


def test_a_file_is_replaced_when_it_is_whole_and_not_before(impatient: Emulator, tmp_path: Path) -> None:
    some_flags(impatient, 5)
    impatient.settings(page_size_cap=2)
    path = tmp_path / "flags.jsonl"
    path.write_text("yesterday's\n")
    impatient.fault("status", times=None, skip=2, status=503)
    operator = AmplitudeListOperator(task_id="list", path=f"file://{path}")
    with pytest.raises(AmplitudeTaskError, match="Failed to list flags"):
        operator.execute({})
    assert path.read_text() == "yesterday's\n"
    assert list(tmp_path.iterdir()) == [path]
    impatient.clear_faults()
    assert operator.execute({}) == {"path": f"file://{path}", "count": 5}
    assert len(path.read_text().splitlines()) == 5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"kind": "people"}, "kind"), ({"fields": "key"}, "fields"), ({"path": ""}, "path"), ({"key": []}, "key")],
)
def test_wrong_arguments_are_refused_while_the_dag_is_parsed(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        AmplitudeListOperator(task_id="list", **arguments)
    with pytest.raises(InvalidInputError, match="include"):
        AmplitudeGetOperator(task_id="get", flag_key="a", include=["secrets"])


def test_deployments_are_not_found_by_key(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="key: expected none for deployments"):
        AmplitudeListOperator(task_id="list", kind="deployments", key="a").execute({})


def test_no_key_of_a_deployment_is_returned_or_written(emulator: Emulator, tmp_path: Path) -> None:
    keys = [stored["key"] for stored in emulator.dump()["deployments"]]
    emulator.create_flag("search", deployments=[stored["id"] for stored in emulator.dump()["deployments"]])
    path = tmp_path / "deployments.jsonl"
    told = [
        AmplitudeListOperator(task_id="list", kind="deployments").execute({}),
        AmplitudeListOperator(task_id="key", kind="deployments", fields=["key"]).execute({}),
        AmplitudeGetOperator(task_id="get", flag_key="search", include=["deployments"]).execute({}),
        AmplitudeListOperator(task_id="file", kind="deployments", path=f"file://{path}").execute({}),
    ]
    assert len(keys) == 2
    assert [key for key in keys if key in json.dumps(told) or key in path.read_text()] == []
