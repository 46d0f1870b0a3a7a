"""Changes that are accepted and wait for approval, and changes by persons at the same time."""

from __future__ import annotations

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import ChangeNotVisibleError, ensure_fields, ensure_percentage

from .world import IDS, KINDS, SEGMENTS, by_id, by_key, state
from .writes import (
    EXACTLY,
    EXACTLY_COHORTS,
    EXCLUDE,
    FIELDS,
    ON_A_FLAG,
    PERCENTAGE,
    RESTORE_VERSION,
    ROLL_OUT,
    SEGMENT,
    Write,
)

ONE_AT_A_TIME = (EXCLUDE, EXACTLY, EXACTLY_COHORTS, RESTORE_VERSION, ROLL_OUT)  # several writes, each of them is held
HELD_APART = [("percentages", PERCENTAGE, SEGMENT), ("segments", SEGMENT, PERCENTAGE)]


def approve_all(emulator: Emulator) -> None:
    for pending in emulator.pending():
        emulator.approve(pending["id"])


@pytest.mark.parametrize("write", [write for write in ON_A_FLAG if write.held], ids=str)
def test_a_change_that_is_held_back_is_an_error_until_it_is_approved(
    emulator: Emulator, hasty: ManagementClient, write: Write
) -> None:
    kind = write.kind
    write.prepared(emulator, kind)
    before = state(emulator)
    emulator.hold("all")
    with pytest.raises(ChangeNotVisibleError, match=r"accepted the change.*approv") as caught:
        write.run(hasty, by_key(kind))
    assert by_key(kind).key in str(caught.value)  # type: ignore[operator]
    assert state(emulator) == before
    approve_all(emulator)
    while write in ONE_AT_A_TIME and state(emulator) != write.wanted(before, kind):
        with pytest.raises(ChangeNotVisibleError):
            write.run(hasty, by_key(kind))
        approve_all(emulator)
    assert state(emulator) == write.wanted(before, kind)
    assert not write.run(hasty, by_key(kind)).changed
    assert emulator.pending() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("hold", "held", "free"), HELD_APART, ids=[row[0] for row in HELD_APART])
def test_percentages_and_segments_are_held_apart(
    emulator: Emulator, hasty: ManagementClient, kind: Kind, hold: str, held: Write, free: Write
) -> None:
    before = state(emulator)
    emulator.hold(hold)
    assert free.run(hasty, by_key(kind)).changed
    between = free.wanted(before, kind)
    assert state(emulator) == between
    with pytest.raises(
        ChangeNotVisibleError, match=r"rolloutPercentage.*10|targetSegments.*'percentage': 5\b.*approval"
    ):
        held.run(hasty, by_id(kind))
    assert state(emulator) == between
    approve_all(emulator)
    outcome = held.run(hasty, by_id(kind))
    assert (outcome.changed, outcome.after) == (False, held.after)
    assert state(emulator) == held.wanted(between, kind)


def test_a_change_that_is_held_back_in_part_says_which_part(emulator: Emulator, hasty: ManagementClient) -> None:
    emulator.hold("percentages")
    with pytest.raises(ChangeNotVisibleError) as caught:
        ensure_fields(hasty, by_key("flags"), {"rolloutPercentage": 30, "name": "New"})
    assert "shows {'rolloutPercentage': 10}" in str(caught.value)
    assert "newest version is 2, by Airflow" in str(caught.value)
    assert emulator.flag(IDS["flags"])["name"] == "New"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [FIELDS, PERCENTAGE, SEGMENT], ids=str)
def test_a_persons_edit_of_other_fields_right_before_the_write_is_kept(
    emulator: Emulator, client: ManagementClient, kind: Kind, write: Write
) -> None:
    wanted = write.wanted(state(emulator), kind)
    name = next(name for name in wanted if name.startswith(f"{kind}/100001"))
    emulator.edit_before_write(kind, IDS[kind], name="Maria's", tags=["hers"], bucketingKey="user_id")
    assert write.run(client, by_key(kind)).changed
    wanted[name].update(name="Maria's", tags=["hers"], bucketingKey="user_id", versions=3)
    assert state(emulator) == wanted
    assert [version["createdBy"] for version in emulator.versions(kind, IDS[kind])] == ["Airflow", "Maria", "Seed"]


def test_a_persons_edit_of_the_same_field_after_the_write_is_no_success(
    emulator: Emulator, hasty: ManagementClient
) -> None:
    emulator.fault("slow_after", seconds=0.2, methods=["PATCH"])
    # The response to the write is late, so a read confirms the write. Then the second run finds Maria's value.
    assert ensure_percentage(hasty, by_key("flags"), 20).changed
    emulator.edit("flags", IDS["flags"], rolloutPercentage=15)
    again = ensure_percentage(hasty, by_key("flags"), 20)
    assert (again.changed, again.before, again.after) == (True, {"rolloutPercentage": 15}, {"rolloutPercentage": 20})


def test_other_segments_are_sent_back_as_they_were(emulator: Emulator, client: ManagementClient) -> None:
    ensure_percentage(client, by_key("flags"), 50, segment="Beta")
    assert emulator.flag(IDS["flags"])["targetSegments"] == [{**SEGMENTS[0], "percentage": 50}, SEGMENTS[1]]
    ensure_percentage(client, by_key("flags"), 7, segment="Staff")
    assert emulator.flag(IDS["flags"])["targetSegments"] == [
        {**SEGMENTS[0], "percentage": 50},
        {**SEGMENTS[1], "percentage": 7},
    ]
