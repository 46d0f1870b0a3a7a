"""The hook: a client from an Airflow connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from airflow.sdk import DAG, Connection
from airflow_runs import Run

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.hooks import ampexp
from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
from airflow_provider_ampexp.operators.inventory import AmplitudeListOperator

KEY = "ampex_secret_of_the_test"


def hook_of(monkeypatch: pytest.MonkeyPatch, password: Any = KEY, **extra: Any) -> AmplitudeExperimentHook:
    connection = {"conn_type": "amplitude_experiment", "password": password, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(connection))
    return AmplitudeExperimentHook("acme")


@pytest.mark.parametrize(
    "extra",
    [
        {"region": "eu", "project_id": "123", "timeout": 5, "retry_for": 7.5},
        {"region": " EU ", "project_id": 123, "timeout": "5", "retry_for": "7.5"},
        {"region": "eu", "project_id": " 123 ", "timeout": 5.0, "retry_for": "7.5", "base_url": None, "baseUrl": ""},
    ],
)
def test_fields_come_in_several_spellings(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    fields = hook_of(monkeypatch, **extra).fields
    assert (fields.region, fields.project_id, fields.timeout, fields.retry_for) == ("eu", "123", 5.0, 7.5)
    assert fields.base_url is None
    assert fields.key == KEY
    assert KEY not in repr(fields)
    with AmplitudeExperimentHook("acme") as hook:
        assert hook.client.base_url == "https://experiment.eu.amplitude.com"
        assert hook.get_conn() is hook.client
        assert KEY not in repr(hook.client)


def test_what_is_not_said_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ({}, {"region": None, "project_id": None, "timeout": None, "retry_for": None, "base_url": None}):
        hook = hook_of(monkeypatch, **extra)
        fields = hook.fields
        assert (fields.region, fields.project_id, fields.timeout, fields.retry_for) == ("us", None, 30.0, 120.0)
        assert hook.project_id is None


@pytest.mark.parametrize("name", ["region", "project_id", "base_url", "timeout", "retry_for"])
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_extra_is_refused_and_does_not_mean_production(
    monkeypatch: pytest.MonkeyPatch, name: str, empty: str
) -> None:
    with pytest.raises(
        InvalidInputError, match=rf"^{name}: must not be empty; remove it, or give it a value \(connection"
    ):
        _ = hook_of(monkeypatch, **{name: empty}).fields


@pytest.mark.parametrize(
    ("password", "extra", "named"),
    [
        (None, {}, "password"),
        ("", {}, "password"),
        ("server-abc", {}, "password: this is a deployment key"),
        (f"{KEY} x", {}, "password"),
        (KEY, {"region": "de"}, "region"),
        (KEY, {"region": 1.5}, "region"),
        (KEY, {"project_id": ["1"]}, "project_id"),
        (KEY, {"base_url": "http://amplitude.example"}, "base_url"),
        (KEY, {"base_url": "amplitude"}, "base_url"),
        (KEY, {"base_url": "https://amplitude.example/api/1"}, "base_url: must end before '/api/1'"),
        (KEY, {"base_url": "https://amplitude.example/api/1/"}, "base_url: must end before '/api/1'"),
        (KEY, {"base_url": "http://127.0.0.1:8765/api"}, "base_url: must end before '/api'"),
        (KEY, {"base_url": "https://amplitude.example/api/1/flags"}, "base_url: must end before '/api/1'"),
        (KEY, {"timeout": "soon"}, "timeout"),
        (KEY, {"timeout": -1}, "timeout"),
        (KEY, {"timeout": 0}, "timeout"),
        (KEY, {"retry_for": True}, "retry_for"),
    ],
)
def test_wrong_fields_are_named_with_the_connection_and_without_the_key(
    monkeypatch: pytest.MonkeyPatch, password: Any, extra: dict[str, Any], named: str
) -> None:
    hook = hook_of(monkeypatch, password, **extra)
    with pytest.raises(InvalidInputError) as caught:
        _ = hook.client
    assert str(caught.value).startswith(named)
    assert "'acme'" in str(caught.value)
    assert KEY not in str(caught.value)
    assert not [frame for frame in caught.traceback[1:] if KEY in repr(frame.locals)]
    ok, said = hook.test_connection()
    assert not ok
    assert said == str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("baseUrl", "did you mean base_url?"),
        ("base-url", "did you mean base_url?"),
        ("BASE_URL", "did you mean base_url?"),
        ("url", "did you mean base_url?"),
        ("host", "did you mean base_url?"),
        ("projectid", "did you mean project_id?"),
        ("projectId", "did you mean project_id?"),
        ("project", "did you mean project_id?"),
        ("regoin", "did you mean region?"),
        ("time_out", "did you mean timeout?"),
        ("api_key", "did you mean password?"),
        ("extra__amplitude_experiment__region", "did you mean region?"),
        ("extra__amplitude_experiment__base_url", "did you mean base_url?"),
        ("colour", "expected one of region, project_id, base_url, timeout, retry_for"),
    ],
)
def test_an_extra_that_is_not_read_is_refused_and_the_nearest_one_named(
    monkeypatch: pytest.MonkeyPatch, emulator: Emulator, name: str, meant: str
) -> None:
    emulator.clear_requests()
    hook = hook_of(monkeypatch, emulator.api_key, base_url=emulator.base_url, **{name: "of importance"})
    with pytest.raises(InvalidInputError) as caught:
        _ = hook.client
    assert str(caught.value) == f"{name}: unknown extra; {meant} (connection 'acme')"
    assert hook.test_connection() == (False, str(caught.value))
    assert emulator.requests()["total"] == 0


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("host", "https://experiment.eu.amplitude.com", "host: unknown field; use the extra base_url"),
        ("schema", "217854", "schema: unknown field; use the extra project_id"),
        ("port", 8765, "port: unknown field; use the extra base_url"),
        ("login", KEY, "login: expected the key as the password, got it as the login"),
    ],
)
def test_a_field_that_is_not_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, field: str, value: object, said: str
) -> None:
    connection = {"conn_type": "amplitude_experiment", "password": KEY, field: value}
    monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(connection))
    with pytest.raises(InvalidInputError) as caught:
        _ = AmplitudeExperimentHook("acme").client
    assert str(caught.value) == f"{said} (connection 'acme')"
    assert not [frame for frame in caught.traceback[1:] if KEY in repr(frame.locals)]


def test_a_login_may_say_whose_key_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "amplitude_experiment", "password": KEY, "login": "airflow@acme.example"}
    monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(connection))
    assert AmplitudeExperimentHook("acme").fields.key == KEY


@pytest.mark.parametrize(
    ("connection", "has"),
    [
        (f"postgres://me:{KEY}@127.0.0.1/db", "has type 'postgres'"),
        (json.dumps({"conn_type": "http", "password": KEY}), "has type 'http'"),
        (json.dumps({"conn_type": "", "password": KEY}), "has no type"),
        (json.dumps({"conn_type": None, "password": KEY}), "has no type"),
        (json.dumps({"password": KEY}), "has no type"),
    ],
)
def test_a_connection_of_another_type_is_refused_and_its_password_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
    emulator: Emulator,
    dag_id: str,
    run: Callable[[DAG], Run],
    connection: str,
    has: str,
) -> None:
    from airflow_provider_ampexp import _validate as validate

    monkeypatch.setitem(validate.REGIONS, "us", emulator.base_url)
    monkeypatch.setenv("AIRFLOW_CONN_ACME", connection)
    emulator.clear_requests()
    with pytest.raises(InvalidInputError) as caught:
        _ = AmplitudeExperimentHook("acme").client
    assert str(caught.value) == f"conn_type: connection 'acme' {has}, expected 'amplitude_experiment'"
    assert not [frame for frame in caught.traceback[1:] if KEY in repr(frame.locals)]
    assert AmplitudeExperimentHook("acme").test_connection() == (False, str(caught.value))
    with DAG(dag_id) as dag:
        AmplitudeListOperator(task_id="list", amplitude_conn_id="acme", project_id="100001")
    done = run(dag)
    assert not done.succeeded
    assert emulator.requests()["total"] == 0


@pytest.mark.parametrize("spelt", ["amplitude_experiment", "amplitude-experiment"])
def test_the_type_may_be_spelt_as_in_a_uri(monkeypatch: pytest.MonkeyPatch, spelt: str) -> None:
    ours = Connection(conn_id="acme", conn_type=spelt, password=KEY)  # unchanged, as from a secrets backend
    monkeypatch.setattr(AmplitudeExperimentHook, "get_connection", lambda hook, conn_id: ours)
    assert AmplitudeExperimentHook("acme").fields.key == KEY


def test_an_extra_that_is_not_json_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Connection(conn_id="acme", conn_type="amplitude_experiment", password=KEY, extra="{'region': 'eu'}")
    monkeypatch.setattr(AmplitudeExperimentHook, "get_connection", lambda hook, conn_id: broken)
    with pytest.raises(InvalidInputError, match="extra: not a JSON object"):
        _ = AmplitudeExperimentHook("acme").client


def test_the_connection_is_looked_up_late_and_once(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    AmplitudeExperimentHook("nowhere")  # the connection is not yet looked up
    with AmplitudeExperimentHook() as hook:
        client = hook.client
        monkeypatch.delenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT")
        assert hook.client is client
        assert hook.project_id == emulator.project_id
        assert list(client.flags.list()) == []


def airflow_connections(*arguments: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("airflow")), "connections", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def in_database(airflow_database: None, emulator: Emulator) -> Iterator[str]:
    """Store a connection in Airflow's database during the test only, because other tests use the same database."""
    extra = json.dumps({"base_url": emulator.base_url, "project_id": 100001, "timeout": "3"})
    fields = ("--conn-type", "amplitude_experiment", "--conn-password", emulator.api_key, "--conn-extra", extra)
    airflow_connections("add", "in_database", *fields)
    yield "in_database"
    airflow_connections("delete", "in_database")


