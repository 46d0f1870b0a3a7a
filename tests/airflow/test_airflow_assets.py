"""Flags as assets: their URIs, and the events of the tasks that change them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, AssetAlias

from airflow_provider_ampexp.assets import asset_uri, experiment_asset, flag_asset
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.inclusions import AmplitudeAddInclusionsOperator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeCreateExperimentOperator, AmplitudeEnableOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator, AmplitudeSetRolloutOperator


def events(dag_id: str) -> list[tuple[str, str, Any]]:
    """Return the events of the DAG's tasks in order: task, URI and extra."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(AssetEvent).where(AssetEvent.source_dag_id == dag_id).order_by(AssetEvent.id))
        return [(str(event.source_task_id), event.asset.uri, event.extra) for event in found]


def test_uris() -> None:
    assert flag_asset("search", project_id="100001").uri == "amplitude-experiment://us/100001/flags/search"
    asset = experiment_asset("a/b c?ü", project_id="7", region="eu")
    assert asset.uri == "amplitude-experiment://eu/7/experiments/a%2Fb%20c%3F%C3%BC"
    assert asset.name == asset.uri
    assert asset.group == "amplitude-experiment"
    with pytest.raises(InvalidInputError, match="region"):
        flag_asset("search", project_id="1", region="mars")
    with pytest.raises(InvalidInputError, match="key"):
        asset_uri("flags", "", project_id="1")


