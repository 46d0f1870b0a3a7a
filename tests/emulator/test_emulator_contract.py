"""Each example request of the contract gets the contract's response, for flags and for experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.emulator.conftest import Api

CONDITION = {"prop": "country", "op": "is", "type": "property", "values": ["United States"]}

CREATE: dict[str, dict[str, Any]] = {
    "flags": {
        "projectId": "100001",
        "name": "Analyze button clicks",
        "key": "analyze-button-clicks",
        "description": "analyze button clicks on the main page",
        "variants": [{"key": "on"}],
        "rolloutWeights": {"on": 1},
        "targetSegments": [
            {
                "name": "Segment 1",
                "conditions": [CONDITION],
                "percentage": 0,
                "bucketingKey": "amplitude_id",
                "rolloutWeights": {"on": 1},
            }
        ],
        "evaluationMode": "remote",
    },
    "experiments": {
        "projectId": "100001",
        "name": "Analyze button clicks experiment",
        "key": "analyze-button-clicks-experiment",
        "description": "analyze button clicks on the main page",
        "variants": [{"key": "control"}, {"key": "treatment"}],
        "rolloutWeights": {"control": 1, "treatment": 1},
        "targetSegments": [
            {
                "name": "Segment 1",
                "conditions": [CONDITION],
                "percentage": 0,
                "bucketingKey": "amplitude_id",
                "rolloutWeights": {"control": 1, "treatment": 1},
            }
        ],
        "evaluationMode": "remote",
        "experimentType": "no-harm",
    },
}

EDIT: dict[str, dict[str, Any]] = {
    "flags": {
        "name": "updated name",
        "description": "updated description",
        "bucketingKey": "amplitude_id",
        "bucketingSalt": "mHdQDzeE",
        "bucketingUnit": "org id",
        "evaluationMode": "remote",
        "rolloutPercentage": 0,
        "enabled": False,
    },
    "experiments": {
        "name": "updated name",
        "description": "updated description",
        "bucketingKey": "amplitude_id",
        "bucketingSalt": "mHdQDzeE",
        "evaluationMode": "remote",
        "rolloutPercentage": 0,
        "enabled": True,
        "experimentType": "no-harm",
        "stickyBucketing": False,
        "startDate": "2023-07-31T10:26:00.996Z",
        "endDate": "2023-09-23T10:26:00.996Z",
        "exposureEvent": {
            "event_type": "_active",
            "filters": [
                {
                    "group_type": "User",
                    "subprop_key": "amplitude_day_of_week",
                    "subprop_op": "is",
                    "subprop_type": "day_time_prop",
                    "subprop_value": ["Tuesday"],
                }
            ],
        },
    },
}

# The fields that the contract's examples of a read show.
SHOWN = {
    "flags": """id projectId deployments key name description enabled evaluationMode bucketingKey bucketingSalt
        bucketingUnit variants rolloutPercentage rolloutWeights targetSegments deleted""",
    "experiments": """id projectId deployments key name decision decisionReason description enabled evaluationMode
        bucketingKey bucketingSalt bucketingUnit variants rolledOutVariant rolloutPercentage rolloutWeights
        targetSegments stickyBucketing state startDate endDate experimentType deleted""",
}
STAMPS = {"createdBy", "createdAt", "lastModifiedBy", "lastModifiedAt", "tags"}


@pytest.fixture
def example(api: Api, kind: str, deployment: str) -> str:
    """Create the object of the contract's example, and return its path."""
    answer = api.ok("POST", f"/{kind}", json={**CREATE[kind], "deployments": [deployment]})
    return f"/{kind}/{answer['id']}"


def test_create(api: Api, kind: str, deployment: str) -> None:
    answer = api.ok("POST", f"/{kind}", json={**CREATE[kind], "deployments": [deployment]})
    assert set(answer) == {"id", "url"}
    assert answer["id"].isdigit()
    assert answer["url"] == f"http://experiment.amplitude.com/amplitude/100001/config/{answer['id']}"
    seen = api.ok("GET", f"/{kind}/{answer['id']}")
    for name, value in {**CREATE[kind], "deployments": [deployment]}.items():
        assert seen[name] == value
    assert (seen["enabled"], seen["rolloutPercentage"], seen["deleted"]) == (False, 0, False)


def test_create_with_the_least(api: Api, kind: str) -> None:
    answer = api.ok("POST", f"/{kind}", json={"projectId": "100001", "key": "least"})
    seen = api.ok("GET", f"/{kind}/{answer['id']}")
    first = ["on"] if kind == "flags" else ["control", "treatment"]
    assert seen["variants"] == [{"key": key} for key in first]
    assert seen["rolloutWeights"] == dict.fromkeys(first, 1)
    assert (seen["name"], seen["targetSegments"], seen["deployments"]) == ("least", [], [])


