"""A named project is compared with the object's project, and an id of another project is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import FlagRef, OtherProjectError, ensure_deployment_fields
from airflow_provider_ampexp.polling._batch_reader import BatchReader
from airflow_provider_ampexp.polling._check_once import look
from airflow_provider_ampexp.polling._conditions import EnabledIs
from airflow_provider_ampexp.reconcile._flag import ManagedFlag

from .world import IDS, IOS, OTHER_PROJECT, PROJECT, TWIN_IDS, by_id, state
from .writes import ON_A_FLAG, Write, each_of

FLAG_OF_ANOTHER = FlagRef("flags", id=TWIN_IDS["flags"], project_id=PROJECT)
NAMES_BOTH = rf"{TWIN_IDS['flags']}.*is in project {OTHER_PROJECT}.*named project {PROJECT}"


@each_of(*ON_A_FLAG)
def test_an_object_of_another_project_than_the_named_one_is_refused(
    emulator: Emulator, client: ManagementClient, write: Write, kind: Kind
):
    before = state(emulator)
    with pytest.raises(OtherProjectError, match=NAMES_BOTH.replace(TWIN_IDS["flags"], TWIN_IDS[kind])):
        write.run(client, FlagRef(kind, id=TWIN_IDS[kind], project_id=PROJECT))
    assert state(emulator) == before


@each_of(*ON_A_FLAG)
def test_an_object_of_the_named_project_is_changed(
    emulator: Emulator, client: ManagementClient, write: Write, kind: Kind
):
    write.prepared(emulator, kind)
    assert write.run(client, replace(by_id(kind), project_id=PROJECT)).changed


def test_a_deployment_of_another_project_than_the_named_one_is_refused(emulator: Emulator, client: ManagementClient):
    with pytest.raises(OtherProjectError, match=rf"{IOS} is in project {PROJECT}.*{OTHER_PROJECT}"):
        ensure_deployment_fields(client, IOS, {"archive": True}, project_id=OTHER_PROJECT)
    assert ensure_deployment_fields(client, IOS, {"archive": True}, project_id=PROJECT).changed


def test_a_ramp_of_another_projects_flag_is_refused(emulator: Emulator, client: ManagementClient):
    with pytest.raises(OtherProjectError, match=NAMES_BOTH):
        ManagedFlag.find(client, FLAG_OF_ANOTHER, None)


def test_a_sensor_for_another_projects_flag_ends(emulator: Emulator, client: ManagementClient):
    verdict = look(client, FLAG_OF_ANOTHER, EnabledIs(True), was_seen=False)
    assert verdict.status == "never"
    assert "is in project" in verdict.why


@pytest.mark.parametrize("count", [1, 4], ids=["read", "listed"])
def test_a_watch_for_another_projects_flag_ends(emulator: Emulator, client: ManagementClient, count: int):
    """The project is that of the connection. With several targets, the wait reads the list, which may have the flag."""
    others = {FlagRef("flags", id=IDS["flags"])} if count > 1 else set()
    wanted = {FlagRef("flags", id=TWIN_IDS["flags"]), *others}
    lookout = BatchReader(client, PROJECT)
    sight = lookout.look(wanted, wanted, wanted, set())
    assert isinstance(sight.refused[FlagRef("flags", id=TWIN_IDS["flags"])], OtherProjectError)
    assert others <= set(sight.configs)
