"""The dependencies of a flag: each name is checked before the write, and a circle is reported."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, ManagementApiError, ManagementClient
from airflow_provider_ampexp.client.types import Slot
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeNotVisibleError,
    ConflictError,
    FlagRef,
    WrongStateError,
    ensure_dependencies,
)

from .world import IDS, OTHER_PROJECT, PROJECT, by_id, by_key

TARGET = by_key("flags")
ID = IDS["flags"]


def dependencies(emulator: Emulator) -> Any:
    return emulator.flag(ID).get("parentDependencies")


def on(*ids: str, operator: str = "all") -> dict[str, Any]:
    return {"flags": {id: ["on"] for id in ids}, "operator": operator}


def writes(emulator: Emulator) -> int:
    return sum(entry["method"] != "GET" for entry in emulator.request_log())


def test_flags_and_experiments_are_named_by_key_or_id(emulator: Emulator, client: ManagementClient) -> None:
    api = emulator.create_flag("api")["id"]
    ids = {"pricing": IDS["experiments"], "api": api}
    outcome = ensure_dependencies(
        client, TARGET, {"api": ["on"], IDS["experiments"]: ["treatment", "off", "treatment"]}, operator="any"
    )
    wanted = {"flags": {api: ["on"], ids["pricing"]: ["treatment", "off"]}, "operator": "any"}
    assert outcome.changed
    assert dependencies(emulator) == wanted
    assert outcome.after == {"parentDependencies": wanted}
    emulator.clear_requests()
    again = ensure_dependencies(client, by_id("flags"), {"pricing": ["off", "treatment"], api: ["on"]}, operator="any")
    assert not again.changed
    assert [entry["method"] for entry in emulator.request_log()] == ["GET"] * 3


def test_none_is_written_once_and_read_once(emulator: Emulator, client: ManagementClient) -> None:
    assert not ensure_dependencies(client, TARGET, {}).changed
    assert [entry["method"] for entry in emulator.request_log()] == ["GET"]
    api = emulator.create_flag("api")["id"]
    emulator.edit("flags", ID, parentDependencies=on(api))
    assert ensure_dependencies(client, TARGET, {}).changed
    assert dependencies(emulator) == on()
    assert not ensure_dependencies(client, TARGET, {}).changed


@pytest.mark.parametrize(
    ("depends_on", "says"),
    [
        ({"apo": ["on"]}, r"the project has no flag or experiment 'apo'; is 'api' meant\?"),
        ({"elsewhere": ["on"]}, "the project has no flag or experiment 'elsewhere'"),
        ({"api": ["treatmen"]}, r"Flag 'api' has no variant 'treatmen'.*Its variants are 'off', 'on'\."),
        ({"pricing": ["on"]}, r"Experiment 'pricing' has no variant 'on'"),
        ({"gone": ["on"]}, r"flag 'gone' is archived"),
        ({"checkout": ["on"]}, r"depend on itself: flag 'checkout' -> flag 'checkout'"),
        ({"api": ["on"], "web": ["on"]}, r"itself: flag 'checkout' -> flag 'web' -> flag 'box' -> flag 'checkout'"),
    ],
    ids=["unknown", "other project", "variant", "variant of an experiment", "archived", "itself", "circle"],
)
def test_what_no_user_can_meet_is_refused_by_name(
    emulator: Emulator, client: ManagementClient, depends_on: dict[str, list[str]], says: str
) -> None:
    emulator.create_flag("api")
    emulator.create_flag("gone", deleted=True)
    emulator.create_flag("elsewhere", projectId=OTHER_PROJECT)
    box = emulator.create_flag("box", parentDependencies={"flags": {ID: ["treatment"]}, "operator": "all"})["id"]
    emulator.create_flag("web", parentDependencies={"flags": {box: ["on"]}, "operator": "any"})
    depends_on = {name: ["control"] if name == "checkout" else variants for name, variants in depends_on.items()}
    with pytest.raises(WrongStateError, match=rf"(?s){says}.*Nothing was changed\."):
        ensure_dependencies(client, TARGET, depends_on)
    assert writes(emulator) == 0


def test_a_local_flag_does_not_depend_on_a_remote_one(emulator: Emulator, client: ManagementClient) -> None:
    emulator.create_flag("api", evaluationMode="remote")
    emulator.edit("flags", ID, evaluationMode="local")
    with pytest.raises(WrongStateError, match="it is evaluated locally, and flag 'api' remotely"):
        ensure_dependencies(client, TARGET, {"api": ["on"]})
    emulator.edit("flags", ID, evaluationMode="remote")
    assert ensure_dependencies(client, TARGET, {"api": ["on"]}).changed


@pytest.mark.parametrize(
    ("depends_on", "operator", "field"),
    [
        ({"api": []}, "all", "depends_on.api"),
        ({"api": "on"}, "all", "depends_on.api"),
        ({"": ["on"]}, "all", "depends_on"),
        ({}, "one", "operator"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_request(
    emulator: Emulator, client: ManagementClient, depends_on: Any, operator: Any, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ensure_dependencies(client, TARGET, depends_on, operator=operator)
    assert caught.value.field == field
    assert emulator.request_log() == []


def test_a_dependency_on_a_group_stays(emulator: Emulator, client: ManagementClient) -> None:
    emulator.settings(extra_endpoints=True)
    slots: list[Slot] = [{"percentage": 100}]
    group = client.mutexes.create({"projectId": PROJECT, "name": "Checkout", "slots": slots})["id"]
    api = emulator.create_flag("api")["id"]
    emulator.edit("flags", ID, parentDependencies={"flags": {group: ["slot-1"], api: ["on"]}, "operator": "all"})
    with pytest.raises(WrongStateError, match=rf"it also depends on {group}.*Use the present operator"):
        ensure_dependencies(client, TARGET, {"pricing": ["treatment"]}, operator="any")
    assert dependencies(emulator)["operator"] == "all"
    outcome = ensure_dependencies(client, TARGET, {"api": ["off"]})
    assert dependencies(emulator) == {"flags": {group: ["slot-1"], api: ["off"]}, "operator": "all"}
    assert outcome.notes == (f"The dependency on {group} stays: it is no flag or experiment of the project.",)


@pytest.mark.parametrize(
    ("theirs", "kept"),
    [
        ({"first": ["off"], "third": ["on"]}, None),
        ({"first": ["on"], "third": ["on"]}, {"second": ["on"], "third": ["on"]}),
    ],
    ids=["the same dependency", "another one"],
)
def test_a_change_at_the_same_time_is_restored(
    emulator: Emulator,
    client: ManagementClient,
    theirs: dict[str, list[str]],
    kept: dict[str, list[str]] | None,
) -> None:
    ids = {key: emulator.create_flag(key)["id"] for key in ("first", "second", "third")}

    def of(variants: dict[str, list[str]]) -> dict[str, Any]:
        return {"flags": {ids[key]: found for key, found in variants.items()}, "operator": "all"}

    emulator.edit("flags", ID, parentDependencies=on(ids["first"]))
    emulator.edit_before_write("flags", ID, by="Maria", parentDependencies=of(theirs))
    if kept is None:
        with pytest.raises(ConflictError, match=r"Conflict on parentDependencies.*Maria"):
            ensure_dependencies(client, TARGET, {"second": ["on"]})
        assert dependencies(emulator) == of(theirs)
    else:
        outcome = ensure_dependencies(client, TARGET, {"second": ["on"]})
        (note,) = outcome.notes
        assert note.startswith("Maria (version 3")
        assert note.endswith("changed parentDependencies at the same time. Both changes were kept.")
        assert dependencies(emulator) == of(kept)


def test_a_service_that_ignores_the_field_is_found_out(emulator: Emulator, hasty: ManagementClient) -> None:
    emulator.create_flag("api")
    emulator.edit("flags", ID, parentDependencies=on())
    emulator.fault("status", status=200, body="OK", route="PATCH /api/1/flags/{id}")
    with pytest.raises(ChangeNotVisibleError, match=r"accepted the change, but shows .*parentDependencies"):
        ensure_dependencies(hasty, TARGET, {"api": ["on"]})


def test_the_emulator_refuses_what_the_app_refuses(emulator: Emulator, client: ManagementClient) -> None:
    api = emulator.create_flag("api", parentDependencies={"flags": {ID: ["control"]}, "operator": "all"})["id"]
    for wanted in (on("999"), on(api), {"flags": {IDS["experiments"]: ["on"]}, "operator": "all"}):
        with pytest.raises(ManagementApiError, match="parentDependencies"):
            client.flags.edit(ID, {"parentDependencies": wanted})  # type: ignore[typeddict-item]
    assert FlagRef("flags", id=ID, project_id=PROJECT).read(client).get("parentDependencies") is None