def test_list(api: Api, kind: str, example: str) -> None:
    answer = api.ok("GET", f"/{kind}?limit=1000")
    assert [item["id"] for item in answer[kind]] == [example.split("/")[-1]]
    assert set(answer[kind][0]) == {*SHOWN[kind].split(), *STAMPS}
    other = "experiments" if kind == "flags" else "flags"
    assert api.ok("GET", f"/{other}") == {other: []}


def test_get(api: Api, kind: str, example: str) -> None:
    seen = api.ok("GET", example)
    assert set(seen) == {*SHOWN[kind].split(), *STAMPS}
    assert (seen["createdBy"], seen["lastModifiedBy"]) == ("Airflow", "Airflow")
    if kind == "experiments":
        assert (seen["state"], seen["startDate"], seen["endDate"], seen["decision"]) == ("planning", None, None, None)
    # The id of a flag is not valid for an experiment.
    assert api.refused(404, "GET", f"/{'experiments' if kind == 'flags' else 'flags'}/{seen['id']}")


def test_edit(api: Api, kind: str, example: str) -> None:
    assert api.ok("PATCH", example, json=EDIT[kind]) == "OK"
    seen = api.ok("GET", example)
    expected = {name: value for name, value in EDIT[kind].items() if name != "exposureEvent"}
    if kind == "experiments":
        expected.update(startDate="2023-07-31", endDate="2023-09-23")
    assert {name: seen[name] for name in expected} == expected
    assert "exposureEvent" not in seen


def test_edit_as_the_curl_example_does(api: Api, example: str) -> None:
    # Without a Content-Type, as in some of the examples.
    assert api.ok("PATCH", example, data=b'{"enabled":true,"rolloutPercentage":25.0}') == "OK"
    assert b'"rolloutPercentage":25,' in api("GET", example).content
    assert api.ok("PATCH", example, json={"rolloutPercentage": 0.5}) == "OK"
    assert api.ok("GET", example)["rolloutPercentage"] == 0.5


def test_versions(api: Api, kind: str, example: str) -> None:
    api.ok("PATCH", example, json={"enabled": True})
    found = api.ok("GET", f"{example}/versions")
    assert [version["version"] for version in found] == [2, 1]
    assert set(found[0]) == {"createdAt", "createdBy", "version", "flagConfig"}
    assert [version["flagConfig"]["enabled"] for version in found] == [True, False]
    assert set(SHOWN[kind].split()) <= set(found[0]["flagConfig"])
    assert api.ok("GET", f"{example}/versions/2") == found[0]
    assert api.refused(404, "GET", f"{example}/versions/3")


def test_variants(api: Api, kind: str, example: str) -> None:
    first = ["on"] if kind == "flags" else ["control", "treatment"]
    plain = {"name": "", "payload": {}, "description": "", "rolloutWeight": 1}
    assert api.ok("GET", f"{example}/variants") == [{"key": key, **plain} for key in first]
    assert api.ok("GET", f"{example}/variants/{first[0]}") == {"key": first[0], **plain}
    new = {
        "key": "new-variant-key",
        "description": "optional description for variant",
        "name": "optional name for variant",
        "payload": {"variant-payload": "example payload"},
        "rolloutWeight": 0,
    }
    assert api.ok("POST", f"{example}/variants", json=new) == "OK"
    assert api.ok("GET", f"{example}/variants/new-variant-key") == new
    updated = {**new, "key": "updated-variant-key", "description": "updated", "rolloutWeight": 10}
    assert api.ok("PATCH", f"{example}/variants/new-variant-key", json=updated) == "OK"
    assert api.ok("GET", f"{example}/variants/updated-variant-key") == updated
    assert api.refused(404, "GET", f"{example}/variants/new-variant-key")
    assert api.ok("GET", example)["rolloutWeights"] == {**dict.fromkeys(first, 1), "updated-variant-key": 10}
    assert api.ok("DELETE", f"{example}/variants/updated-variant-key") == "OK"
    assert api.ok("GET", example)["rolloutWeights"] == dict.fromkeys(first, 1)
    assert [variant["key"] for variant in api.ok("GET", f"{example}/variants")] == first


