"""People: edits in the web app, and approvals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator

if TYPE_CHECKING:
    from tests.emulator.conftest import Api

SEGMENT = {"name": "Beta", "conditions": [], "percentage": 5, "rolloutWeights": {}}


def test_a_person_edits(api: Api, emulator: Emulator, kind: str, made: str) -> None:
    object_id = made.split("/")[-1]
    emulator.edit(kind, object_id, by="Nora", rolloutPercentage=40, enabled=True, deleted=True)
    seen = api.ok("GET", made)
    assert (seen["rolloutPercentage"], seen["enabled"], seen["deleted"]) == (40, True, True)
    assert (seen["lastModifiedBy"], seen["createdBy"]) == ("Nora", "Airflow")
    assert [version["createdBy"] for version in emulator.versions(kind, object_id)] == ["Nora", "Airflow"]
    emulator.edit(kind, object_id, archive=False, rolloutWeights={"control": 3, "treatment": 1})
    assert api.ok("GET", made)["rolloutWeights"] == {"control": 3, "treatment": 1}
    assert api.ok("GET", made)["deleted"] is False
    assert emulator.versions(kind, object_id)[0]["createdBy"] == "Maria"


def test_a_person_decides(api: Api, emulator: Emulator) -> None:
    made = emulator.create_experiment("e", state="running")
    emulator.edit("experiments", made["id"], decision="rollout", rolledOutVariant="treatment")
    assert emulator.experiment(made["id"])["state"] == "decision-made"
    emulator.edit("experiments", made["id"], state="running", decision=None, endDate=None)
    seen = emulator.experiment(made["id"])
    assert (seen["state"], seen["decision"], seen["endDate"]) == ("running", None, None)


def test_an_edit_that_cannot_be(emulator: Emulator) -> None:
    made = emulator.create_flag("f")
    with pytest.raises(ValueError, match="rolloutPercentage"):
        emulator.edit("flags", made["id"], rolloutPercentage=101)
    with pytest.raises(ValueError, match="rolloutPercentage"):
        emulator.edit_before_write("flags", made["id"], rolloutPercentage=101)
    with pytest.raises(ValueError, match="404"):
        emulator.edit("flags", "404", name="x")
    assert emulator.flag(made["id"]) == made


def test_an_edit_between_read_and_write(api: Api, emulator: Emulator, kind: str, made: str) -> None:
    object_id = made.split("/")[-1]
    emulator.edit_before_write(kind, object_id, by="Maria", rolloutPercentage=50)
    assert api.ok("GET", made)["rolloutPercentage"] == 0
    api.ok("PATCH", made, json={"name": "mine"})
    seen = api.ok("GET", made)
    assert (seen["rolloutPercentage"], seen["name"]) == (50, "mine")
    assert [version["createdBy"] for version in emulator.versions(kind, object_id)] == ["Airflow", "Maria", "Airflow"]
    emulator.edit(kind, object_id, rolloutPercentage=60)
    api.ok("PATCH", made, json={"name": "mine again"})
    assert api.ok("GET", made)["rolloutPercentage"] == 60


def test_an_edit_waits_for_a_write_to_its_own_object(api: Api, emulator: Emulator) -> None:
    first, second = emulator.create_flag("a")["id"], emulator.create_flag("b")["id"]
    emulator.edit_before_write("flags", first, enabled=True)
    api.ok("PATCH", f"/flags/{second}", json={"name": "x"})
    assert emulator.flag(first)["enabled"] is False
    api.ok("POST", f"/flags/{first}/variants/on/users", json={"inclusions": ["ann"]})
    assert emulator.flag(first)["enabled"] is True


@pytest.mark.parametrize(
    ("hold", "held"),
    [
        ("all", ["name", "rolloutPercentage", "targetSegments"]),
        ("percentages", ["rolloutPercentage"]),
        ("segments", ["targetSegments"]),
        ("none", []),
    ],
)
def test_held_fields_wait(api: Api, emulator: Emulator, kind: str, made: str, hold: str, held: list[str]) -> None:
    body: dict[str, Any] = {"name": "new", "rolloutPercentage": 30, "targetSegments": [SEGMENT]}
    before = api.ok("GET", made)
    emulator.hold(hold)
    assert api.ok("PATCH", made, json=body) == "OK"
    seen = api.ok("GET", made)
    for name in body:
        assert (seen[name] == before[name]) == (name in held)
    object_id = made.split("/")[-1]
    assert len(emulator.versions(kind, object_id)) == (1 if hold == "all" else 2)
    pending = emulator.pending()
    assert [sorted(change["fields"]) for change in pending] == ([held] if held else [])
    for change in pending:
        assert (change["kind"], change["objectId"], change["by"]) == (kind, object_id, "Airflow")
        emulator.approve(change["id"], by="Olga")
    seen = api.ok("GET", made)
    assert (seen["name"], seen["rolloutPercentage"], seen["targetSegments"][0]["name"]) == ("new", 30, "Beta")
    assert emulator.pending() == []
    if held:
        assert emulator.versions(kind, object_id)[0]["createdBy"] == "Olga"


def test_a_rejected_change_is_dropped(api: Api, emulator: Emulator, made: str) -> None:
    emulator.hold("percentages")
    api.ok("PATCH", made, json={"rolloutPercentage": 30})
    emulator.reject(emulator.pending()[0]["id"])
    assert (emulator.pending(), api.ok("GET", made)["rolloutPercentage"]) == ([], 0)
    with pytest.raises(ValueError, match="404"):
        emulator.approve("1")


def test_hold_all_holds_every_write(api: Api, emulator: Emulator, made: str, deployment: str) -> None:
    before = api.ok("GET", made)
    emulator.hold()
    for method, path, body in [
        ("POST", "/variants", {"key": "third"}),
        ("PATCH", "/variants/control", {"name": "x"}),
        ("DELETE", "/variants/treatment", None),
        ("POST", "/variants/control/users", {"inclusions": ["ann"]}),
        ("POST", "/deployments", {"deployments": [deployment]}),
    ]:
        assert api.ok(method, made + path, json=body) == "OK"
    assert api.ok("GET", made) == before
    assert api.ok("GET", f"{made}/variants/control/users") == []
    assert len(emulator.pending()) == 5


def test_what_is_wrong_is_refused_and_not_held(api: Api, emulator: Emulator, made: str) -> None:
    emulator.hold("percentages")
    assert api.refused(400, "PATCH", made, json={"rolloutPercentage": 101, "name": "x"})
    wrong = [{**SEGMENT, "rolloutWeights": {"nobody": 1}}]
    assert api.refused(400, "PATCH", made, json={"rolloutPercentage": 5, "targetSegments": wrong})
    emulator.hold("segments")
    assert api.refused(400, "PATCH", made, json={"name": "x", "targetSegments": wrong})
    assert api.ok("GET", made)["name"] == "made"
    api.ok("PATCH", made, json={"rolloutPercentage": 0})
    emulator.hold("all")
    assert api.refused(404, "DELETE", f"{made}/variants/nobody")
    assert emulator.pending() == []
