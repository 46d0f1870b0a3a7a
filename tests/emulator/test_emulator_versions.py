"""Versions, and the states of an experiment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp.emulator.control import Emulator

if TYPE_CHECKING:
    from tests.emulator.conftest import Api

SEGMENT = {"name": "Beta", "conditions": [], "percentage": 5, "rolloutWeights": {"control": 1}}


def numbers(api: Api, path: str) -> list[int]:
    return [version["version"] for version in api.ok("GET", f"{path}/versions")]


def test_each_change_makes_a_version(api: Api, made: str, deployment: str) -> None:
    changes: list[tuple[str, str, Any]] = [
        ("PATCH", "", {"rolloutPercentage": 10}),
        ("PATCH", "", {"targetSegments": [SEGMENT]}),
        ("PATCH", "", {"tags": ["a"]}),
        ("PATCH", "", {"archive": True}),
        ("POST", "/variants", {"key": "third"}),
        ("PATCH", "/variants/third", {"rolloutWeight": 3}),
        ("PATCH", "/variants/third", {"payload": {"a": 1}}),
        ("DELETE", "/variants/third", None),
        ("POST", "/deployments", {"deployments": [deployment]}),
        ("DELETE", f"/deployments/{deployment}", None),
    ]
    for count, (method, path, body) in enumerate(changes, 2):
        api.ok(method, made + path, json=body)
        found = api.ok("GET", f"{made}/versions")
        assert (len(found), found[0]["version"], found[0]["createdBy"]) == (count, count, "Airflow")
        seen = api.ok("GET", made)
        assert found[0]["flagConfig"] == {name: seen[name] for name in found[0]["flagConfig"]}
        assert (seen["lastModifiedBy"], seen["lastModifiedAt"]) == ("Airflow", found[0]["createdAt"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found[0]["createdAt"])


def test_what_changes_nothing_makes_no_version(api: Api, made: str, deployment: str) -> None:
    api.ok("PATCH", made, json={"rolloutPercentage": 10, "targetSegments": [SEGMENT]})
    api.ok("POST", f"{made}/deployments", json={"deployments": [deployment]})
    before = api.ok("GET", made)
    for method, path, body in [
        ("PATCH", "", {}),
        ("PATCH", "", {"rolloutPercentage": 10.0, "enabled": False}),
        ("PATCH", "", {"targetSegments": before["targetSegments"]}),
        ("PATCH", "/variants/control", {"rolloutWeight": 1}),
        ("PATCH", "/variants/control", {}),
        ("POST", "/deployments", {"deployments": [deployment]}),
        ("POST", "/variants/control/users", {"inclusions": ["ann"]}),
        ("DELETE", "/variants/control/users/0", None),
    ]:
        assert api.ok(method, made + path, json=body) == "OK"
    assert api.ok("GET", made) == before
    assert numbers(api, made) == [3, 2, 1]


def test_a_version_keeps_its_moment(api: Api, made: str) -> None:
    first = api.ok("GET", f"{made}/versions/1")
    api.ok("PATCH", made, json={"rolloutPercentage": 50, "targetSegments": [SEGMENT]})
    api.ok("PATCH", f"{made}/variants/control", json={"key": "base"})
    assert api.ok("GET", f"{made}/versions/1") == first
    assert [item["key"] for item in first["flagConfig"]["variants"]] == ["control", "treatment"]


def test_version_gaps(api: Api, emulator: Emulator, made: str) -> None:
    emulator.settings(version_gaps=True)
    for percentage in (1, 2):
        api.ok("PATCH", made, json={"rolloutPercentage": percentage})
    assert numbers(api, made) == [5, 3, 1]
    assert api.refused(404, "GET", f"{made}/versions/2")


def test_omitted_version_fields(api: Api, emulator: Emulator, made: str) -> None:
    emulator.settings(omit_version_fields=["rolloutPercentage", "evaluationMode"])
    assert "rolloutPercentage" in api.ok("GET", made)
    for config in (api.ok("GET", f"{made}/versions")[0], api.ok("GET", f"{made}/versions/1")):
        assert not {"rolloutPercentage", "evaluationMode"} & set(config["flagConfig"])
        assert "enabled" in config["flagConfig"]


def test_exposure_event_makes_a_version_and_is_not_shown(api: Api, emulator: Emulator) -> None:
    path = f"/experiments/{emulator.create_experiment('e')['id']}"
    event = {"event_type": "_active", "filters": []}
    for body in (event, event, None, None):
        api.ok("PATCH", path, json={"exposureEvent": body})
    assert numbers(api, path) == [3, 2, 1]
    assert "exposureEvent" not in api.ok("GET", path)


def test_enabling_starts_an_experiment(api: Api, emulator: Emulator) -> None:
    made = emulator.create_experiment("e")
    path = f"/experiments/{made['id']}"
    assert (made["state"], made["startDate"]) == ("planning", None)
    api.ok("PATCH", path, json={"enabled": True})
    seen = api.ok("GET", path)
    assert (seen["state"], seen["startDate"]) == ("running", made["createdAt"][:10])
    api.ok("PATCH", path, json={"enabled": False})
    assert api.ok("GET", path)["state"] == "running"


def test_enabling_keeps_a_start_date(api: Api, emulator: Emulator) -> None:
    path = f"/experiments/{emulator.create_experiment('e', startDate='2026-01-01')['id']}"
    api.ok("PATCH", path, json={"enabled": True})
    assert api.ok("GET", path)["startDate"] == "2026-01-01"


@pytest.mark.parametrize(
    ("decision", "state"),
    [("rollout", "decision-made"), ("rollback", "decision-made"), ("continue-running", "running")],
)
def test_a_decision(api: Api, emulator: Emulator, decision: str, state: str) -> None:
    path = f"/experiments/{emulator.create_experiment('e', state='running', enabled=True)['id']}"
    body = {"decision": decision, "decisionReason": "it is better", "rolledOutVariant": "treatment"}
    api.ok("PATCH", path, json=body)
    seen = api.ok("GET", path)
    assert {name: seen[name] for name in body} == body
    assert (seen["state"], seen["enabled"]) == (state, True)
    assert (seen["endDate"] is not None) == (state == "decision-made")


def test_dates_are_read_as_days_in_utc(api: Api, emulator: Emulator) -> None:
    path = f"/experiments/{emulator.create_experiment('e')['id']}"
    api.ok("PATCH", path, json={"startDate": "2026-01-01T23:30:00-02:00", "endDate": "2026-02-01"})
    seen = api.ok("GET", path)
    assert (seen["startDate"], seen["endDate"]) == ("2026-01-02", "2026-02-01")
    api.ok("PATCH", path, json={"endDate": None})
    assert api.ok("GET", path)["endDate"] is None


def test_refuse_disable_without_deployments(api: Api, emulator: Emulator, made: str, deployment: str) -> None:
    api.ok("PATCH", made, json={"enabled": True})
    emulator.settings(refuse_disable_without_deployments=True)
    assert "enabled" in api.refused(400, "PATCH", made, json={"enabled": False})
    api.ok("POST", f"{made}/deployments", json={"deployments": [deployment]})
    api.ok("PATCH", made, json={"enabled": False})


PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "rolloutPercentage": st.integers(0, 100) | st.floats(0, 100),
        "enabled": st.booleans(),
        "archive": st.booleans(),
        "name": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        "tags": st.lists(st.sampled_from("ab"), max_size=2),
        "evaluationMode": st.sampled_from(["local", "remote"]),
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patches=st.lists(PATCHES, max_size=5))
def test_the_history_tells_every_state(api: Api, emulator: Emulator, patches: list[dict[str, Any]]) -> None:
    """Each edit with a change makes a version, and a read shows the newest version."""
    emulator.reset()
    emulator.settings(rate_per_second=None)
    path = f"/flags/{emulator.create_flag('f')['id']}"
    states = [api.ok("GET", path)]
    for patch in patches:
        assert api.ok("PATCH", path, json=patch) == "OK"
        seen = api.ok("GET", path)
        wanted = {("deleted" if name == "archive" else name): value for name, value in patch.items()}
        assert {name: seen[name] for name in wanted} == wanted
        if any(states[-1][name] != seen[name] for name in wanted):
            states.append(seen)
    history = api.ok("GET", f"{path}/versions")
    assert [version["version"] for version in history] == list(range(len(states), 0, -1))
    for version, state in zip(reversed(history), states, strict=True):
        assert version["flagConfig"] == {name: state[name] for name in version["flagConfig"]}
