"""Mutual exclusion groups and holdout groups: their fields, their lists, and the experiments in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, InvalidRequestError, ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    AlreadyExistsError,
    ArchivedError,
    ChangeNotVisibleError,
    ChangeResult,
    EnsureError,
    FlagRef,
    GroupRef,
    MissingFieldError,
    OtherProjectError,
    UnconfirmedWriteError,
    WrongStateError,
    _group_members,
    ensure_group,
    ensure_group_fields,
    ensure_in_group,
    ensure_not_in_group,
)

from .world import HOLDOUT, IDS, MUTEX, OTHER_PROJECT, PROJECT, TWIN_IDS, a_client, by_id, by_key, state

EXPERIMENT = by_id("experiments")
ID = IDS["experiments"]
SLOTS = GroupRef("mutexes", id=MUTEX)
NO_TESTS = GroupRef("holdouts", key="no-tests", project_id=PROJECT)
MUTEX_FIELDS: Any = {
    "projectId": PROJECT,
    "key": "checkout-tests",
    "name": "Checkout tests",
    "slots": [{"percentage": 30}, {"percentage": 70}],
}


@pytest.fixture
def emulator(emulator: Emulator) -> Emulator:
    emulator.settings(extra_endpoints=True)
    emulator.clear_requests()
    return emulator


def mutex(emulator: Emulator) -> dict[str, Any]:
    (found,) = emulator.dump()["mutexes"]
    return dict(found)


def holdout(emulator: Emulator) -> dict[str, Any]:
    (found,) = emulator.dump()["holdouts"]
    return dict(found)


def writes(emulator: Emulator) -> int:
    return sum(entry["method"] != "GET" for entry in emulator.request_log())


FUNCTIONS: list[Callable[[ManagementClient], ChangeResult]] = [
    lambda client: ensure_group(client, "mutexes", MUTEX_FIELDS),
    lambda client: ensure_group_fields(client, NO_TESTS, {"name": "x"}),
    lambda client: ensure_in_group(client, EXPERIMENT, SLOTS, slot=1),
    lambda client: ensure_not_in_group(client, EXPERIMENT, NO_TESTS),
]


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize("change", FUNCTIONS)
def test_a_service_without_groups_is_named(
    emulator: Emulator, client: ManagementClient, change: Callable[[ManagementClient], ChangeResult], status: int
) -> None:
    for route in ("GET /api/1/mutexes", "GET /api/1/mutexes/{id}", "GET /api/1/holdouts"):
        emulator.fault("status", status=status, times=None, route=route)
    with pytest.raises(
        EnsureError, match=r"the service does not have (mutual exclusion|holdout) groups. Nothing was ch"
    ):
        change(client)
    assert writes(emulator) == 0


@pytest.mark.parametrize("if_exists", ["skip", "update"])
def test_a_group_that_exists_is_left(emulator: Emulator, client: ManagementClient, if_exists: Any) -> None:
    there = state(emulator)
    outcome = ensure_group(client, "mutexes", MUTEX_FIELDS, if_exists=if_exists)
    assert (outcome.id, outcome.key, outcome.changed) == (MUTEX, "checkout-tests", False)
    assert outcome.before == outcome.after == {"name": "Checkout tests", "slots": [30, 70]}
    assert outcome.url == f"{emulator.base_url}/amplitude/experiments/grouped-experiments"
    assert state(emulator) == there
    assert emulator.requests()["total"] == 1


def test_a_group_that_exists_is_refused_by_fail(emulator: Emulator, client: ManagementClient) -> None:
    with pytest.raises(AlreadyExistsError, match=rf"'checkout-tests' .*id {MUTEX}.*Nothing was changed"):
        ensure_group(client, "mutexes", MUTEX_FIELDS, if_exists="fail")


def test_an_update_adds_to_lists_and_removes_nothing(emulator: Emulator, client: ManagementClient) -> None:
    slots = [{"percentage": 30, "experiments": ["1", "700009"]}, {"percentage": 70, "individuals": ["bob"]}]
    fields: Any = {**MUTEX_FIELDS, "name": "New", "slots": slots}
    assert ensure_group(client, "mutexes", fields, if_exists="update").changed
    first, second = mutex(emulator)["slots"]
    assert (first["experiments"], first["holdouts"], first["individuals"]) == (["700009", "1"], [HOLDOUT], ["ana"])
    assert (second["experiments"], second["individuals"]) == ([], ["bob"])
    assert mutex(emulator)["name"] == "New"
    emulator.clear_requests()
    assert not ensure_group(client, "mutexes", fields, if_exists="update").changed
    assert writes(emulator) == 0

    more: Any = {"projectId": PROJECT, "key": "no-tests", "name": "No tests", "experiments": ["1"]}
    assert ensure_group(client, "holdouts", {**more, "holdoutPercentage": 5}, if_exists="update").changed
    assert holdout(emulator)["experiments"] == ["700009", ID, "1"]
    assert holdout(emulator)["individualInclusion"] == ["olga"]


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        ("mutexes", {**MUTEX_FIELDS, "slots": [{"percentage": 50}, {"percentage": 50}]}, r"slots \[30, 70\], not \[50"),
        ("mutexes", {**MUTEX_FIELDS, "bucketingKey": "device_id"}, "bucketingKey 'amplitude_id', not 'device_id'"),
        (
            "mutexes",
            {**MUTEX_FIELDS, "slots": [{"percentage": 30}, {"percentage": 70, "experiments": [700009]}]},
            "experiment 700009 in slot 1, not 2",
        ),
        (
            "holdouts",
            {"projectId": PROJECT, "key": "no-tests", "name": "x", "holdoutPercentage": 9},
            "holdoutPercentage 5, not 9",
        ),
    ],
)
def test_an_update_refuses_what_cannot_be_changed(
    emulator: Emulator, client: ManagementClient, kind: Any, fields: Any, named: str
) -> None:
    there = state(emulator)
    with pytest.raises(AlreadyExistsError, match=rf"{named}.*Nothing was changed"):
        ensure_group(client, kind, fields, if_exists="update")
    assert state(emulator) == there


def test_a_key_of_an_archived_group_or_a_flag_is_refused_by_the_service(
    emulator: Emulator, client: ManagementClient
) -> None:
    client.mutexes.edit(MUTEX, {"archive": True})
    for key in ("checkout-tests", "checkout"):
        with pytest.raises(InvalidRequestError, match="taken"):
            ensure_group(client, "mutexes", {**MUTEX_FIELDS, "key": key})


def test_an_archived_group_that_is_listed_is_named(emulator: Emulator, client: ManagementClient) -> None:
    listed = {"mutexes": [{**mutex(emulator), "deleted": True}]}
    emulator.fault("status", status=200, body=json.dumps(listed), times=None, route="GET /api/1/mutexes")
    with pytest.raises(ArchivedError, match=r"archived. Nothing was changed"):
        ensure_group(client, "mutexes", MUTEX_FIELDS)


def test_a_group_that_another_actor_creates_at_the_same_time_exists(
    emulator: Emulator, client: ManagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = client.holdouts.create

    def second(fields: Any) -> Any:
        create({**fields, "name": "The first"})
        return create(fields)

    monkeypatch.setattr(client.holdouts, "create", second)
    fields: Any = {"projectId": PROJECT, "key": "new", "name": "Ours", "holdoutPercentage": 5}
    assert not ensure_group(client, "holdouts", fields).changed


def test_an_empty_list_and_an_empty_text_are_set(emulator: Emulator, client: ManagementClient) -> None:
    assert ensure_group_fields(client, NO_TESTS, {"experiments": [], "description": ""}).changed
    assert (holdout(emulator)["experiments"], holdout(emulator)["description"]) == ([], "")
    assert ensure_group_fields(client, SLOTS, {"holdouts": [], "individuals": []}, slot=1).changed
    slot = mutex(emulator)["slots"][0]
    assert (slot["holdouts"], slot["individuals"], slot["experiments"]) == ([], [], ["700009"])
    emulator.clear_requests()
    assert not ensure_group_fields(client, SLOTS, {"individuals": []}, slot=1).changed
    assert writes(emulator) == 0


def test_the_order_of_a_list_is_no_difference(emulator: Emulator, client: ManagementClient) -> None:
    assert not ensure_group_fields(client, NO_TESTS, {"experiments": [ID, "700009"]}).changed
    assert writes(emulator) == 0


@pytest.mark.parametrize("ref", [SLOTS, GroupRef("holdouts", id=HOLDOUT)], ids=str)
@pytest.mark.parametrize("shows_archive", [True, False])
def test_a_group_is_archived_once_and_restored(
    emulator: Emulator, client: ManagementClient, ref: GroupRef, shows_archive: bool
) -> None:
    """The vendor's example of a mutual exclusion group does not show whether the group is archived."""
    if not shows_archive:
        shown = {name: item for name, item in ref.read(client).items() if name != "deleted"}
        emulator.fault("status", status=200, body=json.dumps(shown), times=None, route=f"GET /api/1/{ref.kind}/{{id}}")
    for archive in (True, False):
        outcome = ensure_group_fields(client, ref, {"archive": archive})
        assert (outcome.before, outcome.after) == ({"archive": not archive}, {"archive": archive})
        (found,) = emulator.dump()[ref.kind]
        assert found["deleted"] is archive
        emulator.clear_requests()
        assert not ensure_group_fields(client, ref, {"archive": archive}).changed
        assert writes(emulator) == 0


