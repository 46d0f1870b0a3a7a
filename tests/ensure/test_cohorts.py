"""Cohorts as inclusions: by value, also after a lost response, and without support by the service."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_ampexp.client import ManagementClient, UncertainWriteError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeResult,
    FlagRef,
    WrongStateError,
    ensure_cohorts_included,
    ensure_cohorts_not_included,
    ensure_exactly_cohorts,
)

from .world import COHORTS, IDS, by_id, by_key

FLAG = by_id("flags")
FUNCTIONS: list[Callable[..., ChangeResult]] = [
    ensure_cohorts_included,
    ensure_cohorts_not_included,
    ensure_exactly_cohorts,
]


@pytest.fixture
def emulator(emulator: Emulator) -> Emulator:
    emulator.settings(extra_endpoints=True)
    return emulator


def cohorts(emulator: Emulator, variant: str = "treatment") -> list[str]:
    (flag,) = (stored for stored in emulator.dump()["flags"] if stored["id"] == IDS["flags"])
    return list(flag["cohorts"].get(variant, []))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_service_without_cohorts_is_named(
    emulator: Emulator, client: ManagementClient, function: Callable[..., ChangeResult]
) -> None:
    emulator.settings(extra_endpoints=False)
    with pytest.raises(WrongStateError, match=r"service does not have cohorts as inclusions. Nothing was changed"):
        function(client, FLAG, "treatment", ["c-1"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_unknown_variant_and_an_unknown_flag_are_named(
    client: ManagementClient, function: Callable[..., ChangeResult]
) -> None:
    with pytest.raises(WrongStateError, match=r"no variant 'treatmnt'; is 'treatment' meant\?.*Nothing was changed"):
        function(client, FLAG, "treatmnt", ["c-1"])
    with pytest.raises(WrongStateError, match=r"The flag 1 does not exist. Nothing was changed"):
        function(client, FlagRef("flags", id="1"), "treatment", ["c-1"])


def test_an_addition_that_is_applied_late_and_twice_is_listed_once(
    emulator: Emulator, hasty: ManagementClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request gets no response, and the service applies it after the second one."""
    endpoints, calls = hasty.flags, []
    add = endpoints.add_cohorts

    def late(id: str, variant: str, wanted: list[str]) -> None:
        calls.append(wanted)
        if len(calls) == 1:
            raise UncertainWriteError("POST", "/cohorts", "No response.")
        add(id, variant, wanted)
        if len(calls) == 2:
            add(id, variant, calls[0])

    monkeypatch.setattr(endpoints, "add_cohorts", late)
    outcome = ensure_cohorts_included(hasty, FLAG, "treatment", ["c-new", "c-beta"])
    assert outcome.after == cohorts(emulator) == [*COHORTS, "c-new"]


def test_a_cohort_that_others_listed_twice_is_left(emulator: Emulator, client: ManagementClient) -> None:
    client.flags.add_cohorts(IDS["flags"], "treatment", ["c-beta"])
    assert not ensure_cohorts_included(client, FLAG, "treatment", ["c-beta"]).changed
    assert ensure_cohorts_included(client, FLAG, "treatment", ["c-new"]).changed
    assert cohorts(emulator) == [*COHORTS, "c-beta", "c-new"]


def test_more_cohorts_than_a_request_removes(emulator: Emulator, client: ManagementClient) -> None:
    many = [f"c-{number}" for number in range(250)]
    ensure_cohorts_included(client, FLAG, "treatment", many)
    emulator.clear_requests()
    ensure_cohorts_not_included(client, FLAG, "treatment", many)
    assert cohorts(emulator) == COHORTS
    assert emulator.requests()["by_route"]["DELETE /api/1/flags/{id}/variants/{variantKey}/bulk-delete-cohorts"] == 3


def test_no_cohort_is_left_by_an_empty_list(emulator: Emulator, client: ManagementClient) -> None:
    outcome = ensure_exactly_cohorts(client, by_key("flags"), "treatment", [])
    assert (outcome.before, outcome.after, cohorts(emulator)) == (COHORTS, [], [])
    assert cohorts(emulator, "control") == ["c-other"]
