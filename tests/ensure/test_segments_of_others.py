"""Segments that a person made in Amplitude are sent back exactly as they were read, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeResult,
    WrongStateError,
    ensure_created,
    ensure_fields,
    ensure_percentage,
    ensure_weights,
)

from .world import IDS, PROJECT, by_id

ON_BETA = [{"type": "property", "prop": "gp:beta", "op": "set contains", "values": ["true"]}]
ON_A_COHORT = [{"type": "cohort", "prop": "userdata_cohort", "op": "set contains", "values": ["abc123"]}]


def segment(name: str, percentage: float = 5, conditions: list[dict[str, Any]] = ON_BETA) -> dict[str, Any]:
    return {
        "name": name,
        "conditions": conditions,
        "percentage": percentage,
        "rolloutWeights": {"on": 1},
        "bucketingKey": "u",
    }


def seed(emulator: Emulator, segments: list[dict[str, Any]], *, hidden: bool = False) -> None:
    emulator.settings(hide_cohorts=hidden)
    emulator.load(
        {"flags": [{"id": IDS["flags"], "key": "checkout", "targetSegments": segments, "variants": [{"key": "on"}]}]}
    )


def stored(emulator: Emulator) -> list[dict[str, Any]]:
    (flag,) = [stored for stored in emulator.dump()["flags"] if stored["id"] == IDS["flags"]]
    return list(flag["targetSegments"])


def beta_to_50(client: ManagementClient) -> ChangeResult:
    return ensure_percentage(client, by_id("flags"), 50, segment="Beta")


def test_a_fraction_of_another_segment_is_sent_back_as_it_was_read(emulator: Emulator, client: ManagementClient):
    seed(emulator, [segment("Tiny", 0.5), segment("Beta")])
    assert beta_to_50(client).changed
    assert [segment["percentage"] for segment in stored(emulator)] == [0.5, 50]


def test_a_fraction_is_refused_where_a_user_sets_it(emulator: Emulator, client: ManagementClient):
    seed(emulator, [segment("Beta")])
    for refused in (lambda: client.flags.edit(IDS["flags"], {"rolloutPercentage": 0.5}),):
        with pytest.raises(InvalidInputError, match=r"rolloutPercentage: 0\.5"):
            refused()
    with pytest.raises(InvalidInputError, match=r"targetSegments\[0\]\.percentage: 0\.5"):
        ensure_fields(client, by_id("flags"), {"targetSegments": [segment("Beta", 0.5)]})  # type: ignore[list-item]


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("name", ["Beta", "Cohort"])
def test_a_segment_of_a_cohort_is_not_turned_into_one_for_everybody(
    emulator: Emulator, client: ManagementClient, hidden: bool, name: str
):
    segments = [segment("Cohort", 30, ON_A_COHORT), segment("Beta")]
    seed(emulator, segments, hidden=hidden)
    with pytest.raises(WrongStateError, match=r"'Cohort' may be for a cohort.*Nothing was changed"):
        ensure_percentage(client, by_id("flags"), 50, segment=name)
    assert stored(emulator) == segments


def test_a_segment_without_conditions_is_sent_back_when_it_is_named_as_the_catch_all(
    emulator: Emulator, client: ManagementClient
):
    seed(emulator, [segment("Beta"), segment("Rest", 20, [])])
    with pytest.raises(WrongStateError, match=r"'Rest' may be for a cohort.*catch_all"):
        beta_to_50(client)
    assert ensure_percentage(client, by_id("flags"), 50, segment="Beta", catch_all="Rest").changed
    assert [segment["percentage"] for segment in stored(emulator)] == [50, 20]


def weigh_beta(client: ManagementClient, catch_all: str | None = None) -> ChangeResult:
    return ensure_weights(client, by_id("flags"), {"on": 2}, segment="Beta", catch_all=catch_all)


def test_the_only_segment_is_not_turned_from_a_cohorts_into_everybodys(emulator: Emulator, client: ManagementClient):
    segments = [segment("Beta", 5, ON_A_COHORT)]
    seed(emulator, segments, hidden=True)
    for change in (beta_to_50, weigh_beta):
        with pytest.raises(WrongStateError, match=r"'Beta' may be for a cohort.*Nothing was changed.*`catch_all`"):
            change(client)
    with pytest.raises(WrongStateError, match="'Beta' may be for a cohort"):
        ensure_percentage(client, by_id("flags"), 50, segment="Beta", catch_all="Rest")
    assert stored(emulator) == segments


def test_the_only_segment_is_changed_when_it_is_named_as_the_catch_all(emulator: Emulator, client: ManagementClient):
    seed(emulator, [segment("Beta", 5, [])])
    assert ensure_percentage(client, by_id("flags"), 50, segment="Beta", catch_all="Beta").changed
    assert weigh_beta(client, "Beta").changed
    assert [(segment["percentage"], segment["rolloutWeights"]) for segment in stored(emulator)] == [(50, {"on": 2})]


def test_a_condition_on_a_cohort_that_shows_is_not_sent_back_as_a_catch_all(
    emulator: Emulator, client: ManagementClient
):
    seed(emulator, [segment("Beta", 5, ON_A_COHORT)])
    with pytest.raises(WrongStateError, match="'Beta' may be for a cohort"):
        ensure_percentage(client, by_id("flags"), 50, segment="Beta", catch_all="Beta")


def replaces_with(
    *segments: dict[str, Any], catch_all: str | None = None
) -> Callable[[ManagementClient], ChangeResult]:
    given: Any = {"targetSegments": list(segments)}
    return lambda client: ensure_fields(client, by_id("flags"), given, catch_all=catch_all)


def updates_with(*segments: dict[str, Any], catch_all: str | None = None) -> Callable[[ManagementClient], ChangeResult]:
    given: Any = {"key": "checkout", "projectId": PROJECT, "targetSegments": list(segments)}
    return lambda client: ensure_created(client, "flags", given, if_exists="update", catch_all=catch_all)


WAYS = pytest.mark.parametrize("way", [replaces_with, updates_with])
CATCHES_ALL = r"'Cohort' has no conditions.*all users.*Nothing was changed.*`catch_all`"


@WAYS
@pytest.mark.parametrize("percentage", [0, 40])
def test_the_only_segment_is_not_replaced_without_the_conditions_that_are_hidden(
    emulator: Emulator, client: ManagementClient, way: Any, percentage: int
):
    segments = [segment("Cohort", 30, ON_A_COHORT)]
    seed(emulator, segments, hidden=True)
    for catch_all in (None, "Rest"):
        with pytest.raises(WrongStateError, match=CATCHES_ALL):
            way(segment("Cohort", percentage, []), catch_all=catch_all)(client)
    assert stored(emulator) == segments
    notes = way(segment("Cohort", percentage, []), catch_all="Cohort")(client).notes
    says_so = percentage and way is replaces_with  # an update of many fields adds no such note
    assert notes == (("It is in no deployment, so nobody gets it.",) if says_so else ())
    assert stored(emulator) == [segment("Cohort", percentage, [])]


@WAYS
@pytest.mark.parametrize("is_last", [False, True])
def test_a_list_that_was_read_and_is_sent_back_makes_no_cohort_all_users(
    emulator: Emulator, client: ManagementClient, way: Any, is_last: bool
):
    """The segment of the cohort is read without its conditions. The edit is of the other segment."""
    segments = [segment("Beta"), segment("Cohort", 30, ON_A_COHORT)][:: 1 if is_last else -1]
    seed(emulator, segments, hidden=True)
    read = [dict(shown) for shown in client.flags.get(IDS["flags"])["targetSegments"]]
    read[0 if is_last else 1]["percentage"] = 50
    with pytest.raises(WrongStateError, match=CATCHES_ALL):
        way(*read)(client)
    assert stored(emulator) == segments


@WAYS
def test_a_new_segment_for_all_users_is_named_as_the_catch_all(emulator: Emulator, client: ManagementClient, way: Any):
    seed(emulator, [segment("Beta")])
    with pytest.raises(WrongStateError, match=CATCHES_ALL):
        way(segment("Beta", 50), segment("Cohort", 20, []))(client)
    assert stored(emulator) == [segment("Beta")]
    assert way(segment("Beta", 50), segment("Rest", 20, []), catch_all="Rest")(client).changed
    assert way(segment("Rest", 30, []), catch_all="Rest")(client).changed
    assert not way(segment("Rest", 30, []))(client).changed  # nothing is sent


def test_a_new_flag_with_a_segment_for_all_users_names_it_as_the_catch_all(
    emulator: Emulator, client: ManagementClient
):
    fields: Any = {"key": "new", "projectId": PROJECT, "variants": [{"key": "on"}], "rolloutWeights": {"on": 1}}
    fields["targetSegments"] = [segment("Cohort", 20, [])]
    with pytest.raises(WrongStateError, match=CATCHES_ALL):
        ensure_created(client, "flags", fields)
    assert client.flags.find("new") is None
    assert ensure_created(client, "flags", fields, catch_all="Cohort").changed
    assert not ensure_created(client, "flags", fields).changed
