"""The emulator is as strict as the contract: a 400 with a reason that names the field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.emulator.conftest import Api

CONDITION = {"prop": "country", "op": "is", "type": "property", "values": ["Peru"]}
SEGMENT = {"name": "Beta", "conditions": [CONDITION], "percentage": 5, "rolloutWeights": {"control": 1}}
FILTER = {
    "group_type": None,
    "subprop_key": None,
    "subprop_op": "is",
    "subprop_type": "user",
    "subprop_value": ["x"],
}
VARIANTS = [{"key": "control"}, {"key": "treatment"}]


def without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


EDITS: list[tuple[str, dict[str, Any]]] = [
    ("name", {"name": 1}),
    ("name", {"name": None}),
    ("description", {"description": ["x"]}),
    ("bucketingKey", {"bucketingKey": 1}),
    ("bucketingSalt", {"bucketingSalt": 1}),
    ("bucketingUnit", {"bucketingUnit": {}}),
    ("evaluationMode", {"evaluationMode": "edge"}),
    ("rolloutPercentage", {"rolloutPercentage": 100.5}),
    ("rolloutPercentage", {"rolloutPercentage": -1}),
    ("rolloutPercentage", {"rolloutPercentage": "50"}),
    ("rolloutPercentage", {"rolloutPercentage": True}),
    ("rolloutPercentage", {"rolloutPercentage": None}),
    ("enabled", {"enabled": "true"}),
    ("enabled", {"enabled": 1}),
    ("archive", {"archive": "true"}),
    ("tags", {"tags": "beta"}),
    ("tags.0", {"tags": [1]}),
    ("colour", {"colour": "blue"}),
    ("variants", {"variants": VARIANTS}),
    ("deployments", {"deployments": []}),
    ("rolloutWeights", {"rolloutWeights": {"control": 1}}),
    ("key", {"key": "other"}),
    ("state", {"state": "running"}),
    ("targetSegments", {"targetSegments": SEGMENT}),
    *((f"targetSegments.0.{name}", {"targetSegments": [without(SEGMENT, name)]}) for name in SEGMENT),
    ("targetSegments.0.percentage", {"targetSegments": [{**SEGMENT, "percentage": 101}]}),
    ("targetSegments.0.colour", {"targetSegments": [{**SEGMENT, "colour": "blue"}]}),
    ("targetSegments.0.rolloutWeights", {"targetSegments": [{**SEGMENT, "rolloutWeights": {"nobody": 1}}]}),
    ("targetSegments.0.rolloutWeights.control", {"targetSegments": [{**SEGMENT, "rolloutWeights": {"control": -1}}]}),
    *(
        (
            f"targetSegments.0.conditions.0.{name}",
            {"targetSegments": [{**SEGMENT, "conditions": [without(CONDITION, name)]}]},
        )
        for name in CONDITION
    ),
    *(
        (f"targetSegments.0.conditions.0.{name}", {"targetSegments": [{**SEGMENT, "conditions": [changed]}]})
        for name, changed in [
            ("type", {**CONDITION, "type": "cohort"}),
            ("op", {**CONDITION, "op": "equals"}),
            ("values", {**CONDITION, "values": "Peru"}),
            ("values.0", {**CONDITION, "values": [1]}),
        ]
    ),
]

EXPERIMENT_EDITS: list[tuple[str, dict[str, Any]]] = [
    ("experimentType", {"experimentType": "guess"}),
    ("stickyBucketing", {"stickyBucketing": "no"}),
    ("startDate", {"startDate": "tomorrow"}),
    ("startDate", {"startDate": None}),
    ("endDate", {"endDate": 20230923}),
    ("decision", {"decision": "perhaps"}),
    ("decisionReason", {"decisionReason": 1}),
    ("rolledOutVariant", {"rolledOutVariant": "nobody"}),
    ("exposureEvent", {"exposureEvent": "_active"}),
    ("exposureEvent.event_type", {"exposureEvent": {"filters": []}}),
    ("exposureEvent.filters", {"exposureEvent": {"event_type": "_active"}}),
    ("exposureEvent.colour", {"exposureEvent": {"event_type": "_active", "filters": [], "colour": "blue"}}),
    *(
        (f"exposureEvent.filters.0.{name}", {"exposureEvent": {"event_type": "a", "filters": [without(FILTER, name)]}})
        for name in FILTER
        if name != "group_type"
    ),
    *(
        (
            f"exposureEvent.filters.0.{name}",
            {"exposureEvent": {"event_type": "a", "filters": [{**FILTER, name: value}]}},
        )
        for name, value in [
            ("subprop_op", "equals"),
            ("subprop_type", "person"),
            ("subprop_value", "x"),
            ("colour", "blue"),
        ]
    ),
]

CREATES: list[tuple[str, dict[str, Any]]] = [
    ("projectId", {"projectId": None}),
    ("projectId", {"projectId": 100001}),
    ("key", {"key": ""}),
    ("enabled", {"enabled": True}),
    ("rolloutPercentage", {"rolloutPercentage": 10}),
    ("evaluationMode", {"evaluationMode": "edge"}),
    ("variants", {"variants": []}),
    ("variants.0.key", {"variants": [{"name": "on"}]}),
    ("variants.0.rolloutWeight", {"variants": [{"key": "on", "rolloutWeight": 1}]}),
    ("variants", {"variants": [{"key": "on"}, {"key": "on"}]}),
    ("rolloutWeights.control", {"variants": VARIANTS, "rolloutWeights": {"control": 1.5}}),
    ("rolloutWeights.control", {"variants": VARIANTS, "rolloutWeights": {"control": -1}}),
    ("rolloutWeights.control", {"variants": VARIANTS, "rolloutWeights": {"control": "1"}}),
    ("rolloutWeights", {"variants": VARIANTS, "rolloutWeights": {"nobody": 1}}),
    ("targetSegments.0.conditions", {"targetSegments": [{"name": "Beta"}]}),
    ("deployments.0", {"deployments": ["404"]}),
    ("deployments.0", {"deployments": [1]}),
]


@pytest.mark.parametrize(("field", "body"), EDITS)
def test_edit(api: Api, made: str, field: str, body: dict[str, Any]) -> None:
    before = api.ok("GET", made)
    assert field in api.refused(400, "PATCH", made, json={"description": "half", **body})
    assert api.ok("GET", made) == before


@pytest.mark.parametrize("kind", ["experiments"], indirect=True)
@pytest.mark.parametrize(("field", "body"), EXPERIMENT_EDITS)
def test_edit_of_an_experiment(api: Api, made: str, field: str, body: dict[str, Any]) -> None:
    assert field in api.refused(400, "PATCH", made, json=body)


@pytest.mark.parametrize("kind", ["flags"], indirect=True)
@pytest.mark.parametrize(
    "body",
    [
        {"experimentType": "no-harm"},
        {"stickyBucketing": True},
        {"startDate": "2023-07-31"},
        {"endDate": None},
        {"exposureEvent": None},
        {"decision": "rollout"},
        {"decisionReason": "why"},
        {"rolledOutVariant": "control"},
    ],
)
def test_a_flag_has_no_fields_of_experiments(api: Api, made: str, body: dict[str, Any]) -> None:
    reason = api.refused(400, "PATCH", made, json=body)
    assert reason == f"{next(iter(body))}: only experiments have this field"


@pytest.mark.parametrize(("field", "body"), CREATES)
def test_create(api: Api, kind: str, field: str, body: dict[str, Any]) -> None:
    assert field in api.refused(400, "POST", f"/{kind}", json={"projectId": "100001", "key": "new", **body})
    assert api.ok("GET", f"/{kind}")[kind] == []


@pytest.mark.parametrize("missing", ["projectId", "key"])
def test_create_without(api: Api, kind: str, missing: str) -> None:
    body = without({"projectId": "100001", "key": "new"}, missing)
    assert api.refused(400, "POST", f"/{kind}", json=body) == f"{missing}: required field is missing"


def test_experiment_type_when_creating(api: Api) -> None:
    body = {"projectId": "100001", "key": "new", "experimentType": "no-harm"}
    assert "only experiments" in api.refused(400, "POST", "/flags", json=body)
    for number, name in enumerate(["hypothesis-testing", "no-harm", "a-b-test", "multi-arm-bandit"]):
        made = api.ok("POST", "/experiments", json={**body, "key": f"new-{number}", "experimentType": name})
        assert api.ok("GET", f"/experiments/{made['id']}")["experimentType"] == name
    assert "experimentType" in api.refused(400, "POST", "/experiments", json={**body, "experimentType": "guess"})


def test_a_key_is_unique_in_its_project(api: Api) -> None:
    flag = api.ok("POST", "/flags", json={"projectId": "100001", "key": "same"})
    assert "key" in api.refused(400, "POST", "/flags", json={"projectId": "100001", "key": "same"})
    assert "key" in api.refused(400, "POST", "/experiments", json={"projectId": "100001", "key": "same"})
    api.ok("PATCH", f"/flags/{flag['id']}", json={"archive": True})
    assert "key" in api.refused(400, "POST", "/flags", json={"projectId": "100001", "key": "same"})
    api.ok("POST", "/flags", json={"projectId": "100002", "key": "same"})


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"x"', b"null", b'{"rolloutPercentage": NaN}', b"\xff", b'{"name": "\\ud800"}', b"[" * 9999],
)
def test_a_body_that_is_no_json_object(api: Api, made: str, raw: bytes) -> None:
    assert api.refused(400, "PATCH", made, data=raw)
    assert api.refused(400, "POST", "/" + made.split("/")[1], data=raw)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("key", {}),
        ("key", {"key": ""}),
        ("key", {"key": "control"}),
        ("name", {"key": "new", "name": None}),
        ("rolloutWeight", {"key": "new", "rolloutWeight": -1}),
        ("rolloutWeight", {"key": "new", "rolloutWeight": "1"}),
        ("colour", {"key": "new", "colour": "blue"}),
    ],
)
def test_create_variant(api: Api, made: str, field: str, body: dict[str, Any]) -> None:
    assert field in api.refused(400, "POST", f"{made}/variants", json=body)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("key", {"key": "treatment"}),
        ("key", {"key": ""}),
        ("rolloutWeight", {"rolloutWeight": None}),
        ("id", {"id": 1}),
    ],
)
def test_edit_variant(api: Api, made: str, field: str, body: dict[str, Any]) -> None:
    assert field in api.refused(400, "PATCH", f"{made}/variants/control", json=body)


@pytest.mark.parametrize("payload", [None, "text", 1, 1.5, True, [], {"a": [{"b": None}]}, "Ünïcode 🎉\n"])
def test_a_payload_is_any_json(api: Api, made: str, payload: Any) -> None:
    assert api.ok("PATCH", f"{made}/variants/control", json={"payload": payload}) == "OK"
    assert api.ok("GET", f"{made}/variants/control")["payload"] == payload


def test_a_payload_that_is_not_json(api: Api, made: str) -> None:
    for payload in (b"NaN", b"-Infinity", b"1e999", b'"\\ud800"'):
        assert api.refused(400, "PATCH", f"{made}/variants/control", data=b'{"payload": ' + payload + b"}")


def test_the_last_variant_stays(api: Api, made: str) -> None:
    assert api.ok("DELETE", f"{made}/variants/control") == "OK"
    assert "last variant" in api.refused(400, "DELETE", f"{made}/variants/treatment")


def test_a_new_variant_gets_nobody_without_a_weight(api: Api, made: str) -> None:
    api.ok("POST", f"{made}/variants", json={"key": "third"})
    assert api.ok("GET", f"{made}/variants/third")["rolloutWeight"] == 0


def test_a_renamed_variant_keeps_what_is_its_own(api: Api, made: str) -> None:
    api.ok("PATCH", made, json={"targetSegments": [SEGMENT]})
    api.ok("POST", f"{made}/variants/control/users", json={"inclusions": ["ann"]})
    api.ok("PATCH", f"{made}/variants/control", json={"key": "base"})
    seen = api.ok("GET", made)
    assert seen["rolloutWeights"] == {"treatment": 1, "base": 1}
    assert seen["targetSegments"][0]["rolloutWeights"] == {"base": 1}
    assert api.ok("GET", f"{made}/variants/base/users") == ["ann"]
    api.ok("DELETE", f"{made}/variants/base")
    assert api.ok("GET", made)["targetSegments"][0]["rolloutWeights"] == {}
    api.ok("POST", f"{made}/variants", json={"key": "base"})
    assert api.ok("GET", f"{made}/variants/base/users") == []


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("inclusions", {}),
        ("inclusions", {"inclusions": []}),
        ("inclusions", {"inclusions": "ann"}),
        ("inclusions.1", {"inclusions": ["ann", 7]}),
        ("inclusions.0", {"inclusions": [""]}),
        ("users", {"inclusions": ["ann"], "users": []}),
    ],
)
def test_add_inclusions(api: Api, made: str, field: str, body: dict[str, Any]) -> None:
    assert field in api.refused(400, "POST", f"{made}/variants/control/users", json=body)


def test_two_thousand_inclusions_and_no_more(api: Api, made: str) -> None:
    path = f"{made}/variants/control/users"
    api.ok("POST", path, json={"inclusions": [f"user-{number}" for number in range(1999)]})
    assert "inclusions" in api.refused(400, "POST", path, json={"inclusions": ["ann", "bob"]})
    assert len(api.ok("GET", path)) == 1999
    api.ok("POST", path, json={"inclusions": ["ann"]})
    assert "inclusions" in api.refused(400, "POST", path, json={"inclusions": ["ann"]})
    # Each variant has its own limit.
    api.ok("POST", f"{made}/variants/treatment/users", json={"inclusions": ["ann"]})


@pytest.mark.parametrize(("index", "status"), [("1", 404), ("9" * 5000, 404), ("-1", 400), ("ann", 400), ("1.0", 400)])
def test_remove_inclusion(api: Api, made: str, index: str, status: int) -> None:
    path = f"{made}/variants/control/users"
    api.ok("POST", path, json={"inclusions": ["ann"]})
    assert api.refused(status, "DELETE", f"{path}/{index}")
    assert api.ok("GET", path) == ["ann"]


@pytest.mark.parametrize("body", [{}, {"deployments": "1"}, {"deployments": []}, {"deployments": ["404"]}])
def test_assign_deployments(api: Api, made: str, body: dict[str, Any]) -> None:
    assert "deployments" in api.refused(400, "POST", f"{made}/deployments", json=body)


def test_only_deployments_of_the_project_that_live(api: Api, made: str, deployment: str) -> None:
    other = api.ok("POST", "/deployments", json={"projectId": "100002", "label": "web", "type": "client"})["id"]
    both = {"deployments": [deployment, other]}
    assert "deployments.1" in api.refused(400, "POST", f"{made}/deployments", json=both)
    assert api.ok("GET", made)["deployments"] == []
    api.ok("PATCH", f"/deployments/{deployment}", json={"archive": True})
    assert "deployments.0" in api.refused(400, "POST", f"{made}/deployments", json={"deployments": [deployment]})


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("projectId", {"projectId": None}),
        ("label", {"label": "hello world"}),
        ("label", {"label": ""}),
        ("label", {"label": "grüße"}),
        ("label", {"label": "line\n"}),
        ("type", {"type": "edge"}),
        ("type", {"type": None}),
        ("key", {"key": "client-mine"}),
    ],
)
def test_create_deployment(api: Api, field: str, body: dict[str, Any]) -> None:
    whole = {"projectId": "100001", "label": "hello-world_1", "type": "server"}
    assert field in api.refused(400, "POST", "/deployments", json={**whole, **body})
    if field in whole:
        reason = api.refused(400, "POST", "/deployments", json=without(whole, field))
        assert reason == f"{field}: required field is missing"
    assert len(api.ok("GET", "/deployments")["deployments"]) == 2


@pytest.mark.parametrize(
    ("field", "body"), [("label", {"label": "a b"}), ("archive", {"archive": "yes"}), ("type", {"type": "server"})]
)
def test_edit_deployment(api: Api, deployment: str, field: str, body: dict[str, Any]) -> None:
    assert field in api.refused(400, "PATCH", f"/deployments/{deployment}", json=body)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {}),
        ("GET", "/versions", None),
        ("GET", "/versions/1", None),
        ("GET", "/variants", None),
        ("POST", "/variants", {"key": "new"}),
        ("GET", "/variants/control", None),
        ("PATCH", "/variants/control", {}),
        ("DELETE", "/variants/control", None),
        ("GET", "/variants/control/users", None),
        ("POST", "/variants/control/users", {"inclusions": ["ann"]}),
        ("DELETE", "/variants/control/users", None),
        ("DELETE", "/variants/control/users/0", None),
        ("GET", "/deployments", None),
        ("POST", "/deployments", {"deployments": ["1"]}),
        ("DELETE", "/deployments/1", None),
    ],
)
def test_an_unknown_id(api: Api, made: str, method: str, path: str, body: Any) -> None:
    assert api.refused(404, method, f"/{made.split('/')[1]}/404{path}", json=body)
    if "control" in path:
        assert api.refused(404, method, made + path.replace("control", "nobody"), json=body)


def test_an_unknown_version_or_deployment(api: Api, made: str) -> None:
    for version in ("0", "2", "first", "%31%20"):
        assert api.refused(404, "GET", f"{made}/versions/{version}")
    assert api.refused(404, "PATCH", "/deployments/404", json={"label": "x"})
