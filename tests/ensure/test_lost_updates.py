"""Another actor changes the same list between our read and our write: both changes stay, or an error names theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeResult,
    ConflictError,
    ensure_created,
    ensure_fields,
    ensure_percentage,
    ensure_variant,
    ensure_variant_fields,
    ensure_weights,
)
from airflow_provider_ampexp.ensure._merge import merged_segments, merged_tags

from .trial import AfterFirstWrite, BeforeEachWrite, BeforeVersions
from .world import IDS, KEYS, PROJECT, SEGMENTS, a_client, by_id

ID = IDS["flags"]
TARGET = by_id("flags")
Change = Callable[[ManagementClient], Any]


def changed(name: str, **fields: Any) -> list[dict[str, Any]]:
    """Return the segments of the initial state, with one of them changed."""
    return [{**segment, **fields} if segment["name"] == name else segment for segment in SEGMENTS]


def marias(**fields: Any) -> Change:
    return lambda client: client.flags.edit(ID, fields)  # type: ignore[arg-type]


def flag(emulator: Emulator) -> dict[str, Any]:
    (found,) = [stored for stored in emulator.dump()["flags"] if stored["id"] == ID]
    return dict(found)


def at_the_same_moment(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult], theirs: Change, *, before_write: int = 0
) -> ChangeResult:
    with ManagementClient("ampex_maria", base_url=emulator.base_url) as maria:

        def happens(number: int) -> None:
            if number == before_write:
                theirs(maria)

        with BeforeEachWrite(happens) as session, a_client(emulator, timeout=5, session=session) as client:
            return change(client)


def beta_to_50(client: ManagementClient) -> ChangeResult:
    return ensure_percentage(client, TARGET, 50, segment="Beta")


def test_another_segments_change_at_the_moment_of_ours_is_kept(emulator: Emulator) -> None:
    outcome = at_the_same_moment(emulator, beta_to_50, marias(targetSegments=changed("Staff", percentage=0)))
    assert [segment["percentage"] for segment in flag(emulator)["targetSegments"]] == [50, 0]
    assert any("Maria" in note and "version 2" in note for note in outcome.notes)


def test_other_conditions_of_the_same_segment_are_kept(emulator: Emulator) -> None:
    conditions = [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}]
    at_the_same_moment(emulator, beta_to_50, marias(targetSegments=changed("Beta", conditions=conditions)))
    (beta, _) = flag(emulator)["targetSegments"]
    assert (beta["percentage"], beta["conditions"]) == (50, conditions)


def test_a_segment_that_another_adds_is_kept(emulator: Emulator) -> None:
    added = {**SEGMENTS[0], "name": "Alpha"}
    at_the_same_moment(emulator, beta_to_50, marias(targetSegments=[added, *SEGMENTS]))
    assert [(segment["name"], segment["percentage"]) for segment in flag(emulator)["targetSegments"]] == [
        ("Alpha", 5),
        ("Beta", 50),
        ("Staff", 100),
    ]


def edits_both(client: ManagementClient) -> ChangeResult:
    return ensure_fields(client, TARGET, {"targetSegments": changed("Beta", percentage=50)})  # type: ignore[typeddict-item]


def updates_it(client: ManagementClient) -> ChangeResult:
    fields: Any = {"projectId": PROJECT, "key": KEYS["flags"], "targetSegments": changed("Beta", percentage=50)}
    return ensure_created(client, "flags", fields, if_exists="update")


@pytest.mark.parametrize("change", [beta_to_50, edits_both, updates_it])
def test_where_both_changed_the_same_theirs_is_restored_and_told(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult]
) -> None:
    with pytest.raises(
        ConflictError, match=r"Conflict on targetSegments .*Maria \(version 2.*That change was restored"
    ):
        at_the_same_moment(emulator, change, marias(targetSegments=changed("Beta", percentage=2)))
    assert [segment["percentage"] for segment in flag(emulator)["targetSegments"]] == [2, 100]


def test_tags_that_another_adds_and_removes_at_the_same_moment_are_kept_so(emulator: Emulator) -> None:
    at_the_same_moment(
        emulator,
        lambda client: ensure_fields(client, TARGET, {"tags": ["release", "web", "ours"]}),
        marias(tags=["web", "hold"]),
    )
    assert sorted(flag(emulator)["tags"]) == ["hold", "ours", "web"]


def test_a_change_in_the_moment_of_the_restoring_is_kept_too(emulator: Emulator) -> None:
    added = iter(["first", "second"])
    with ManagementClient("ampex_maria", base_url=emulator.base_url) as maria:

        def happens(number: int) -> None:
            if number < 2:
                tags = list(maria.flags.get(ID)["tags"])
                maria.flags.edit(ID, {"tags": [*tags, next(added)]})

        with BeforeEachWrite(happens) as session, a_client(emulator, timeout=5, session=session) as client:
            ensure_fields(client, TARGET, {"tags": ["release", "web", "ours"]})
    assert sorted(flag(emulator)["tags"]) == ["first", "ours", "release", "second", "web"]


def test_a_change_that_our_repeated_write_came_over_is_restored(emulator: Emulator) -> None:
    """The first write is applied and its response lost; Maria edits; the client repeats the write."""
    emulator.fault("cut_after", methods=["PATCH"])
    at_the_same_moment(
        emulator,
        lambda client: ensure_fields(client, TARGET, {"tags": ["ours"]}),
        marias(tags=["ours", "hold"]),
        before_write=1,
    )
    assert sorted(flag(emulator)["tags"]) == ["hold", "ours"]


def test_a_change_of_another_field_is_no_conflict(emulator: Emulator) -> None:
    outcome = at_the_same_moment(emulator, beta_to_50, marias(description="other"))
    assert outcome.notes == ()
    assert flag(emulator)["description"] == "other"


def test_weights_that_another_set_at_the_same_moment_are_restored(emulator: Emulator) -> None:
    with pytest.raises(ConflictError, match=r"Maria \(version 2.*set the weight of 'treatment' to 7"):
        at_the_same_moment(
            emulator,
            lambda client: ensure_weights(client, TARGET, {"control": 2, "treatment": 3, "old": 0}),
            lambda maria: maria.flags.edit_variant(ID, "treatment", {"rolloutWeight": 7}),
        )
    assert flag(emulator)["rolloutWeights"] == {"control": 2, "treatment": 7, "old": 0}


def test_another_variants_weight_set_at_the_same_moment_stands(emulator: Emulator) -> None:
    outcome = at_the_same_moment(
        emulator,
        lambda client: ensure_weights(client, TARGET, {"control": 2}, others="keep"),
        lambda maria: maria.flags.edit_variant(ID, "treatment", {"rolloutWeight": 7}),
    )
    assert flag(emulator)["rolloutWeights"] == {"control": 2, "treatment": 7, "old": 0}
    assert outcome.notes == ()


def edits_the_variant(client: ManagementClient) -> ChangeResult:
    return ensure_variant_fields(client, TARGET, "treatment", {"rolloutWeight": 3})


def updates_the_variant(client: ManagementClient) -> ChangeResult:
    return ensure_variant(client, TARGET, {"key": "treatment", "rolloutWeight": 3}, if_exists="update")


def updates_its_variants(client: ManagementClient) -> ChangeResult:
    fields: Any = {"projectId": PROJECT, "key": KEYS["flags"], "variants": [{"key": "treatment", "rolloutWeight": 3}]}
    return ensure_created(client, "flags", fields, if_exists="update")


@pytest.mark.parametrize("change", [edits_the_variant, updates_the_variant, updates_its_variants])
def test_the_weight_of_an_edited_variant_that_another_set_at_the_same_moment_is_restored(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult]
) -> None:
    theirs = {"control": 1, "treatment": 0, "old": 1}
    emulator.edit_before_write("flags", ID, rolloutWeights=theirs)
    with (
        a_client(emulator, timeout=5) as client,
        pytest.raises(ConflictError, match=r"Maria \(version 2.*set the weight of 'treatment' to 0"),
    ):
        change(client)
    assert flag(emulator)["rolloutWeights"] == theirs


def test_a_weight_set_at_the_moment_of_a_rename_is_restored(emulator: Emulator) -> None:
    emulator.edit_before_write("flags", ID, rolloutWeights={"control": 1, "treatment": 7, "old": 1})
    with (
        a_client(emulator, timeout=5) as client,
        pytest.raises(ConflictError, match=r"Maria \(version 2.*set the weight of 'new' to 7"),
    ):
        ensure_variant_fields(client, TARGET, "treatment", {"key": "new", "rolloutWeight": 3})
    assert flag(emulator)["rolloutWeights"] == {"control": 1, "new": 7, "old": 1}


def sets_the_percentage(client: ManagementClient) -> ChangeResult:
    return ensure_percentage(client, TARGET, 60)


def edits_the_percentage(client: ManagementClient) -> ChangeResult:
    return ensure_fields(client, TARGET, {"rolloutPercentage": 60, "description": "New"})


@pytest.mark.parametrize("change", [sets_the_percentage, edits_the_percentage])
@pytest.mark.parametrize("theirs", [0, 2.5])
def test_a_percentage_that_another_set_at_the_same_moment_is_restored(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult], theirs: float
) -> None:
    emulator.edit_before_write("flags", ID, rolloutPercentage=theirs)
    with (
        a_client(emulator, timeout=5) as client,
        pytest.raises(ConflictError, match=r"Conflict on rolloutPercentage .*Maria \(version 2.*was restored"),
    ):
        change(client)
    assert flag(emulator)["rolloutPercentage"] == theirs


def to_percentages(emulator: Emulator, by: str, *percentages: int) -> None:
    for percentage in percentages:
        emulator.edit("flags", ID, by=by, rolloutPercentage=percentage)


def percentages(emulator: Emulator) -> list[float]:
    """Return the percentages of all versions after the first, oldest first."""
    return [version["flagConfig"]["rolloutPercentage"] for version in reversed(emulator.versions("flags", ID)[:-1])]


@pytest.mark.parametrize("away", [0, 100])
@pytest.mark.parametrize("change", [sets_the_percentage, edits_the_percentage])
def test_a_percentage_that_another_left_and_set_again_after_our_write_stands(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult], away: int
) -> None:
    """The newest of these versions has our percentage, but it is not our write. Nothing was overwritten."""
    with (
        AfterFirstWrite(lambda: to_percentages(emulator, "Maria", away, 60)) as session,
        a_client(emulator, timeout=5, session=session) as client,
    ):
        change(client)
    assert percentages(emulator) == [60, away, 60]


@pytest.mark.parametrize("change", [sets_the_percentage, edits_the_percentage])
def test_another_percentage_right_after_our_write_is_no_approval_to_wait_for(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult]
) -> None:
    with (
        AfterFirstWrite(lambda: to_percentages(emulator, "Maria", 40)) as session,
        a_client(emulator, session=session) as client,
        pytest.raises(ConflictError, match=r"another actor changed it .* shows .* 40.* newest version is 3, by Maria"),
    ):
        change(client)
    assert percentages(emulator) == [60, 40]


def betas(emulator: Emulator) -> list[float]:
    """Return the percentages of segment Beta in all versions after the first, oldest first."""
    return [
        version["flagConfig"]["targetSegments"][0]["percentage"]
        for version in reversed(emulator.versions("flags", ID)[:-1])
    ]


def to_betas(emulator: Emulator, by: str, *percentages: int) -> None:
    for percentage in percentages:
        emulator.edit("flags", ID, by=by, targetSegments=changed("Beta", percentage=percentage))


def test_a_higher_percentage_of_the_segment_that_she_left_for_ours_is_not_restored(emulator: Emulator) -> None:
    with pytest.raises(ConflictError, match="the other one was NOT restored"):
        at_the_same_moment(emulator, beta_to_50, lambda _: to_betas(emulator, "Maria", 100, 50))
    assert betas(emulator)[:2] == [100, 50]
    assert flag(emulator)["targetSegments"][0]["percentage"] == 50


def test_who_changes_the_segment_again_after_our_write_has_the_last_word(emulator: Emulator) -> None:
    to = changed("Beta", percentage=20)
    emulator.edit_before_write("flags", ID, targetSegments=to)
    with (
        BeforeVersions(lambda: to_betas(emulator, "Nina", 0)) as session,
        a_client(emulator, timeout=5, session=session) as client,
    ):
        outcome = beta_to_50(client)
    assert betas(emulator) == [20, 50, 0]
    assert "Others changed targetSegments after this task. Check it in Amplitude." in outcome.notes


@pytest.mark.parametrize(
    ("away", "error", "left"),
    [
        (0, r"Airflow \(version 3, .* That change was restored", [60, 0, 60, 0]),
        (100, r"Airflow \(version 3, .* changed it to 100 .* the other one was NOT restored", [60, 100, 60]),
    ],
)
@pytest.mark.parametrize("change", [sets_the_percentage, edits_the_percentage])
def test_where_another_task_with_the_same_key_did_so_only_a_lower_percentage_is_restored(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult], away: int, error: str, left: list[float]
) -> None:
    """The history does not show which version of 60 % is ours. Ours may have overwritten the other task's value."""
    with (
        AfterFirstWrite(lambda: to_percentages(emulator, "Airflow", away, 60)) as session,
        a_client(emulator, timeout=5, session=session) as client,
        pytest.raises(ConflictError, match=error),
    ):
        change(client)
    assert percentages(emulator) == left


