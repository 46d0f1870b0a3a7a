"""Mutual exclusion groups and holdout groups, which the contract does not have."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_ampexp.client import (
    InvalidInputError,
    InvalidRequestError,
    ManagementClient,
    NotFoundError,
    UncertainWriteError,
)
from airflow_provider_ampexp.emulator.control import Emulator

PROJECT = "100001"
MUTEX: dict[str, Any] = {
    "projectId": PROJECT,
    "name": "Checkout tests",
    "key": "checkout-tests",
    "slots": [{"percentage": 40, "experiments": ["123"], "holdouts": ["456"]}, {"percentage": 60}],
}
HOLDOUT: dict[str, Any] = {
    "projectId": PROJECT,
    "name": "5 % without tests",
    "key": "no-tests",
    "holdoutPercentage": 5,
    "experiments": ["123"],
}
EACH = pytest.mark.parametrize(("kind", "fields"), [("mutexes", MUTEX), ("holdouts", HOLDOUT)])


@pytest.fixture
def emulator(emulator: Emulator) -> Emulator:
    emulator.settings(extra_endpoints=True)
    return emulator


@EACH
def test_a_group_is_created_read_listed_edited_and_archived(
    kind: str, fields: dict[str, Any], client: ManagementClient, emulator: Emulator
) -> None:
    groups = getattr(client, kind)
    assert list(groups.list()) == []
    made = groups.create(fields)
    assert made["url"].endswith("/grouped-experiments")
    found = groups.get(made["id"])
    assert (found["id"], found["projectId"], found["key"], found["name"]) == (
        made["id"],
        PROJECT,
        fields["key"],
        fields["name"],
    )
    assert [item["id"] for item in groups.list(project_id=PROJECT)] == [made["id"]]
    assert list(groups.list(project_id="100002")) == []
    groups.edit(made["id"], {"description": "New words"})
    assert groups.get(made["id"])["description"] == "New words"
    groups.edit(made["id"], {"archive": True, "description": "ignored"})
    archived = groups.get(made["id"])
    assert (archived["deleted"], archived["description"]) == (True, "New words")
    assert list(groups.list()) == []


@pytest.mark.parametrize("numeric", [False, True])
def test_ids_are_text_here_and_numbers_there(client: ManagementClient, emulator: Emulator, numeric: bool) -> None:
    emulator.settings(numeric_ids=numeric)
    mutex = client.mutexes.get(client.mutexes.create(MUTEX)["id"])  # type: ignore[arg-type]
    assert [(slot["index"], slot["variantKey"], slot["percentage"]) for slot in mutex["slots"]] == [  # type: ignore[typeddict-item]
        (1, "slot-1", 40),
        (2, "slot-2", 60),
    ]
    assert (mutex["slots"][0]["experiments"], mutex["slots"][0]["holdouts"]) == (["123"], ["456"])
    client.mutexes.edit_slot(mutex["id"], 2, {"experiments": ["789"], "individuals": ["ana@example.com"]})
    slots = client.mutexes.get(mutex["id"])["slots"]
    assert (slots[1]["experiments"], slots[1]["individuals"]) == (["789"], ["ana@example.com"])
    assert slots[0] == mutex["slots"][0]
    holdout = client.holdouts.create(HOLDOUT)["id"]  # type: ignore[arg-type]
    client.holdouts.edit(holdout, {"experiments": ["123", "789"], "individualExclusion": ["bob"]})
    edited = client.holdouts.get(holdout)
    assert (edited["experiments"], edited["individualExclusion"]) == (["123", "789"], ["bob"])


def test_numbers_are_sent_as_the_service_has_them(client: ManagementClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    call = client._transport.call

    def spy(*args: Any, **named: Any) -> Any:
        sent.append(named.get("body"))
        return call(*args, **named)

    monkeypatch.setattr(client._transport, "call", spy)
    client.mutexes.create(MUTEX)  # type: ignore[arg-type]
    assert sent[0]["slots"][0] == {"percentage": 40, "experiments": [123], "holdouts": [456]}
    assert MUTEX["slots"][0]["experiments"] == ["123"]


@EACH
def test_a_service_without_groups_is_a_404(
    kind: str, fields: dict[str, Any], client: ManagementClient, emulator: Emulator
) -> None:
    emulator.settings(extra_endpoints=False)
    for call in (lambda: list(getattr(client, kind).list()), lambda: getattr(client, kind).create(fields)):
        with pytest.raises(NotFoundError):
            call()


@EACH
def test_only_a_creation_is_not_repeated(
    kind: str, fields: dict[str, Any], client: ManagementClient, emulator: Emulator
) -> None:
    groups = getattr(client, kind)
    id = groups.create(fields)["id"]
    calls: list[Any] = [
        (lambda: groups.create({**fields, "key": "another"}), 1),
        (lambda: groups.edit(id, {"name": "x"}), 2),
        (lambda: groups.get(id), 2),
        (lambda: list(groups.list()), 2),
    ]
    if kind == "mutexes":
        calls.append((lambda: groups.edit_slot(id, 1, {"individuals": ["ana"]}), 2))
    for call, sent in calls:
        emulator.clear_requests()
        emulator.fault("status", status=500)
        with suppress(UncertainWriteError):
            call()
        assert emulator.requests()["total"] == sent


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        ("mutexes", {"slots": [{"percentage": 40}, {"percentage": 50}]}, "slots"),
        ("mutexes", {"slots": []}, "slots"),
        ("mutexes", {"slots": [{"percentage": 5}] * 21}, "slots"),
        ("mutexes", {"slots": [{"percentage": 0}, {"percentage": 100}]}, "slots.0.percentage"),
        ("mutexes", {"holdoutPercentage": 5}, "holdoutPercentage"),
        ("holdouts", {"holdoutPercentage": 100}, "holdoutPercentage"),
        ("holdouts", {"experiments": ["x"]}, "experiments.0"),
        ("holdouts", {"colour": "red"}, "colour"),
    ],
)
def test_the_service_refuses(client: ManagementClient, kind: str, fields: dict[str, Any], named: str) -> None:
    group = MUTEX if kind == "mutexes" else HOLDOUT
    with pytest.raises(InvalidRequestError, match=named):
        getattr(client, kind).create({**group, **fields})
    assert list(getattr(client, kind).list()) == []


def test_a_key_is_one_of_all_flags_experiments_and_groups(client: ManagementClient) -> None:
    client.mutexes.create(MUTEX)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="taken"):
        client.holdouts.create({**HOLDOUT, "key": MUTEX["key"]})  # type: ignore[typeddict-item]
    with pytest.raises(InvalidRequestError, match="taken"):
        client.flags.create({"projectId": PROJECT, "key": MUTEX["key"]})


def test_what_is_wrong_before_it_is_sent(client: ManagementClient, emulator: Emulator) -> None:
    emulator.clear_requests()
    for kind, group in (("mutexes", MUTEX), ("holdouts", HOLDOUT)):
        for missing in ("projectId", "name"):
            with pytest.raises(InvalidInputError, match=missing):
                getattr(client, kind).create({name: value for name, value in group.items() if name != missing})
    with pytest.raises(InvalidInputError, match="index"):
        client.mutexes.edit_slot("1", -1, {})
    assert emulator.requests()["total"] == 0


def test_an_unknown_group_or_slot_is_a_404(client: ManagementClient) -> None:
    id = client.mutexes.create(MUTEX)["id"]  # type: ignore[arg-type]
    for call in (
        lambda: client.mutexes.get("1"),
        lambda: client.holdouts.get(id),
        lambda: client.mutexes.edit_slot(id, 3, {"individuals": ["ana"]}),
    ):
        with pytest.raises(NotFoundError):
            call()
