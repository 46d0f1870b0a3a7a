"""Impossible changes are refused with the names of the flag and of the field, and nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import AmbiguousKeyError, InvalidInputError, InvalidRequestError, ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    AlreadyExistsError,
    ArchivedError,
    ChangeResult,
    FlagRef,
    MissingFieldError,
    TargetNotFoundError,
    WrongStateError,
    ensure_assigned,
    ensure_created,
    ensure_deployment,
    ensure_deployment_fields,
    ensure_exactly_included,
    ensure_fields,
    ensure_included,
    ensure_no_inclusions,
    ensure_not_assigned,
    ensure_not_included,
    ensure_percentage,
    ensure_variant,
    ensure_variant_absent,
    ensure_variant_fields,
    ensure_weights,
)

from .world import IDS, IOS, KEYS, KINDS, PROJECT, by_id, by_key, state
from .writes import ON_A_FLAG, Write, each_of

Change = Callable[[ManagementClient, FlagRef], ChangeResult]
MANY = [f"user-{number}" for number in range(2001)]
ANY_KIND = r"(flag|experiment)"

# The name, the change, the error and its expected text. The change is made by key, so the text must have the key.
REFUSED: list[tuple[str, Change, type[Exception], str]] = [
    (
        "segment that is not there",
        lambda client, target: ensure_percentage(client, target, 5, segment="Alpha"),
        WrongStateError,
        r"{key}.*no target segments named 'Alpha'.*'Beta' at 5 %, 'Staff' at 100 %.*Nothing was changed",
    ),
    (
        "weight of a variant that is not there",
        lambda client, target: ensure_weights(client, target, {"treatment": 2, "blue": 1}, others="keep"),
        WrongStateError,
        r"{key}.*no variant 'blue'. Its variants are .*'treatment'.*Nothing was changed",
    ),
    (
        "weights that are all zero",
        lambda client, target: ensure_weights(client, target, {"control": 0, "treatment": 0}),
        WrongStateError,
        r"weights of .*{key}.*all be 0.*Nothing was changed",
    ),
    (
        "edit of a variant that is not there",
        lambda client, target: ensure_variant_fields(client, target, "blue", {"name": "Blue"}),
        WrongStateError,
        r"{key}.*no variant 'blue'.*Nothing was changed",
    ),
    (
        "variant that exists",
        lambda client, target: ensure_variant(client, target, {"key": "old"}, if_exists="fail"),
        AlreadyExistsError,
        r"'old' of .*{key}.*already exists.*Nothing was changed",
    ),
    (
        "inclusions of a variant that is not there",
        lambda client, target: ensure_included(client, target, "blue", ["anna"]),
        WrongStateError,
        r"{key}.*no variant 'blue'",
    ),
    (
        "too many inclusions",
        lambda client, target: ensure_included(client, target, "treatment", MANY[:1996]),
        WrongStateError,
        r"'treatment' of .*{key}.* would be 2001; .* at most 2000.*Nothing was changed",
    ),
    (
        "exactly too many inclusions",
        lambda client, target: ensure_exactly_included(client, target, "treatment", MANY),
        InvalidInputError,
        r"users: expected at most 2000, got 2001",
    ),
    (
        "a percentage beyond 100",
        lambda client, target: ensure_percentage(client, target, 101),
        InvalidInputError,
        r"percentage: 101",
    ),
    (
        "a percentage that is not whole",
        lambda client, target: ensure_fields(client, target, {"rolloutPercentage": 0.5}),  # type: ignore[typeddict-item]
        InvalidInputError,
        r"rolloutPercentage: 0\.5 is not whole",
    ),
    (
        "no weights",
        lambda client, target: ensure_weights(client, target, {}),
        InvalidInputError,
        r"weights: ",
    ),
    (
        "a negative weight",
        lambda client, target: ensure_weights(client, target, {"treatment": -1}),
        InvalidInputError,
        r"weights\.treatment: -1",
    ),
    (
        "users as one text",
        lambda client, target: ensure_included(client, target, "treatment", "anna"),
        InvalidInputError,
        r"users: expected a list of strings",
    ),
    (
        "a switch that is a text",
        lambda client, target: ensure_fields(client, target, {"enabled": "yes"}),  # type: ignore[typeddict-item]
        InvalidInputError,
        r"enabled: expected true or false, got 'yes'",
    ),
    (
        "a payload that is not JSON",
        lambda client, target: ensure_variant(client, target, {"key": "new", "payload": float("nan")}),
        InvalidInputError,
        r"payload: not JSON",
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("change", "error", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_it_is_refused_and_nothing_is_changed(
    emulator: Emulator, client: ManagementClient, kind: Kind, change: Change, error: type[Exception], text: str
) -> None:
    there = state(emulator)
    with pytest.raises(error, match=text.replace("{key}", KEYS[kind])):
        change(client, by_key(kind))
    assert {entry["method"] for entry in emulator.request_log()} <= {"GET"}
    assert state(emulator) == there


@each_of(*ON_A_FLAG)
def test_what_is_not_there_is_named(emulator: Emulator, client: ManagementClient, write: Write, kind: Kind) -> None:
    noun = "flag" if kind == "flags" else "experiment"
    with pytest.raises(TargetNotFoundError, match=rf"The {noun} 'no such' of project 100001 does not exist. Nothing"):
        write.run(client, FlagRef(kind, key="no such", project_id=PROJECT))
    # A flag is not an experiment, and the id of an existing object is not valid for the other kind.
    other = IDS["experiments" if kind == "flags" else "flags"]
    with pytest.raises(Exception, match=rf"({noun} {other}|{kind}/{other})"):
        write.run(client, FlagRef(kind, id=other))


@each_of(*ON_A_FLAG)
def test_a_key_in_two_projects_is_not_guessed(
    emulator: Emulator, client: ManagementClient, write: Write, kind: Kind
) -> None:
    there = state(emulator)
    with pytest.raises(AmbiguousKeyError, match=rf"project_id.*'{KEYS[kind]}'.*(100001.*100002|100002.*100001)"):
        write.run(client, FlagRef(kind, key=KEYS[kind]))
    assert state(emulator) == there


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda client, target: ensure_percentage(client, target, 25), "rolloutPercentage"),
        (lambda client, target: ensure_percentage(client, target, 25, segment="Beta"), "targetSegments"),
        (
            lambda client, target: ensure_fields(client, target, {"name": "New", "rolloutPercentage": 25}),
            "rolloutPercentage",
        ),
    ],
)
def test_what_is_archived_reaches_nobody(
    emulator: Emulator, client: ManagementClient, kind: Kind, change: Change, named: str
) -> None:
    emulator.edit(kind, IDS[kind], archive=True)
    there = state(emulator)
    for target in (by_key(kind), by_id(kind)):
        name = KEYS[kind] if target.key else IDS[kind]
        with pytest.raises(ArchivedError, match=rf"{name}.*archived.*{named}.*Nothing was changed.*Restore it"):
            change(client, target)
    with pytest.raises(ArchivedError, match=rf"{KEYS[kind]}.*archived"):
        ensure_created(client, kind, {"projectId": PROJECT, "key": KEYS[kind]})
    assert state(emulator) == there
    # Fields that no user gets may be changed, and so may the field that restores the flag.
    assert ensure_fields(client, by_id(kind), {"description": "gone"}).changed
    assert ensure_fields(client, by_id(kind), {"enabled": False}).changed  # a kill switch always works
    assert ensure_fields(client, by_id(kind), {"archive": False, "rolloutPercentage": 0}).changed


def test_two_segments_of_one_name_are_not_guessed(emulator: Emulator, client: ManagementClient) -> None:
    twice = [{"name": "Beta", "conditions": [], "percentage": place} for place in (1, 2)]
    flag = emulator.create_flag("twice", targetSegments=twice)
    there = state(emulator)
    with pytest.raises(WrongStateError, match=r"'twice' has 2 target segments named 'Beta'.*Nothing was changed"):
        ensure_percentage(client, FlagRef("flags", id=flag["id"]), 25, segment="Beta")
    assert state(emulator) == there


def test_a_segment_that_shows_no_percentage_is_named(emulator: Emulator, client: ManagementClient) -> None:
    there = state(emulator)
    shown = emulator.flag(IDS["flags"])
    del shown["targetSegments"][1]["percentage"]
    emulator.fault("status", status=200, body=shown, route="GET /api/1/flags/{id}")
    with pytest.raises(MissingFieldError, match=r"percentage of segment 'Staff' of 'checkout'.*Nothing was changed"):
        ensure_percentage(client, by_id("flags"), 25, segment="Beta")
    assert state(emulator) == there


def test_2000_inclusions_are_not_too_many(emulator: Emulator, client: ManagementClient) -> None:
    outcome = ensure_included(client, by_id("flags"), "treatment", ["anna", *MANY[:1995]])
    assert outcome.after == {"count": 2000, "added": 1995, "removed": 0}
    # One user replaces another, so the list is full during the change.
    full = emulator.inclusions("flags", IDS["flags"], "treatment")
    swapped = ensure_exactly_included(client, by_id("flags"), "treatment", [*full[:-1], "last"])
    assert swapped.after == {"count": 2000, "added": 1, "removed": 1}


@pytest.mark.parametrize("lost", [None, "status"])
def test_a_variant_is_not_renamed_onto_another(emulator: Emulator, client: ManagementClient, lost: str | None) -> None:
    there = state(emulator)
    if lost:
        emulator.fault(lost, status=500, methods=["PATCH"])
    with pytest.raises((InvalidRequestError, WrongStateError, AlreadyExistsError), match=r"'?control'?"):
        ensure_variant_fields(client, by_key("flags"), "treatment", {"key": "control"})
    assert state(emulator) == there


def test_the_last_variant_stays(emulator: Emulator, client: ManagementClient) -> None:
    flag = emulator.create_flag("single")
    with pytest.raises(InvalidRequestError, match="last variant"):
        ensure_variant_absent(client, FlagRef("flags", id=flag["id"]), "on")


def deployment(client: ManagementClient, label: str, type: str, **more: Any) -> ChangeResult:
    return ensure_deployment(client, {"projectId": PROJECT, "label": label, "type": type}, **more)


@pytest.mark.parametrize(("label", "other"), [("ios", "client"), ("web", "server"), ("acme-app-client", "server")])
def test_a_deployment_of_the_other_type(emulator: Emulator, client: ManagementClient, label: str, other: str) -> None:
    there = state(emulator)
    with pytest.raises(AlreadyExistsError, match=rf"'{label}' of project 100001.*type.*Nothing was changed"):
        deployment(client, label, other)
    assert state(emulator) == there


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda client: deployment(client, "ios", "server", if_exists="fail"), AlreadyExistsError, "'ios' of project"),
        (lambda client: deployment(client, "a b", "server"), InvalidInputError, "label: 'a b'"),
        (lambda client: deployment(client, "kiosk", "mobile"), InvalidInputError, "type: 'mobile'"),
        (lambda client: ensure_deployment_fields(client, IOS, {}), InvalidInputError, "label/archive"),
        (lambda client: ensure_deployment_fields(client, "1", {"label": "x"}), TargetNotFoundError, "Deployment 1"),
        (lambda client: ensure_assigned(client, by_key("flags"), ["1"]), InvalidRequestError, "no deployment 1"),
        (lambda client: ensure_not_assigned(client, by_key("flags"), " "), InvalidInputError, "deployment_id"),
    ],
)
def test_deployments_are_refused(
    emulator: Emulator,
    client: ManagementClient,
    change: Callable[[ManagementClient], ChangeResult],
    error: type[Exception],
    text: str,
) -> None:
    there = state(emulator)
    with pytest.raises(error, match=re.escape(text)):
        change(client)
    assert state(emulator) == there


def test_a_flag_that_vanishes_under_the_inclusions(emulator: Emulator, client: ManagementClient) -> None:
    gone = FlagRef("flags", id="1")
    for change in (ensure_included, ensure_not_included, ensure_exactly_included):
        with pytest.raises(WrongStateError, match=r"flag 1 does not exist. Nothing was changed"):
            change(client, gone, "treatment", ["anna"])
    with pytest.raises(WrongStateError, match=r"flag 1 does not exist. Nothing was changed"):
        ensure_no_inclusions(client, gone, "treatment")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "flag_key/flag_id/experiment_key/experiment_id"),
        ({"flag_key": "a", "experiment_id": "1"}, "flag_key/experiment_id"),
        ({"flag_key": " "}, "flag_key"),
        ({"experiment_id": 5}, "experiment_id"),
    ],
)
def test_a_target_is_named_in_exactly_one_way(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        FlagRef.of(**given)
    assert caught.value.field == named


@pytest.mark.parametrize("way", ["flag_key", "flag_id", "experiment_key", "experiment_id"])
def test_a_target_of_each_way(way: str) -> None:
    kind, _, name = way.partition("_")
    target = FlagRef.of(**{way: "x"}, project_id="7")  # type: ignore[arg-type]
    assert target == FlagRef(f"{kind}s", **{name: "x"}, project_id="7")  # type: ignore[arg-type]
