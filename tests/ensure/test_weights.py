"""Weights: each variant is named, or ``others`` is given, in one place or in all places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeResult,
    ConflictError,
    FlagRef,
    WrongStateError,
    ensure_created,
    ensure_fields,
    ensure_variant,
    ensure_variant_absent,
    ensure_variant_fields,
    ensure_weights,
)

Change = Callable[[ManagementClient, FlagRef], ChangeResult]
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


def two(emulator: Emulator, on: float, alt: float) -> FlagRef:
    """Create a flag with two variants and a segment."""
    segment = {"name": "Beta", "conditions": CONDITIONS, "percentage": 10, "rolloutWeights": {"on": on, "alt": alt}}
    variants, given = [{"key": "on"}, {"key": "alt"}], {"on": on, "alt": alt}
    flag = emulator.create_flag("two", variants=variants, rolloutWeights=given, targetSegments=[segment])
    return FlagRef("flags", id=flag["id"])


NO_WEIGHT: dict[str, Change] = {
    "edit": lambda client, flag: ensure_variant_fields(client, flag, "on", {"rolloutWeight": 0, "name": "On"}),
    "create": lambda client, flag: ensure_variant(client, flag, {"key": "on", "rolloutWeight": 0}, if_exists="update"),
}


@pytest.mark.parametrize("way", NO_WEIGHT)
def test_the_only_weight_is_not_taken_from_a_variant(emulator: Emulator, client: ManagementClient, way: str) -> None:
    target = two(emulator, 1, 0)
    before = emulator.flag(str(target.id))
    with pytest.raises(WrongStateError, match=r"'on' .*all the weight of all other users.*Nothing was changed"):
        NO_WEIGHT[way](client, target)
    assert emulator.flag(str(target.id)) == before


@pytest.mark.parametrize("way", NO_WEIGHT)
def test_the_weight_of_a_variant_is_taken_if_another_has_some(
    emulator: Emulator, client: ManagementClient, way: str
) -> None:
    target = two(emulator, 1, 1)
    assert NO_WEIGHT[way](client, target).changed
    assert not NO_WEIGHT[way](client, target).changed
    assert weights(emulator, target)["all other users"] == {"on": 0, "alt": 1}


def test_an_update_moves_the_weight_from_one_variant_to_another(emulator: Emulator, client: ManagementClient) -> None:
    target = two(emulator, 1, 0)
    variants = [{"key": "on", "rolloutWeight": 0}, {"key": "alt", "rolloutWeight": 1}]
    fields: Any = {"projectId": "100001", "key": "two", "variants": variants}
    assert ensure_created(client, "flags", fields, if_exists="update").changed
    assert weights(emulator, target)["all other users"] == {"on": 0, "alt": 1}
    assert all(any(entry["flagConfig"]["rolloutWeights"].values()) for entry in emulator.versions("flags", target.id))


@pytest.mark.parametrize("percentage", [0, 10])
def test_a_segment_with_a_percentage_is_not_left_without_a_weight(
    emulator: Emulator, client: ManagementClient, percentage: int
) -> None:
    target = two(emulator, 1, 0)
    segments = [{**emulator.flag(str(target.id))["targetSegments"][0], "percentage": percentage}]
    segments[0]["rolloutWeights"] = {"on": 0, "alt": 0}
    if percentage:
        before = emulator.flag(str(target.id))
        with pytest.raises(WrongStateError, match=r"segment 'Beta'.*at 10 % would all be 0.*Nothing was changed"):
            ensure_fields(client, target, {"targetSegments": segments})  # type: ignore[typeddict-item]
        assert emulator.flag(str(target.id)) == before
    else:
        assert ensure_fields(client, target, {"targetSegments": segments}).changed  # type: ignore[typeddict-item]


def test_a_segment_that_has_no_weight_is_sent_back(emulator: Emulator, client: ManagementClient) -> None:
    target = two(emulator, 0, 0)
    segments = [{**emulator.flag(str(target.id))["targetSegments"][0], "percentage": 20}]
    assert ensure_fields(client, target, {"targetSegments": segments}).changed  # type: ignore[typeddict-item]


MOVED: dict[str, tuple[dict[str, Any], Change]] = {
    "weigh": (
        {"rolloutWeights": {"on": 1, "alt": 0}},
        lambda client, flag: ensure_weights(client, flag, {"on": 0, "alt": 1}),
    ),
    "edit": ({"rolloutWeights": {"on": 1, "alt": 0}}, NO_WEIGHT["edit"]),
    "remove": (
        {"rolloutWeights": {"on": 1, "alt": 0}},
        lambda client, flag: ensure_variant_absent(client, flag, "on"),
    ),
    "remove from a segment": (
        {
            "targetSegments": [
                {"name": "Beta", "conditions": CONDITIONS, "percentage": 10, "rolloutWeights": {"on": 1, "alt": 0}}
            ]
        },
        lambda client, flag: ensure_variant_absent(client, flag, "on"),
    ),
}


@pytest.mark.parametrize("way", MOVED)
def test_a_weight_that_another_moves_at_the_same_moment_leaves_no_users_without_a_variant_unnoticed(
    emulator: Emulator, client: ManagementClient, way: str
) -> None:
    target = two(emulator, 1, 1)
    edit, change = MOVED[way]
    emulator.edit_before_write("flags", str(target.id), **edit)
    place = "segment 'Beta'" if "segment" in way else "all other users"
    with pytest.raises(ConflictError, match=rf"all weights of {place} are 0.*these users get no variant.*Set a weight"):
        change(client, target)
