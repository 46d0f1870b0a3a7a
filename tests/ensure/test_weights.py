"""Weights: every variant is named or the rest is said, in all the places that are meant."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import FlagRef, WrongStateError, ensure_variant_absent, ensure_weights

CONDITIONS = [{"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}]


@pytest.fixture
def target(emulator: Emulator) -> FlagRef:
    segments = [
        {"name": name, "conditions": CONDITIONS, "percentage": 10, "rolloutWeights": weights}
        for name, weights in {"Beta": {"grid": 1}, "Staff": {"control": 1, "list": 2}}.items()
    ]
    flag = emulator.create_flag(
        "layout",
        variants=[{"key": key} for key in ("control", "list", "grid")],
        rolloutWeights={"control": 1, "list": 1, "grid": 1},
        targetSegments=segments,
        inclusions={"list": ["ana", "bob"]},
    )
    return FlagRef("flags", id=flag["id"])


def weights(emulator: Emulator, target: FlagRef) -> dict[str, Any]:
    flag = emulator.flag(str(target.id))
    return {
        "all other users": flag["rolloutWeights"],
        **{segment["name"]: segment["rolloutWeights"] for segment in flag["targetSegments"]},
    }


def test_weights_that_leave_another_variant_a_weight_are_refused(
    emulator: Emulator, client: ManagementClient, target: FlagRef
) -> None:
    before = weights(emulator, target)
    for where in ({}, {"segment": "Staff"}, {"all_segments": True}):
        with pytest.raises(WrongStateError, match=r"'list': \d.*would stay.*Name all variants, or set the rest"):
            ensure_weights(client, target, {"control": 0.5, "grid": 0.5}, **where)  # type: ignore[arg-type]
    assert weights(emulator, target) == before


def test_the_rest_of_the_weights_can_be_said(emulator: Emulator, client: ManagementClient, target: FlagRef) -> None:
    ensure_weights(client, target, {"control": 0.5, "grid": 0.5}, others=0)
    assert weights(emulator, target)["all other users"] == {"control": 0.5, "list": 0, "grid": 0.5}
    ensure_weights(client, target, {"list": 2}, others="keep")
    assert weights(emulator, target)["all other users"] == {"control": 0.5, "list": 2, "grid": 0.5}


def test_one_segments_weights_are_set(emulator: Emulator, client: ManagementClient, target: FlagRef) -> None:
    before = weights(emulator, target)
    outcome = ensure_weights(client, target, {"grid": 1}, others=0, segment="Staff")
    assert outcome.changed
    assert weights(emulator, target) == {**before, "Staff": {"control": 0, "list": 0, "grid": 1}}
    assert not ensure_weights(client, target, {"grid": 1}, others=0, segment="Staff").changed


def test_a_winner_gets_all_the_weight_everywhere(emulator: Emulator, client: ManagementClient, target: FlagRef) -> None:
    assert ensure_weights(client, target, {"list": 1}, others=0, all_segments=True).changed
    for place in weights(emulator, target).values():
        assert {key: weight for key, weight in place.items() if weight} == {"list": 1}
    assert not ensure_weights(client, target, {"list": 1}, others=0, all_segments=True).changed


@pytest.mark.parametrize("where", [{}, {"segment": "Beta"}, {"all_segments": True}])
def test_an_unknown_variant_is_refused_with_those_there_are(
    client: ManagementClient, target: FlagRef, where: dict[str, Any]
) -> None:
    with pytest.raises(
        WrongStateError, match=r"no variant 'gird'; is 'grid' meant\? Its variants are 'control', 'grid', 'list'"
    ):
        ensure_weights(client, target, {"gird": 1}, others=0, **where)


def test_weights_that_are_all_zero_are_refused(client: ManagementClient, target: FlagRef) -> None:
    for where in ({}, {"segment": "Beta"}, {"all_segments": True}):
        with pytest.raises(WrongStateError, match="would all be 0"):
            ensure_weights(client, target, {"control": 0}, others=0, **where)  # type: ignore[arg-type]


def test_a_segment_and_all_segments_exclude_each_other(client: ManagementClient, target: FlagRef) -> None:
    with pytest.raises(InvalidInputError, match="expected one of them, got both"):
        ensure_weights(client, target, {"control": 1}, segment="Beta", all_segments=True)


def test_a_variant_with_all_the_weight_is_not_removed(
    emulator: Emulator, client: ManagementClient, target: FlagRef
) -> None:
    before = emulator.flag(str(target.id))
    with pytest.raises(WrongStateError, match=r"'grid'.*all the weight of segment 'Beta'.*Nothing was changed"):
        ensure_variant_absent(client, target, "grid")
    assert emulator.flag(str(target.id)) == before
    ensure_weights(client, target, {"list": 1}, others=0)
    with pytest.raises(WrongStateError, match=r"'list'.*all the weight of all other users"):
        ensure_variant_absent(client, target, "list")


def test_the_inclusions_that_go_with_a_variant_are_counted(client: ManagementClient, target: FlagRef) -> None:
    outcome = ensure_variant_absent(client, target, "list")
    assert outcome.notes == ("2 inclusions of variant 'list' were removed with it.",)