@pytest.mark.parametrize("change", [sets_the_percentage, edits_the_percentage])
def test_who_changes_the_percentage_again_after_our_write_has_the_last_word(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult]
) -> None:
    """Maria sets 100 % right before our write, and 0 % before the history is read."""
    emulator.edit_before_write("flags", ID, rolloutPercentage=100)
    with (
        BeforeVersions(lambda: to_percentages(emulator, "Maria", 0)) as session,
        a_client(emulator, timeout=5, session=session) as client,
    ):
        change(client)
    assert percentages(emulator) == [100, 60, 0]


@pytest.mark.parametrize("change", [sets_the_percentage, edits_the_percentage])
def test_a_percentage_that_another_set_to_ours_before_our_write_stands(
    emulator: Emulator, change: Callable[[ManagementClient], ChangeResult]
) -> None:
    """Our write changed no percentage, so the history does not show if it was last. Her old value is not restored."""
    with pytest.raises(ConflictError, match="the other one was NOT restored"):
        at_the_same_moment(emulator, change, lambda _: to_percentages(emulator, "Maria", 100, 60))
    assert percentages(emulator)[:2] == [100, 60]
    assert flag(emulator)["rolloutPercentage"] == 60


def test_one_read_of_the_history_finds_all_overwritten_fields(emulator: Emulator) -> None:
    """The fields of one write are compared with one history, also after a part of them was merged."""
    emulator.edit_before_write("flags", ID, tags=["release", "web", "hers"])
    with a_client(emulator, timeout=5) as client:
        ensure_fields(client, TARGET, {"rolloutPercentage": 60, "tags": ["release"]})
    assert (flag(emulator)["rolloutPercentage"], flag(emulator)["tags"]) == (60, ["release", "hers"])
    assert sum(request["path"].endswith("/versions") for request in emulator.request_log()) == 2


