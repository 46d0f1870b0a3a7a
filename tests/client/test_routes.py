"""Each method of the client with the emulator: its request and its result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient, NotFoundError, UncertainWriteError
from airflow_provider_ampexp.client._deployments import DeploymentEndpoints
from airflow_provider_ampexp.client._flags import FlagEndpoints
from airflow_provider_ampexp.emulator.control import Emulator

from .calls import EVERY_ROUTE, KINDS, ODD, PROJECT, ROUTES_OF_DEPLOYMENTS, ROUTES_OF_KIND, Call, World

Worlds = Callable[[str], World]
each_kind = pytest.mark.parametrize("kind", KINDS)


NOT_IN_THE_CONTRACT = {"find", "remove_inclusions", "cohorts", "add_cohorts", "remove_cohorts"}


def _methods(of: type) -> set[str]:
    return {name for name in vars(of) if not name.startswith("_")}


def test_the_table_holds_exactly_the_39_routes_of_the_contract():
    assert len({call.route.replace("{kind}", kind) for call, kind in EVERY_ROUTE}) == len(EVERY_ROUTE) == 39
    assert {call.name for call in ROUTES_OF_KIND} == _methods(FlagEndpoints) - NOT_IN_THE_CONTRACT
    assert {call.name for call in ROUTES_OF_DEPLOYMENTS} == {
        f"deployments.{name}" for name in _methods(DeploymentEndpoints)
    }


@pytest.mark.parametrize(
    ("call", "kind"), [pytest.param(call, kind, id=f"{kind}-{call.name}") for call, kind in EVERY_ROUTE]
)
def test_a_call_is_one_request_to_its_route_and_does_what_the_contract_says(
    call: Call, kind: str, client: ManagementClient, world: Worlds
):
    here = world(kind)
    answer = call.on(client, here)
    (sent,) = here.emulator.request_log()
    assert (sent["method"], sent["path"], sent["status"]) == (*call.request(here), 200)
    assert sent["route"].replace(f"/api/1/{kind}", "/{kind}").replace("/api/1", "") == call.route
    if call.answers:
        assert call.answers(answer, here)
    else:
        assert answer is None
    if call.times:
        assert call.times(here.now(), here) == 1


@each_kind
@pytest.mark.parametrize("body", ["OK", "ok", "{}"])
def test_a_write_takes_every_body_that_says_yes(body: str, kind: str, client: ManagementClient, world: Worlds):
    here = world(kind)
    here.emulator.settings(write_body=body)
    getattr(client, kind).edit(here.id, {"rolloutPercentage": 5})
    assert here.now().thing["rolloutPercentage"] == 5


def _ids(found: Any) -> list[Any]:
    """Return all ids in a response."""
    if isinstance(found, dict):
        own = [found[name] for name in ("id", "projectId") if name in found]
        listed = [deployment for deployment in found.get("deployments", []) if not isinstance(deployment, dict)]
        return own + listed + [id for value in found.values() for id in _ids(value)]
    return [id for item in found for id in _ids(item)] if isinstance(found, list) else []


@each_kind
@pytest.mark.parametrize("numeric", [False, True])
def test_ids_are_texts_however_the_service_answers_them(
    numeric: bool, kind: str, client: ManagementClient, world: Worlds
):
    here = world(kind)
    here.emulator.settings(numeric_ids=numeric)
    many = getattr(client, kind)
    answers = {
        "list": (list(many.list()), 3),
        "find": (many.find("checkout"), 3),
        "get": (many.get(here.id), 3),
        "versions": (many.versions(here.id), 6),
        "version": (many.version(here.id, "2"), 3),
        "create": (many.create({"projectId": PROJECT, "key": "new"}), 1),
        "deployments": (many.deployments(here.id), 2),
        "deployments.list": (list(client.deployments.list()), 4),
        "deployments.create": (
            {"id": client.deployments.create({"projectId": PROJECT, "label": "a", "type": "client"})},
            1,
        ),
    }
    for name, (answer, wanted) in answers.items():
        found = _ids(answer)
        assert len(found) == wanted, name
        assert all(isinstance(object_id, str) for object_id in found), name


@each_kind
def test_every_field_of_an_answer_is_kept(kind: str, client: ManagementClient, world: Worlds):
    here = world(kind)
    here.emulator.edit(kind, here.id, brandNew={"id": 5, "deep": [None]}, bucketingUnit="org id")
    many = getattr(client, kind)
    wanted = (here.emulator.flag if kind == "flags" else here.emulator.experiment)(here.id)
    assert many.get(here.id) == wanted
    assert list(many.list()) == [wanted]
    assert many.versions(here.id) == here.emulator.versions(kind, here.id)
    assert wanted["brandNew"] == {"id": 5, "deep": [None]}


@each_kind
def test_what_is_created_has_the_fields_that_were_named(kind: str, client: ManagementClient, world: Worlds):
    here = world(kind)
    fields: dict[str, Any] = {
        "projectId": PROJECT,
        "key": f"schlüssel {ODD}",
        "name": "Zeile 1\nZeile 2",
        "variants": ({"key": "x", "payload": None}, {"key": "y"}),
        "rolloutWeights": {"x": 1, "y": 3},
        "targetSegments": [{"name": "QA", "conditions": [], "percentage": 50.0, "rolloutWeights": {"x": 1, "y": 1}}],
        "deployments": (deployment_id for deployment_id in [here.unassigned]),
        "evaluationMode": "local",
    }
    many = getattr(client, kind)
    made = many.get(many.create(fields)["id"])
    assert [made[name] for name in ("key", "name", "rolloutWeights", "deployments", "evaluationMode")] == [
        fields["key"],
        fields["name"],
        {"x": 1, "y": 3},
        [here.unassigned],
        "local",
    ]
    assert (made["targetSegments"][0]["percentage"], made["variants"][0]) == (50, {"key": "x", "payload": None})
    assert many.find(fields["key"])["id"] == made["id"]


@pytest.mark.parametrize("call", ["add_inclusions", "add_cohorts", "add_deployments"])
def test_nothing_to_add_is_no_request(call: str, client: ManagementClient, world: Worlds):
    here = world("flags")
    place = (here.id,) if call == "add_deployments" else (here.id, ODD)
    getattr(client.flags, call)(*place, [])
    assert here.emulator.requests()["total"] == 0


def test_the_date_is_the_services_own(client: ManagementClient, emulator: Emulator):
    assert client.date is None
    emulator.advance(86_400 * 3)
    list(client.deployments.list())
    assert client.date is not None
    assert 86_400 * 3 - 10 < (client.date - datetime.now(timezone.utc)).total_seconds() < 86_400 * 3 + 10


@each_kind
def test_inclusions_are_removed_by_value_where_the_service_can(kind: str, client: ManagementClient, world: Worlds):
    here = world(kind)
    endpoints = getattr(client, kind)
    with pytest.raises(NotFoundError):
        endpoints.remove_inclusions(here.id, ODD, ["nobody"])
    here.emulator.settings(extra_endpoints=True)
    there = endpoints.inclusions(here.id, ODD)
    endpoints.remove_inclusions(here.id, ODD, there[:1])
    assert endpoints.inclusions(here.id, ODD) == [user for user in there if user != there[0]]


@each_kind
def test_cohorts_are_included_where_the_service_can(kind: str, client: ManagementClient, world: Worlds):
    here = world(kind)
    endpoints = getattr(client, kind)
    with pytest.raises(NotFoundError):
        endpoints.cohorts(here.id, ODD)
    here.emulator.settings(extra_endpoints=True)
    endpoints.add_cohorts(here.id, ODD, ("c 1/?#", "c2", "c3"))
    assert endpoints.cohorts(here.id, ODD) == ["c 1/?#", "c2", "c3"]
    endpoints.remove_cohorts(here.id, ODD, ["c 1/?#", "c3", "nothing"])
    assert endpoints.cohorts(here.id, ODD) == ["c2"]
    assert here.now().included == endpoints.inclusions(here.id, ODD)


@each_kind
@pytest.mark.parametrize(("call", "sent"), [("add_cohorts", 1), ("remove_cohorts", 2), ("cohorts", 2)])
def test_only_an_addition_of_cohorts_is_not_repeated(
    kind: str, call: str, sent: int, client: ManagementClient, world: Worlds
):
    here = world(kind)
    here.emulator.settings(extra_endpoints=True)
    here.emulator.fault("status", status=500)
    named = (here.id, ODD) if call == "cohorts" else (here.id, ODD, ["c1"])
    with suppress(UncertainWriteError):
        getattr(getattr(client, kind), call)(*named)
    assert here.emulator.requests()["total"] == sent
