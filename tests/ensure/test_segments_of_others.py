"""Segments that somebody made in Amplitude are sent back exactly as they were read, or not at all."""

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
    return {"name": name, "conditions": conditions, "percentage": percentage, "rolloutWeights": {}, "bucketingKey": "u"}


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


@pytest.mark.parametrize("way", ["edit", "create"])
def test_who_replaces_the_only_segment_without_its_conditions_is_warned(
    emulator: Emulator, client: ManagementClient, way: str
):
    seed(emulator, [segment("Cohort", 30, ON_A_COHORT)], hidden=True)
    given: Any = [segment("Cohort", 40, [])]
    if way == "edit":
        outcome = ensure_fields(client, by_id("flags"), {"targetSegments": given})
    else:
        fields: Any = {"key": "checkout", "projectId": PROJECT, "targetSegments": given}
        outcome = ensure_created(client, "flags", fields, if_exists="update")
    assert outcome.changed
    (note,) = outcome.notes
    assert "Segment 'Cohort' was written without conditions and captures all users" in note


def test_an_existing_flags_cohort_is_not_emptied_by_its_creation_either(emulator: Emulator, client: ManagementClient):
    segments = [segment("Cohort", 30, ON_A_COHORT), segment("Beta")]
    seed(emulator, segments, hidden=True)
    given: Any = [segment("Cohort", 30, []), segment("Beta", 50)]
    fields: Any = {"key": "checkout", "projectId": PROJECT, "targetSegments": given}
    with pytest.raises(WrongStateError, match="'Cohort' may be for a cohort"):
        ensure_created(client, "flags", fields, if_exists="update")
    assert stored(emulator) == segments


def replaces_with(*segments: dict[str, Any]) -> Callable[[ManagementClient], ChangeResult]:
    return lambda client: ensure_fields(client, by_id("flags"), {"targetSegments": list(segments)})  # type: ignore[typeddict-item]


def test_a_list_that_empties_the_segment_of_a_cohort_is_refused(emulator: Emulator, client: ManagementClient):
    segments = [segment("Cohort", 30, ON_A_COHORT), segment("Beta")]
    seed(emulator, segments, hidden=True)
    with pytest.raises(WrongStateError, match=r"'Cohort' may be for a cohort"):
        replaces_with(segment("Cohort", 30, []), segment("Beta", 50))(client)
    assert stored(emulator) == segments


def test_a_list_that_ends_with_a_catch_all_replaces_the_segments(emulator: Emulator, client: ManagementClient):
    seed(emulator, [segment("Beta"), segment("Rest", 20, [])])
    assert replaces_with(segment("Beta", 50), segment("Rest", 20, []))(client).changed
    assert replaces_with(segment("Rest", 30, []))(client).changed