def test_wrong_fields_and_slots_are_refused(emulator: Emulator, client: ManagementClient) -> None:
    with pytest.raises(InvalidInputError, match="fields: expected fields to change, got none"):
        ensure_group_fields(client, SLOTS, {})
    with pytest.raises(InvalidInputError, match="archive"):
        ensure_group_fields(client, SLOTS, {"archive": True, "name": "x"})
    with pytest.raises(WrongStateError, match=r"no slot 3. Its slots are 1, 2. Nothing was changed"):
        ensure_group_fields(client, SLOTS, {"individuals": []}, slot=3)
    with pytest.raises(WrongStateError, match=r"no slot 1. It has no slots. Nothing was changed"):
        ensure_group_fields(client, NO_TESTS, {"individuals": []}, slot=1)
    with pytest.raises(InvalidInputError, match="slot: expected the index of a slot, got None"):
        ensure_in_group(client, EXPERIMENT, SLOTS)
    with pytest.raises(InvalidInputError, match="slot: expected none for a holdout group, got 1"):
        ensure_in_group(client, EXPERIMENT, NO_TESTS, slot=1)
    with pytest.raises(InvalidInputError, match="expected an experiment"):
        ensure_in_group(client, by_id("flags"), NO_TESTS)
    with pytest.raises(WrongStateError, match=r"no slot 3. Its slots are 1, 2. Nothing was changed"):
        ensure_in_group(client, EXPERIMENT, SLOTS, slot=3)
    assert writes(emulator) == 0


