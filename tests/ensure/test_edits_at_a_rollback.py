"""A person's edit during a raise or a rollback of a segment stays, except a higher exposure of the segment."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import ConflictError, FlagRef
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout._history import Exposure

from .trial import AfterFirstWrite
from .world import IDS, a_client

ID = IDS["flags"]


def segment(name: str, percentage: int, country: str = "DE") -> dict[str, Any]:
    conditions = [{"type": "property", "prop": "country", "op": "is", "values": [country]}]
    return {"name": name, "percentage": percentage, "conditions": conditions, "rolloutWeights": {"on": 1}}


def rolled_back(emulator: Emulator, client: ManagementClient, edited: list[dict[str, Any]]) -> ManagedFlag:
    """Roll segment Pro back from 25 % to 1 %, while Maria writes these segments."""
    flag: dict[str, Any] = {"id": ID, "key": "checkout", "enabled": True, "variants": [{"key": "on"}]}
    emulator.load({"flags": [{**flag, "targetSegments": [segment("Pro", 25), segment("VIP", 100)]}]})
    managed = ManagedFlag.find(client, FlagRef("flags", id=ID), "Pro")
    emulator.edit_before_write("flags", ID, by="Maria", targetSegments=edited)
    managed.roll_back_to(Exposure(1, True))
    return managed


@pytest.mark.parametrize(
    "others",
    [[segment("VIP", 0)], [], [segment("VIP", 100, country="FR")], [segment("VIP", 100), segment("New", 5)]],
    ids=["lowered", "removed", "other conditions", "added"],
)
def test_an_edit_of_other_segments_is_restored_and_named(
    others: list[dict[str, Any]], emulator: Emulator, client: ManagementClient
) -> None:
    managed = rolled_back(emulator, client, [segment("Pro", 25), *others])
    stands = [
        (stored["name"], stored["percentage"], stored["conditions"]) for stored in emulator.flag(ID)["targetSegments"]
    ]
    wanted = [segment("Pro", 1), *others]
    assert stands == [(target["name"], target["percentage"], target["conditions"]) for target in wanted]
    assert managed.notes == ["Maria edited the segments during the rollback; that edit was restored."]


def test_a_raise_at_that_moment_is_rolled_back_and_named(emulator: Emulator, client: ManagementClient) -> None:
    managed = rolled_back(emulator, client, [segment("Pro", 100), segment("VIP", 100)])
    assert [stored["percentage"] for stored in emulator.flag(ID)["targetSegments"]] == [1, 100]
    assert managed.notes == ["Maria changed it to 100 % during the rollback; the rollback overwrote that."]


def test_of_a_raise_with_an_edit_of_another_segment_only_the_edit_is_restored(
    emulator: Emulator, client: ManagementClient
) -> None:
    managed = rolled_back(emulator, client, [segment("Pro", 100), segment("VIP", 0)])
    assert [stored["percentage"] for stored in emulator.flag(ID)["targetSegments"]] == [1, 0]
    assert len(managed.notes) == 2


def test_a_segment_that_is_lowered_after_a_raise_stays_so_when_the_one_before_is_restored(emulator: Emulator) -> None:
    """In an incident Maria lowers one segment after the other, and the raise is between the two edits."""
    flag: dict[str, Any] = {"id": ID, "key": "checkout", "enabled": True, "variants": [{"key": "on"}]}
    emulator.load({"flags": [{**flag, "targetSegments": [segment("Pro", 5), segment("VIP", 10)]}]})
    emulator.edit_before_write("flags", ID, by="Maria", targetSegments=[segment("Pro", 0), segment("VIP", 10)])

    def maria() -> None:
        emulator.edit("flags", ID, by="Maria", targetSegments=[segment("Pro", 25), segment("VIP", 0)])

    with AfterFirstWrite(maria) as session, a_client(emulator, timeout=5, session=session) as client:
        managed = ManagedFlag.find(client, FlagRef("flags", id=ID), "Pro")
        with pytest.raises(ConflictError, match=r"Maria changed it to 0 % .* That change was restored"):
            managed.set_stage(25)
    assert [stored["percentage"] for stored in emulator.flag(ID)["targetSegments"]] == [0, 0]