# the pure merge


def test_tags_are_merged() -> None:
    assert merged_tags(["a", "b"], ["a", "c"], ["b", "d", "a"]) == ["d", "a", "c"]


A, B, C = ({"name": name, "percentage": 1} for name in "ABC")


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ([{**A, "percentage": 2}, B], [A, {**B, "percentage": 3}], [{**A, "percentage": 2}, {**B, "percentage": 3}]),
        ([{**A, "percentage": 2}, B], [{**A, "percentage": 3}, B], None),
        ([{**A, "percentage": 2}, B], [{**A, "percentage": 2}, B], [{**A, "percentage": 2}, B]),
        ([{**A, "percentage": 2}, B], [{**A, "key": "k"}, B], [{**A, "percentage": 2, "key": "k"}, B]),
        ([{**A, "percentage": 2}, B], [B, A], [B, {**A, "percentage": 2}]),
        ([{**A, "percentage": 2}, B], [C, A, B], [C, {**A, "percentage": 2}, B]),
        ([{**A, "percentage": 2}, B], [A], [{**A, "percentage": 2}]),
        ([{**A, "percentage": 2}, B], [B], None),  # they removed the segment that we changed
        ([B], [{**A, "percentage": 2}, B], None),  # we removed the segment that they changed
        ([B], [A, {**B, "percentage": 2}], [{**B, "percentage": 2}]),
        ([A, B, C], [C, A, B], None),
        ([A, B, C], [B, A], None),
        ([A, A], [A, B], None),
    ],
)
def test_segments_are_merged(ours: list[Any], theirs: list[Any], merged: list[Any] | None) -> None:
    assert merged_segments([A, B], ours, theirs) == merged