def test_an_edit_that_is_not_visible_is_an_error(emulator: Emulator, hasty: ManagementClient) -> None:
    emulator.fault("status", status=200, body="OK", route="PATCH /api/1/holdouts/{id}")
    with pytest.raises(ChangeNotVisibleError, match=r"accepted the change, but shows \{'name': 'No tests'\}"):
        ensure_group_fields(hasty, NO_TESTS, {"name": "x"})


def test_a_group_of_another_project_is_refused(emulator: Emulator, client: ManagementClient) -> None:
    elsewhere = GroupRef("mutexes", id=MUTEX, project_id=OTHER_PROJECT)
    with pytest.raises(OtherProjectError, match=rf"in project {PROJECT}, not in the named project {OTHER_PROJECT}"):
        ensure_group_fields(client, elsewhere, {"name": "x"})
    twin = FlagRef("experiments", id=TWIN_IDS["experiments"])
    with pytest.raises(OtherProjectError, match="Name an experiment and a group of one project"):
        ensure_in_group(client, twin, SLOTS, slot=1)
    with pytest.raises(EnsureError, match=r"'checkout-tests' of project 100002 does not exist. Nothing was changed"):
        ensure_in_group(client, twin, GroupRef("mutexes", key="checkout-tests", project_id=OTHER_PROJECT), slot=1)
    assert writes(emulator) == 0


