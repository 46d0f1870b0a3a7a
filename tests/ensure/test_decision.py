"""Decide an experiment: the changes that Amplitude's app makes with a decision, in each segment, and the refusals."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ArchivedError,
    ConflictError,
    Decision,
    UnconfirmedWriteError,
    WrongStateError,
    ensure_decision,
    ensure_fields,
)

from .world import IDS, SEGMENTS, by_id, by_key

EXPERIMENT = by_key("experiments")
ID = IDS["experiments"]
HIDDEN = {"name": "VIP", "conditions": [], "percentage": 30, "bucketingKey": "user_id", "rolloutWeights": {"old": 1}}


def test_rolling_out_disables_sticky_bucketing(emulator: Emulator, client: ManagementClient) -> None:
    emulator.edit("experiments", ID, stickyBucketing=True)
    outcome = ensure_decision(client, EXPERIMENT, "rollout", winner="treatment")
    assert emulator.experiment(ID)["stickyBucketing"] is False
    assert outcome.notes == ()


def test_the_decision_is_recorded_after_all_else(emulator: Emulator, client: ManagementClient) -> None:
    ensure_decision(client, EXPERIMENT, "rollout", winner="old")
    history = [version["flagConfig"] for version in emulator.versions("experiments", ID)]
    assert [(entry["decision"], entry["rolloutWeights"]) for entry in history[:4]] == [
        ("rollout", {"control": 0, "treatment": 0, "old": 100}),
        (None, {"control": 0, "treatment": 0, "old": 100}),
        (None, {"control": 0, "treatment": 1, "old": 100}),
        (None, {"control": 1, "treatment": 1, "old": 100}),
    ]
    assert [entry["rolloutPercentage"] for entry in history[:2]] == [100, 10]


@pytest.mark.parametrize("decision", ["rollback", "continue-running"])
def test_only_a_rollout_has_a_winner(emulator: Emulator, client: ManagementClient, decision: Decision) -> None:
    with pytest.raises(InvalidInputError, match="winner: expected none for"):
        ensure_decision(client, EXPERIMENT, decision, winner="treatment")
    with pytest.raises(InvalidInputError, match="winner: expected a variant for 'rollout'"):
        ensure_decision(client, EXPERIMENT, "rollout")
    with pytest.raises(InvalidInputError, match="expected an experiment, got flag 'checkout'"):
        ensure_decision(client, by_key("flags"), decision)
    assert emulator.requests()["total"] == 0


def test_continuing_changes_the_decision_alone(emulator: Emulator, client: ManagementClient) -> None:
    before = emulator.experiment(ID)
    outcome = ensure_decision(client, EXPERIMENT, "continue-running", reason="Too few users.")
    after = emulator.experiment(ID)
    assert {name for name in after if after[name] != before[name]} == {
        "decision",
        "decisionReason",
        "lastModifiedAt",
        "lastModifiedBy",
    }
    assert outcome.after == {"decision": "continue-running", "decisionReason": "Too few users."}
    assert not ensure_decision(client, EXPERIMENT, "continue-running").changed


@pytest.mark.parametrize("by_name", [False, True])
def test_a_winner_is_known_by_its_key_or_its_name(emulator: Emulator, client: ManagementClient, by_name: bool) -> None:
    emulator.settings(winner_by_name=by_name)
    assert ensure_decision(client, EXPERIMENT, "rollout", winner="Treatment").changed
    assert emulator.dump()["experiments"][-1]["rolledOutVariant"] == "treatment"
    assert not ensure_decision(client, EXPERIMENT, "rollout", winner="treatment").changed


def test_an_unknown_winner_is_refused(emulator: Emulator, client: ManagementClient) -> None:
    before = emulator.experiment(ID)
    with pytest.raises(WrongStateError, match=r"no variant 'treatmnt'; is 'treatment' meant\?.*Nothing was changed"):
        ensure_decision(client, EXPERIMENT, "rollout", winner="treatmnt")
    assert emulator.experiment(ID) == before


def test_two_variants_of_one_name_are_no_winner(emulator: Emulator, client: ManagementClient) -> None:
    variants = [{"key": key, "name": "New"} for key in ("a", "b")]
    experiment = emulator.create_experiment("twins", variants=variants)
    with pytest.raises(WrongStateError, match="no variant 'New'"):
        ensure_decision(client, by_id("experiments").of(experiment_id=experiment["id"]), "rollout", winner="New")


@pytest.mark.parametrize(("decision", "winner"), [("rollout", "treatment"), ("rollback", None)])
def test_an_archived_experiment_is_not_decided(
    emulator: Emulator, client: ManagementClient, decision: Decision, winner: str | None
) -> None:
    emulator.edit("experiments", ID, archive=True)
    before = emulator.experiment(ID)
    with pytest.raises(ArchivedError, match=r"Deciding experiment 'pricing'.*archived.*Nothing was changed. Restore"):
        ensure_decision(client, EXPERIMENT, decision, winner=winner)
    assert emulator.experiment(ID) == before


def test_a_decided_experiment_may_be_archived(emulator: Emulator, client: ManagementClient) -> None:
    ensure_decision(client, EXPERIMENT, "rollback")
    emulator.edit("experiments", ID, archive=True)
    assert not ensure_decision(client, EXPERIMENT, "rollback").changed


def test_rolling_out_a_disabled_experiment_warns(emulator: Emulator, client: ManagementClient) -> None:
    emulator.edit("experiments", ID, enabled=False)
    for _ in range(2):
        outcome = ensure_decision(client, EXPERIMENT, "rollout", winner="treatment")
        assert outcome.notes == (
            "The experiment is disabled, so no user gets the winner. Enable it with AmplitudeEnableOperator.",
        )
    assert emulator.experiment(ID)["enabled"] is False


def test_a_segment_that_may_be_for_a_cohort_stops_a_rollout_out(emulator: Emulator, client: ManagementClient) -> None:
    emulator.edit("experiments", ID, targetSegments=[*SEGMENTS, HIDDEN])
    before = emulator.experiment(ID)
    with pytest.raises(WrongStateError, match=r"'VIP' may be for a cohort.*Nothing was changed"):
        ensure_decision(client, EXPERIMENT, "rollout", winner="treatment")
    assert emulator.experiment(ID) == before
    assert ensure_decision(client, EXPERIMENT, "rollout", winner="treatment", catch_all="VIP").notes == ()
    assert emulator.experiment(ID)["targetSegments"][-1] == {
        **HIDDEN,
        "percentage": 100,
        "rolloutWeights": {"control": 0, "treatment": 100, "old": 0},
    }


def test_a_rollback_disables_also_with_a_segment_that_may_be_for_a_cohort(
    emulator: Emulator, client: ManagementClient
) -> None:
    emulator.edit("experiments", ID, targetSegments=[*SEGMENTS, HIDDEN])
    outcome = ensure_decision(client, EXPERIMENT, "rollback")
    ended = emulator.experiment(ID)
    assert (ended["enabled"], ended["rolloutPercentage"], ended["decision"]) == (False, 0, "rollback")
    assert ended["targetSegments"] == [*SEGMENTS, HIDDEN]
    (note,) = outcome.notes
    assert "keep their percentages, because 'VIP' may be for a cohort" in note
    assert not ensure_decision(client, EXPERIMENT, "rollback").changed
    ensure_decision(client, EXPERIMENT, "rollback", catch_all="VIP")
    assert [segment["percentage"] for segment in emulator.experiment(ID)["targetSegments"]] == [0, 0, 0]


def test_another_actors_change_of_a_segment_is_kept(emulator: Emulator, client: ManagementClient) -> None:
    """Maria adds a condition while the experiment is rolled back: her condition stays, and the percentage is 0."""
    hers: list[dict[str, Any]] = [{**SEGMENTS[0], "bucketingKey": "device_id"}, SEGMENTS[1]]
    emulator.edit_before_write("experiments", ID, targetSegments=hers)
    outcome = ensure_decision(client, EXPERIMENT, "rollback")
    assert emulator.experiment(ID)["targetSegments"] == [{**segment, "percentage": 0} for segment in hers]
    (note,) = outcome.notes
    assert note.startswith("Maria (version 2, ")
    assert note.endswith(" changed targetSegments at the same time. Both changes were kept.")


def test_another_actors_weight_is_restored_and_the_experiment_is_not_decided(
    emulator: Emulator, client: ManagementClient
) -> None:
    emulator.edit_before_write("experiments", ID, rolloutWeights={"control": 9, "treatment": 1, "old": 0})
    with pytest.raises(ConflictError, match=r"Maria \(.*\) set the weight of 'control' to 9"):
        ensure_decision(client, EXPERIMENT, "rollout", winner="treatment")
    ended = emulator.experiment(ID)
    assert (ended["rolloutWeights"]["control"], ended["decision"], ended["rolloutPercentage"]) == (9, None, 10)


def test_a_failure_after_the_weights_says_that_they_were_changed(emulator: Emulator, client: ManagementClient) -> None:
    emulator.fault("status", status=400, route="PATCH /api/1/experiments/{id}")
    with pytest.raises(UnconfirmedWriteError, match=r"The weights of experiment 'pricing'.* were changed"):
        ensure_decision(client, EXPERIMENT, "rollout", winner="treatment")
    assert ensure_decision(client, EXPERIMENT, "rollout", winner="treatment").changed


def test_a_decision_can_be_revisited(emulator: Emulator, client: ManagementClient) -> None:
    ensure_decision(client, EXPERIMENT, "rollback")
    ensure_fields(client, EXPERIMENT, {"enabled": True})
    ensure_decision(client, EXPERIMENT, "rollout", winner="treatment", reason="We looked again.")
    ended = emulator.experiment(ID)
    assert (ended["decision"], ended["rolledOutVariant"], ended["rolloutPercentage"]) == ("rollout", "treatment", 100)
    assert [segment["percentage"] for segment in ended["targetSegments"]] == [100, 100]