def test_json_uri_and_the_database(
    run: Callable[[DAG], Run], emulator: Emulator, in_database: str, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT")
    monkeypatch.setenv("AIRFLOW_CONN_BY_JSON", emulator.connection_json)
    extra = urlencode({"project_id": 100001, "timeout": 3, "base_url": emulator.base_url})
    uri = f"amplitude-experiment://:{emulator.api_key}@/?{extra}"
    monkeypatch.setenv("AIRFLOW_CONN_BY_URI", uri)
    for conn_id in ("by_json", "by_uri"):
        with AmplitudeExperimentHook(conn_id) as hook:
            assert hook.project_id == "100001"
            assert hook.test_connection()[0], conn_id
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeListOperator(task_id="list", amplitude_conn_id=in_database, project_id="100001")
    assert run(dag).succeeded  # the task asked the API server, which has the database
    assert emulator.requests()["total"] == 1


def test_test_connection_says_what_works(emulator: Emulator) -> None:
    emulator.clear_requests()
    ok, said = AmplitudeExperimentHook().test_connection()
    assert ok
    assert said == f"{emulator.base_url} accepts the key, which sees 2 deployments in 1 project."
    assert emulator.requests()["total"] == 1


def test_test_connection_says_what_is_wrong(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(password: str = emulator.api_key, **extra: Any) -> str:
        hook = hook_of(monkeypatch, password, **{"base_url": emulator.base_url, **extra})
        ok, sentence = hook.test_connection()
        assert not ok
        assert password not in sentence
        assert "\n" not in sentence
        return sentence

    monkeypatch.setattr(ampexp, "_TEST_RETRY_FOR", 0.1)
    assert "does not accept the key (401)" in said("ampex_wrong")
    emulator.fault("status", status=403)
    assert "the key has no access (403)" in said()
    emulator.fault("status", times=None, status=429)
    assert "refuses more requests (429): The project's request limit is used up" in said()
    emulator.clear_faults()
    emulator.fault("html", times=None, status=200)
    assert "does not respond like the Management API" in said()
    emulator.clear_faults()
    emulator.fault("status", times=None, status=503)
    assert "Amplitude had a server error. (503)" in said()
    assert "Cannot connect to http://127.0.0.1:9" in said(base_url="http://127.0.0.1:9")
    assert "https" in said(base_url="http://amplitude.example")
    emulator.clear_faults()
    assert "sees nothing of project 999 of this connection. The key sees 1 project: 100001." in said(project_id="999")


def test_test_connection_finds_a_project_by_its_flags_or_experiments(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects = ["100001", "100002", "100003"]
    keys = [{"key": "ampex_all", "person": "All", "projects": projects}]
    emulator.load({"projects": [{"id": "100003", "name": "Third"}], "keys": keys})

    def tested(project_id: str) -> tuple[bool, str]:
        return hook_of(monkeypatch, "ampex_all", base_url=emulator.base_url, project_id=project_id).test_connection()

    assert not tested("100002")[0]
    emulator.create_flag("a", projectId="100002")
    emulator.create_experiment("b", projectId="100003")
    for project in ("100002", "100003"):
        ok, said = tested(project)
        assert ok, said
        assert said.endswith(f"sees project {project} without a deployment.")


def test_test_connection_says_when_it_cannot_tell(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.load({"keys": [{"key": "ampex_new", "person": "New", "projects": ["100002"]}]})
    hook = hook_of(monkeypatch, "ampex_new", base_url=emulator.base_url, project_id="999")
    ok, said = hook.test_connection()
    assert ok
    assert said.endswith("so it is not known if the key has access to project 999.")
    emulator.create_flag("a", projectId="100002")
    ok, said = hook.test_connection()
    assert not ok
    assert "The key sees 1 project: 100002." in said


def test_a_refused_key_may_be_of_the_other_region(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_ampexp import _validate as validate

    monkeypatch.setitem(validate.REGIONS, "us", emulator.base_url)
    ok, said = hook_of(monkeypatch, "ampex_of_the_eu").test_connection()
    assert not ok
    assert said.endswith("of the other region (set region to 'eu').")