def test_an_experiment_in_another_slot_is_not_moved(emulator: Emulator, client: ManagementClient) -> None:
    ensure_in_group(client, EXPERIMENT, SLOTS, slot=2)
    with pytest.raises(WrongStateError, match=r"already in slot 2 of .*Nothing was changed. Remove it from the group"):
        ensure_in_group(client, EXPERIMENT, SLOTS, slot=1)
    assert [slot["experiments"] for slot in mutex(emulator)["slots"]] == [["700009"], [ID]]


def test_an_experiment_leaves_all_slots_and_the_others_stay(emulator: Emulator, client: ManagementClient) -> None:
    for slot in (1, 2):
        client.mutexes.edit_slot(MUTEX, slot, {"experiments": ["700009", ID]})
    outcome = ensure_not_in_group(client, EXPERIMENT, SLOTS)
    assert (outcome.id, outcome.key, outcome.before, outcome.after) == (ID, "pricing", [1, 2], [])
    assert [slot["experiments"] for slot in mutex(emulator)["slots"]] == [["700009"], ["700009"]]
    assert mutex(emulator)["slots"][0]["individuals"] == ["ana"]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_running_experiment_is_changed_with_a_note(
    emulator: Emulator, client: ManagementClient, enabled: bool
) -> None:
    client.experiments.edit(ID, {"enabled": enabled})
    notes = ensure_in_group(client, by_key("experiments"), SLOTS, slot=1).notes
    assert bool(notes) is enabled
    assert all("'pricing' of project 100001 is enabled" in note for note in notes)
    assert not ensure_in_group(client, by_key("experiments"), SLOTS, slot=1).notes


@pytest.mark.parametrize("listed", [None, "x", [{"id": 1}], "missing"])
def test_a_list_that_the_service_does_not_show_is_not_overwritten(
    emulator: Emulator, client: ManagementClient, listed: Any
) -> None:
    shown = {**holdout(emulator), "experiments": listed}
    if listed == "missing":
        del shown["experiments"]
    emulator.fault("status", status=200, body=json.dumps(shown), times=None, route="GET /api/1/holdouts/{id}")
    with pytest.raises(MissingFieldError, match=r"does not show the experiments of .*Nothing was changed"):
        ensure_in_group(client, by_id("experiments"), GroupRef("holdouts", id=HOLDOUT))
    assert writes(emulator) == 0


def test_a_write_that_another_task_overwrites_is_repeated(
    emulator: Emulator, client: ManagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task on another machine read the list before our write, and writes it without our experiment."""
    theirs = iter([["700009", "1"]])

    def others_write(seconds: float) -> None:
        for experiments in theirs:
            client.mutexes.edit_slot(MUTEX, 1, {"experiments": experiments})

    monkeypatch.setattr(_group_members, "time", SimpleNamespace(sleep=others_write))
    outcome = ensure_in_group(client, EXPERIMENT, SLOTS, slot=1)
    assert (outcome.before, outcome.after) == ([], [1])
    assert mutex(emulator)["slots"][0]["experiments"] == ["700009", "1", ID]


def test_tasks_on_several_machines_put_their_experiments_into_one_slot(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group_members, "in_turn", lambda *names: nullcontext())
    ids = [emulator.create_experiment(f"test-{number}")["id"] for number in range(6)]

    def join(id: str) -> ChangeResult:
        with a_client(emulator, timeout=5, retry_for=10) as client:
            return ensure_in_group(client, FlagRef("experiments", id=id), SLOTS, slot=2)

    with ThreadPoolExecutor(len(ids)) as pool:
        assert all(outcome.changed for outcome in pool.map(join, ids))
    assert sorted(mutex(emulator)["slots"][1]["experiments"]) == sorted(ids)


def test_a_write_that_is_never_visible_is_an_error(
    emulator: Emulator, client: ManagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group_members, "_OTHERS_WRITE_WITHIN", 0.01)
    emulator.fault("status", status=200, body="OK", times=None, methods=["PATCH"])
    with pytest.raises(UnconfirmedWriteError, match=r"8 writes are not visible.*Check the group in Amplitude"):
        ensure_in_group(client, EXPERIMENT, SLOTS, slot=1)
    assert ID not in mutex(emulator)["slots"][0]["experiments"]