def test_inclusions(api: Api, kind: str, example: str) -> None:
    path = f"{example}/variants/{'on' if kind == 'flags' else 'control'}/users"
    assert api.ok("GET", path) == []
    assert api.ok("POST", path, json={"inclusions": ["a@example.com", "b@example.com", "user-3"]}) == "OK"
    assert api.ok("POST", path, json={"inclusions": ["a@example.com"]}) == "OK"
    assert api.ok("GET", path) == ["a@example.com", "b@example.com", "user-3", "a@example.com"]
    assert api.ok("DELETE", f"{path}/1") == "OK"
    assert api.ok("GET", path) == ["a@example.com", "user-3", "a@example.com"]
    assert api.ok("DELETE", f"{path}/1") == "OK"
    assert api.ok("GET", path) == ["a@example.com", "a@example.com"]
    assert api.refused(404, "DELETE", f"{path}/2")
    assert api.ok("DELETE", path) == "OK"
    assert api.ok("GET", path) == []


def test_assigned_deployments(api: Api, example: str, deployment: str) -> None:
    found = api.ok("GET", f"{example}/deployments")
    assert [set(item) for item in found] == [{"id", "projectId", "label", "key", "deleted"}]
    assert (found[0]["id"], found[0]["label"]) == (deployment, "acme-app-client")
    other = next(item["id"] for item in api.ok("GET", "/deployments")["deployments"] if item["id"] != deployment)
    assert api.ok("POST", f"{example}/deployments", json={"deployments": [other]}) == "OK"
    assert api.ok("GET", example)["deployments"] == [deployment, other]
    assert api.ok("DELETE", f"{example}/deployments/{deployment}") == "OK"
    assert [item["id"] for item in api.ok("GET", f"{example}/deployments")] == [other]
    assert api.refused(404, "DELETE", f"{example}/deployments/{deployment}")


def test_deployments(api: Api) -> None:
    before = api.ok("GET", "/deployments?limit=1000")["deployments"]
    assert [item["label"] for item in before] == ["acme-app-server", "acme-app-client"]
    made = api.ok("POST", "/deployments", json={"projectId": "100001", "label": "hello-world", "type": "client"})
    assert set(made) == {"id"}
    newest = api.ok("GET", "/deployments")["deployments"][0]
    assert set(newest) == {"id", "projectId", "label", "key", "deleted"}
    assert (newest["id"], newest["label"], newest["deleted"]) == (made["id"], "hello-world", False)
    assert newest["key"].startswith("client-")
    assert api.ok("PATCH", f"/deployments/{made['id']}", json={"label": "updated-label"}) == "OK"
    for archive, deleted in [(True, True), ("false", False), ("true", True), (False, False)]:
        assert api.ok("PATCH", f"/deployments/{made['id']}", json={"archive": archive}) == "OK"
        newest = api.ok("GET", "/deployments")["deployments"][0]
        assert (newest["label"], newest["deleted"]) == ("updated-label", deleted)


def test_archive_and_restore(api: Api, kind: str, example: str) -> None:
    assert api.ok("PATCH", example, json={"archive": True}) == "OK"
    assert api.ok("GET", example)["deleted"] is True
    assert api.ok("GET", f"/{kind}")[kind] == []
    assert len(api.ok("GET", f"/{kind}?includeArchived=true")[kind]) == 1
    assert api.ok("PATCH", example, json={"archive": False}) == "OK"
    assert len(api.ok("GET", f"/{kind}")[kind]) == 1


def test_there_are_39_routes_of_the_contract() -> None:
    from airflow_provider_ampexp.emulator.server import EmulatorServer, make_server

    service = EmulatorServer().service
    make_server(service)
    of_variants = ("DELETE bulk-delete-users", "GET cohorts", "POST cohorts", "DELETE bulk-delete-cohorts")
    extra = {"GET /api/1/versions", "GET /sdk/v2/vardata", "POST /sdk/v2/vardata"} | {
        f"/api/1/{kind}/{{id}}/variants/{{variantKey}}/".join(route.split(" ")).replace("/api", " /api", 1)
        for kind in ("flags", "experiments")
        for route in of_variants
    }
    extra |= {"PATCH /api/1/mutexes/{id}/slots/{slotIndex}"} | {
        f"{method} /api/1/{kind}{path}"
        for kind in ("mutexes", "holdouts")
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/{id}"), ("PATCH", "/{id}"))
    }
    assert len(set(service.known_routes) - extra) == 39
    assert len(service.known_routes) == 39 + len(extra)


@pytest.mark.parametrize("path", ["/flags/", "/flags/new", "/experiments/new", "/nothing", "/versions"])
def test_no_other_routes(api: Api, path: str) -> None:
    assert api.refused(404, "GET", path)


def test_only_under_api_1(api: Api) -> None:
    for path in ("/flags", "/experiments", "/api/2/flags"):
        assert api.session.get(api.base.removesuffix("/api/1") + path).status_code == 404


def test_a_method_that_a_route_does_not_take(api: Api, example: str) -> None:
    assert api.refused(405, "PUT", example, json={})
    assert api.refused(405, "DELETE", example)
