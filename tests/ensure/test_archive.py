"""Archive an object that others depend on: refused with their names, unless the caller allows it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import WrongStateError, ensure_archived

from .world import IDS, OTHER_PROJECT, by_id, by_key

ID = IDS["flags"]
ON_THE_FLAG: dict[str, Any] = {"parentDependencies": {"flags": {ID: ["treatment"]}, "operator": "all"}}


def test_those_that_depend_on_it_are_named(emulator: Emulator, client: ManagementClient) -> None:
    emulator.create_flag("child", **ON_THE_FLAG)
    emulator.create_experiment("test", **ON_THE_FLAG)
    emulator.create_flag("unrelated", parentDependencies={"flags": {"1": ["on"]}, "operator": "all"})
    for target in (by_key("flags"), by_id("flags")):
        with pytest.raises(WrongStateError) as caught:
            ensure_archived(client, target)
        assert f"Archiving {target} failed: it is a dependency of flag 'child', experiment 'test'," in str(caught.value)
        assert "Nothing was changed" in str(caught.value)
    assert emulator.flag(ID)["deleted"] is False
    assert ensure_archived(client, by_key("flags"), if_depended_on="archive").changed
    assert emulator.flag(ID)["deleted"] is True
    assert not ensure_archived(client, by_key("flags")).changed


@pytest.mark.parametrize(
    "fields", [{"deleted": True}, {"projectId": OTHER_PROJECT}, {"parentDependencies": None}], ids=str
)
def test_others_are_no_obstacle(emulator: Emulator, client: ManagementClient, fields: dict[str, Any]) -> None:
    emulator.create_flag("child", **{**ON_THE_FLAG, **fields})
    assert ensure_archived(client, by_key("flags")).changed


@pytest.mark.parametrize("kind", ["flags", "experiments"])
def test_a_list_that_cannot_be_read_archives_nothing(emulator: Emulator, client: ManagementClient, kind: str) -> None:
    emulator.fault("status", status=403, route=f"GET /api/1/{kind}")
    with pytest.raises(Exception, match="403"):
        ensure_archived(client, by_id("flags"))
    assert emulator.flag(ID)["deleted"] is False
