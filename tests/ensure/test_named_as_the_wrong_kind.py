"""The error gives a hint if the key or id of an experiment was used for a flag, or the reverse."""

from __future__ import annotations

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import FlagRef, TargetNotFoundError, ensure_fields

from .world import IDS, KEYS, PROJECT

FLAG, EXPERIMENT = KEYS["flags"], KEYS["experiments"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            FlagRef("flags", key=EXPERIMENT, project_id=PROJECT),
            f"The project has an experiment {EXPERIMENT!r}: use experiment_key.",
        ),
        (FlagRef("experiments", key=FLAG, project_id=PROJECT), f"The project has a flag {FLAG!r}: use flag_key."),
        (FlagRef("flags", id=IDS["experiments"]), f"The id {IDS['experiments']} is an experiment: use experiment_id."),
        (FlagRef("experiments", id=IDS["flags"]), f"The id {IDS['flags']} is a flag: use flag_id."),
    ],
    ids=str,
)
def test_a_target_of_the_other_kind_is_named(
    emulator: Emulator, client: ManagementClient, target: FlagRef, said: str
) -> None:
    with pytest.raises(TargetNotFoundError) as refused:
        ensure_fields(client, target, {"enabled": True})
    assert said in str(refused.value)


def test_nothing_is_said_of_the_other_kind_where_there_is_none(emulator: Emulator, client: ManagementClient) -> None:
    with pytest.raises(TargetNotFoundError) as refused:
        ensure_fields(client, FlagRef("flags", key="nowhere", project_id=PROJECT), {"enabled": True})
    assert "experiment_key" not in str(refused.value)
    assert "Check the key" in str(refused.value)


def test_an_error_about_the_other_kind_hides_nothing(emulator: Emulator, client: ManagementClient) -> None:
    emulator.fault("status", status=400, route="GET /api/1/experiments")
    with pytest.raises(TargetNotFoundError, match=r"The flag .* does not exist"):
        ensure_fields(client, FlagRef("flags", key=EXPERIMENT, project_id=PROJECT), {"enabled": True})
