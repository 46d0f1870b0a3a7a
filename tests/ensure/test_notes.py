"""A change after which no user gets a variant has a note. It is not an error, because other changes may follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import ChangeResult, ensure_fields, ensure_percentage

from .world import IDS, SEGMENTS, by_id

TARGET = by_id("flags")
NO_WEIGHT = {"control": 0, "treatment": 0, "old": 0}
NO_DEPLOYMENT = "It is in no deployment, so nobody gets it."


def of_all_others(client: ManagementClient) -> ChangeResult:
    return ensure_percentage(client, TARGET, 60)


def of_the_segment(client: ManagementClient) -> ChangeResult:
    return ensure_percentage(client, TARGET, 60, segment="Beta")


def by_an_edit(client: ManagementClient) -> ChangeResult:
    return ensure_fields(client, TARGET, {"rolloutPercentage": 60})


def of_the_switch(client: ManagementClient) -> ChangeResult:
    return ensure_fields(client, TARGET, {"enabled": True})


@pytest.mark.parametrize("change", [of_all_others, of_the_segment, by_an_edit, of_the_switch])
@pytest.mark.parametrize(
    ("was", "told"),
    [
        ({"deployments": []}, NO_DEPLOYMENT),
        (
            {"rolloutWeights": NO_WEIGHT},
            "All weights of all other users are 0, so these users get no variant.",
        ),
        (
            {"targetSegments": [{**SEGMENTS[0], "rolloutWeights": NO_WEIGHT}, *SEGMENTS[1:]]},
            "All weights of segment 'Beta' are 0, so these users get no variant.",
        ),
    ],
)
def test_a_change_that_reaches_nobody_says_so(
    emulator: Emulator,
    client: ManagementClient,
    change: Callable[[ManagementClient], ChangeResult],
    was: dict[str, Any],
    told: str,
) -> None:
    emulator.edit("flags", IDS["flags"], enabled=change is not of_the_switch, **was)
    assert told in change(client).notes


def test_a_lower_percentage_says_nothing(emulator: Emulator, client: ManagementClient) -> None:
    emulator.edit("flags", IDS["flags"], deployments=[], rolloutPercentage=90)
    assert of_all_others(client).notes == ()


@pytest.mark.parametrize("change", [of_all_others, of_the_segment, by_an_edit])
def test_a_change_that_reaches_users_says_nothing(
    client: ManagementClient, change: Callable[[ManagementClient], ChangeResult]
) -> None:
    assert change(client).notes == ()


def test_a_percentage_of_0_reaches_nobody_on_purpose(emulator: Emulator, client: ManagementClient) -> None:
    emulator.edit("flags", IDS["flags"], deployments=[], targetSegments=[])
    assert ensure_percentage(client, TARGET, 0).notes == ()