def test_a_segment_that_another_adds_without_conditions_is_not_restored_as_one_for_everybody(
    emulator: Emulator,
) -> None:
    """The segment may be for a cohort, whose condition the history does not show."""
    cohorts = {**SEGMENTS[0], "name": "Cohort", "conditions": []}
    theirs = marias(targetSegments=[cohorts, *SEGMENTS])
    with pytest.raises(ConflictError, match=r"Maria.*NOT restored.*'Cohort' may be for a cohort"):
        at_the_same_moment(emulator, beta_to_50, theirs)
    assert [(segment["name"], segment["percentage"]) for segment in flag(emulator)["targetSegments"]] == [
        ("Beta", 50),
        ("Staff", 100),
    ]


def test_a_catch_all_of_this_task_stands_when_anothers_change_is_restored(emulator: Emulator) -> None:
    """A segment that this task itself sends without conditions is for all users."""
    ours: Any = [*SEGMENTS, {**SEGMENTS[0], "name": "Rest", "conditions": [], "percentage": 20}]
    outcome = at_the_same_moment(
        emulator,
        lambda client: ensure_fields(client, TARGET, {"targetSegments": ours}, catch_all="Rest"),
        marias(targetSegments=changed("Staff", percentage=0)),
    )
    assert any("Both changes were kept" in note for note in outcome.notes)
    assert [segment["percentage"] for segment in flag(emulator)["targetSegments"]] == [5, 0, 20]