def test_airflow_brings_a_uri_to_its_one_form_and_refuses_others() -> None:
    """A separate process runs this, because it has loaded the providers in the usual way."""
    code = """
from airflow.sdk import Asset
print(Asset("amplitude-experiment://US/7/flags/a b/").uri)
print(Asset("amplitude-experiment://eu/7/experiments/a%2fb").uri)
for wrong in ("us/7/flags", "us/7/cohorts/a", "mars/7/flags/a", "us/7/flags/a/b", "us/7/flags/a?b=c"):
    try:
        print(Asset("amplitude-experiment://" + wrong))
    except ValueError as error:
        print("refused", wrong in str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        "amplitude-experiment://us/7/flags/a%20b",
        "amplitude-experiment://eu/7/experiments/a%2Fb",
        *["refused True"] * 5,
    ]


def test_a_task_tells_what_it_changed_and_nothing_when_it_changed_nothing(
    run: Any, emulator: Emulator, dag_id: str
) -> None:
    flag = emulator.create_flag("search", rolloutPercentage=0, enabled=False)
    asset = flag_asset("search", project_id=emulator.project_id)
    other = Asset("s3://lake/other")
    with DAG(dag_id) as dag:
        first = AmplitudeSetRolloutOperator(task_id="first", flag_key="search", percentage=5, outlets=[asset, other])
        again = AmplitudeSetRolloutOperator(task_id="again", flag_key="search", percentage=5, outlets=[asset, other])
        enable = AmplitudeEnableOperator(task_id="enable", flag_id=flag["id"], outlets=[asset])
        first >> again >> enable
    assert run(dag).succeeded
    told = events(dag_id)
    assert sorted((task, uri) for task, uri, _ in told) == [
        ("again", other.uri),
        ("enable", asset.uri),
        ("first", asset.uri),
        ("first", other.uri),
    ]
    extras = {task: extra for task, uri, extra in told if uri == asset.uri}
    assert extras["first"] == {
        "from": {"rolloutPercentage": 0},
        "to": {"rolloutPercentage": 5},
        "version": 2,
        "by": "Airflow",
        "url": f"{emulator.base_url}/amplitude/100001/config/{flag['id']}",
    }
    assert (extras["enable"]["from"], extras["enable"]["version"]) == ({"enabled": False}, 3)


def test_a_run_that_changes_nothing_tells_nothing_and_asks_nothing_more(
    run: Any, emulator: Emulator, dag_id: str
) -> None:
    emulator.create_flag("search", enabled=True, rolloutPercentage=25)
    asset = flag_asset("search", project_id=emulator.project_id)
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeEnableOperator(task_id="enable", flag_key="search", outlets=[asset])
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", stages=[5, 25], soak="0s", outlets=[asset])
    assert run(dag).succeeded
    assert events(dag_id) == []
    assert dag.get_task("enable").outlets == [asset]


def test_a_ramp_that_waits_tells_at_its_end(run: Any, emulator: Emulator, dag_id: str) -> None:
    emulator.create_flag("search", enabled=True, rolloutPercentage=1)
    asset = flag_asset("search", project_id=emulator.project_id)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", stages=[5, 25], soak="2s", poll_interval=0.2, outlets=[asset]
        )
    assert run(dag).succeeded
    ((_, uri, extra),) = events(dag_id)
    assert uri == asset.uri
    assert (extra["from"], extra["to"], extra["version"], extra["by"]) == (1, 25, 3, "Airflow")


def test_who_made_it_so_is_told_also_when_somebody_else_came_after(run: Any, emulator: Emulator, dag_id: str) -> None:
    """The version history is read after the write, and another change may be the newest by then."""
    flag = emulator.create_flag("search", rolloutPercentage=0)
    asset = flag_asset("search", project_id=emulator.project_id)
    emulator.fault("slow", seconds=0.6, route="GET /api/1/flags/{id}/versions")
    with DAG(dag_id) as dag:
        AmplitudeSetRolloutOperator(task_id="set", flag_key="search", percentage=5, outlets=[asset])

    def bob() -> None:
        while emulator.flag(flag["id"])["rolloutPercentage"] != 5:
            time.sleep(0.02)
        emulator.edit("flags", flag["id"], by="Bob", description="hello")

    person = threading.Thread(target=bob)
    person.start()
    assert run(dag).succeeded
    person.join()
    ((_, _, extra),) = events(dag_id)
    assert (extra["version"], extra["by"]) == (2, "Airflow")


def test_an_alias_gets_the_asset_of_each_mapped_flag(run: Any, emulator: Emulator, dag_id: str) -> None:
    for key in ("a", "b", "c"):
        emulator.create_flag(key, enabled=key == "b")
    alias = AssetAlias(f"alias of {dag_id}")
    with DAG(dag_id) as dag:
        AmplitudeEnableOperator.partial(task_id="enable", outlets=[alias]).expand(flag_key=["a", "b", "c"])
    assert run(dag).succeeded
    assert sorted((uri.rpartition("/")[2], extra["version"]) for _, uri, extra in events(dag_id)) == [
        ("a", 2),
        ("c", 2),
    ]


def test_an_outlet_that_is_another_flag_gets_no_event(run: Any, emulator: Emulator, dag_id: str) -> None:
    emulator.create_flag("search")
    wrong = [
        flag_asset("search", project_id=emulator.project_id, region="eu"),
        flag_asset("other", project_id=emulator.project_id),
        experiment_asset("search", project_id=emulator.project_id),
    ]
    with DAG(dag_id) as dag:
        AmplitudeEnableOperator(task_id="enable", flag_key="search", outlets=wrong)
    assert run(dag).succeeded
    assert events(dag_id) == []


def test_what_is_created_is_told_and_what_makes_no_version_too(run: Any, emulator: Emulator, dag_id: str) -> None:
    asset = experiment_asset("button", project_id=emulator.project_id)
    with DAG(dag_id) as dag:
        create = AmplitudeCreateExperimentOperator(task_id="create", experiment_key="button", outlets=[asset])
        include = AmplitudeAddInclusionsOperator(
            task_id="include", experiment_key="button", variant="control", users=["ann"], outlets=[asset]
        )
        create >> include
    assert run(dag).succeeded
    (created, included) = events(dag_id)
    assert (created[0], created[2]["from"], created[2]["version"]) == ("create", None, 1)
    assert included[0] == "include"


def test_a_history_that_cannot_be_read_does_not_undo_what_was_done(run: Any, emulator: Emulator, dag_id: str) -> None:
    emulator.create_flag("search")
    emulator.fault("status", status=403, times=None, route="GET /api/1/flags/{id}/versions")
    asset = flag_asset("search", project_id=emulator.project_id)
    with DAG(dag_id) as dag:
        AmplitudeEnableOperator(task_id="enable", flag_key="search", outlets=[asset])
    assert run(dag).succeeded
    ((_, uri, extra),) = events(dag_id)
    assert uri == asset.uri
    assert (extra["to"], extra["version"], extra["by"]) == ({"enabled": True}, None, None)


def test_outside_of_a_task(emulator: Emulator) -> None:
    emulator.create_flag("search")
    asset = flag_asset("search", project_id=emulator.project_id)
    operator = AmplitudeEnableOperator(task_id="enable", flag_key="search", outlets=[asset])
    assert operator.execute({})["changed"] is True
