"""Restore a version: the changes, the later edits that it undoes, and the order of its writes."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    MissingFieldError,
    Restoration,
    UnconfirmedWriteError,
    WrongStateError,
    ensure_fields,
    ensure_percentage,
    ensure_version,
)

from .world import IDS, SEGMENTS, WEB, by_key

FLAG, ID = by_key("flags"), IDS["flags"]
EXPERIMENT = by_key("experiments")


def edit(emulator: Emulator, by: str = "Maria", **fields: Any) -> None:
    emulator.edit("flags", ID, by=by, **fields)


def refused(emulator: Emulator, client: ManagementClient, version: int = 1, **more: Any) -> str:
    before = emulator.flag(ID)
    with pytest.raises(WrongStateError) as caught:
        ensure_version(client, FLAG, version, **more)
    assert emulator.flag(ID) == before
    assert "Nothing was changed" in str(caught.value)
    return str(caught.value)


def percentages(emulator: Emulator) -> list[tuple[Any, ...]]:
    """Return whether it is enabled, the percentage and the weights of each version, oldest first."""
    history = [version["flagConfig"] for version in reversed(emulator.versions("flags", ID))]
    return [(entry["enabled"], entry["rolloutPercentage"], entry["rolloutWeights"]["control"]) for entry in history]


def test_later_edits_are_named_and_refused_until_their_actors_are_named(
    emulator: Emulator, client: ManagementClient
) -> None:
    ensure_percentage(client, FLAG, 20)
    edit(emulator, rolloutPercentage=30)
    edit(emulator, by="Olga", description="Hers", tags=["new"])
    said = refused(emulator, client)
    assert "Airflow changed rolloutPercentage from 10 to 20 (version 2)" in said
    assert "Maria changed rolloutPercentage from 20 to 30 (version 3)" in said
    assert "Olga changed description from 'The new way' to 'Hers' (version 4)" in said
    assert "set overwrite=['Airflow', 'Maria', 'Olga'] or overwrite=True" in said
    said = refused(emulator, client, overwrite=["Maria", "Airflow"])
    assert "Maria changed" not in said
    assert "overwrite=['Maria', 'Airflow', 'Olga']" in said
    assert ensure_version(client, FLAG, 1, overwrite=["Maria", "Airflow", "Olga"]).changed
    restored = emulator.flag(ID)
    assert (restored["rolloutPercentage"], restored["description"]) == (10, "The new way")
    assert restored["tags"] == ["release", "web"]
    assert not ensure_version(client, FLAG, 1).changed


def test_an_edit_of_what_is_not_restored_is_no_obstacle(emulator: Emulator, client: ManagementClient) -> None:
    edit(emulator, by="Olga", description="Hers")
    edit(emulator, rolloutPercentage=30)
    outcome = ensure_version(client, FLAG, 1, fields=["rolloutPercentage"], overwrite=["Maria"])
    assert (outcome.before, outcome.after) == ({"rolloutPercentage": 30}, {"rolloutPercentage": 10})
    assert emulator.flag(ID)["description"] == "Hers"


def test_an_edit_that_was_undone_already_is_no_obstacle(emulator: Emulator, client: ManagementClient) -> None:
    edit(emulator, by="Olga", description="Hers")
    edit(emulator, by="Olga", description="The new way")
    edit(emulator, rolloutPercentage=30)
    assert ensure_version(client, FLAG, 1, overwrite=["Maria"]).changed


def test_the_changes_and_the_edits_are_shown_before_the_first_write(
    emulator: Emulator, client: ManagementClient
) -> None:
    edit(emulator, rolloutPercentage=30, targetSegments=[{**SEGMENTS[0], "percentage": 60}, SEGMENTS[1]])
    emulator.clear_requests()
    shown: list[Restoration] = []

    def show(plan: Restoration) -> None:
        assert {entry["method"] for entry in emulator.request_log()} == {"GET"}
        shown.append(plan)

    with pytest.raises(WrongStateError):
        ensure_version(client, FLAG, 1, shown=show)
    assert shown[0].changes() == ["rolloutPercentage: 30 -> 10", "targetSegments[Beta].percentage: 60 -> 5"]
    assert [(row["by"], row["field"]) for row in shown[0].edits] == [
        ("Maria", "rolloutPercentage"),
        ("Maria", "targetSegments[Beta].percentage"),
    ]


def test_an_actor_whom_the_history_does_not_show_is_overwritten_only_by_true(
    emulator: Emulator, client: ManagementClient
) -> None:
    """The order of segments decides which users are captured, and a row of the history has no order."""
    edit(emulator, targetSegments=SEGMENTS[::-1])
    said = refused(emulator, client, overwrite=["Maria"])
    assert "the history does not show who changed targetSegments" in said
    assert said.endswith("set overwrite=True.")
    assert ensure_version(client, FLAG, 1, overwrite=True).changed
    assert emulator.flag(ID)["targetSegments"] == SEGMENTS


def test_a_variant_that_was_removed_is_created_again_and_one_that_was_added_stays(
    emulator: Emulator, client: ManagementClient
) -> None:
    client.flags.remove_variant(ID, "treatment")
    client.flags.create_variant(ID, {"key": "later", "rolloutWeight": 4})
    changes: list[str] = []
    outcome = ensure_version(client, FLAG, 1, overwrite=True, shown=lambda plan: changes.extend(plan.changes()))
    assert [change for change in changes if "later" in change] == ["rolloutWeights.later: 4 -> None"]
    history = [version["flagConfig"]["rolloutWeights"] for version in emulator.versions("flags", ID)]
    assert {"control": 1, "old": 0, "later": 4, "treatment": 0} in history
    assert outcome.notes == ("Variant 'later' was added after version 1 and stays, without a weight.",)
    restored = emulator.flag(ID)
    assert {variant["key"]: variant.get("payload") for variant in restored["variants"]} == {
        "control": None,
        "old": None,
        "later": None,
        "treatment": {"colour": "grün"},
    }
    assert restored["rolloutWeights"] == {"control": 1, "treatment": 1, "old": 0, "later": 0}
    assert restored["targetSegments"] == SEGMENTS
    assert not ensure_version(client, FLAG, 1).changed


def test_it_lowers_before_it_changes_weights(emulator: Emulator, client: ManagementClient) -> None:
    edit(emulator, rolloutPercentage=100, rolloutWeights={"control": 7, "treatment": 0, "old": 0})
    ensure_version(client, FLAG, 1, overwrite=True)
    assert percentages(emulator) == [(True, 10, 1), (True, 100, 7), (True, 10, 7), (True, 10, 7), (True, 10, 1)]


def test_it_disables_before_it_changes_weights(emulator: Emulator, client: ManagementClient) -> None:
    edit(emulator, enabled=False)
    edit(emulator, enabled=True, rolloutWeights={"control": 7, "treatment": 0, "old": 0})
    ensure_version(client, FLAG, 2, overwrite=True)
    assert percentages(emulator)[2:] == [(True, 10, 7), (False, 10, 7), (False, 10, 7), (False, 10, 1)]


def test_it_raises_after_it_changed_weights(emulator: Emulator, client: ManagementClient) -> None:
    edit(emulator, enabled=False, rolloutPercentage=0, rolloutWeights={"control": 7, "treatment": 0, "old": 0})
    ensure_version(client, FLAG, 1, overwrite=True)
    assert percentages(emulator) == [(True, 10, 1), (False, 0, 7), (False, 0, 7), (False, 0, 1), (True, 10, 1)]


@pytest.mark.parametrize("away", ["disabled", "archived"])
def test_it_enables_after_it_changed_weights_also_at_a_lower_percentage(
    emulator: Emulator, client: ManagementClient, away: str
) -> None:
    """Before the restoration no user gets the flag, so a lower percentage removes no user."""
    was: dict[str, Any] = {"enabled": False} if away == "disabled" else {"archive": True}
    edit(emulator, **was, rolloutPercentage=100, rolloutWeights={"control": 7, "treatment": 0, "old": 0})
    ensure_version(client, FLAG, 1, overwrite=True)
    history = [version["flagConfig"] for version in reversed(emulator.versions("flags", ID))]
    reached = [entry["rolloutWeights"]["control"] for entry in history if entry["enabled"] and not entry["deleted"]]
    assert set(reached) == {1}
    assert (history[-1]["enabled"], history[-1]["rolloutPercentage"], history[-1]["deleted"]) == (True, 10, False)


def test_an_archived_flag_is_restored_with_the_version(emulator: Emulator, client: ManagementClient) -> None:
    edit(emulator, archive=True, rolloutPercentage=0)
    assert ensure_version(client, FLAG, 1, overwrite=["Maria"]).changed
    restored = emulator.flag(ID)
    assert (restored["deleted"], restored["rolloutPercentage"]) == (False, 10)


def test_a_segment_that_may_be_for_a_cohort_is_not_written(emulator: Emulator, client: ManagementClient) -> None:
    hidden = {**SEGMENTS[0], "name": "VIP", "conditions": []}
    edit(emulator, targetSegments=[*SEGMENTS, hidden])
    edit(emulator, targetSegments=SEGMENTS)
    assert "'VIP' may be for a cohort" in refused(emulator, client, version=2, overwrite=True)
    assert ensure_version(client, FLAG, 2, overwrite=True, catch_all="VIP").changed
    assert emulator.flag(ID)["targetSegments"][-1] == hidden


def test_null_that_the_api_does_not_accept_is_named(emulator: Emulator, client: ManagementClient) -> None:
    ensure_fields(client, EXPERIMENT, {"decision": "rollback", "rolloutPercentage": 0, "endDate": "2023-10-01"})
    outcome = ensure_version(client, EXPERIMENT, 1, overwrite=True)
    assert outcome.notes == ("decision was not restored: the API does not accept null.",)
    restored = emulator.experiment(IDS["experiments"])
    assert (restored["rolloutPercentage"], restored["endDate"], restored["decision"]) == (10, "2023-09-01", "rollback")
    assert not ensure_version(client, EXPERIMENT, 1).changed


def test_a_version_without_a_field_that_decides_exposure_is_refused(
    emulator: Emulator, client: ManagementClient
) -> None:
    edit(emulator, rolloutPercentage=30, description="Hers")
    emulator.settings(omit_version_fields=["rolloutPercentage"])
    with pytest.raises(MissingFieldError, match=r"does not show rolloutPercentage. Nothing was changed"):
        ensure_version(client, FLAG, 1, overwrite=True)
    assert ensure_version(client, FLAG, 1, fields=["description"], overwrite=["Maria"]).changed
    assert emulator.flag(ID)["rolloutPercentage"] == 30


def test_an_unknown_version_and_an_unknown_field_are_refused(emulator: Emulator, client: ManagementClient) -> None:
    assert "has no version 9; its newest is 1" in refused(emulator, client, version=9)
    with pytest.raises(InvalidInputError, match="is 'targetSegments' meant"):
        ensure_version(client, FLAG, 1, fields=["targetSegment"])


def test_a_failure_half_way_says_what_was_changed_and_the_next_run_completes_it(
    emulator: Emulator, client: ManagementClient
) -> None:
    edit(emulator, rolloutPercentage=100, deployments=[])
    emulator.fault("status", status=400, route="POST /api/1/flags/{id}/deployments")
    with pytest.raises(UnconfirmedWriteError, match=r"rolloutPercentage of flag 'checkout'.* were changed"):
        ensure_version(client, FLAG, 1, overwrite=["Maria"])
    assert ensure_version(client, FLAG, 1, overwrite=["Maria"]).changed
    assert emulator.flag(ID)["deployments"] == [WEB]
