"""A field has the wanted value, although it is written in another way."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import ensure_fields, ensure_variant_fields

from .world import IDS, SEGMENTS, by_key, state

EXPOSURE = {
    "event_type": "Exposure",
    "filters": [
        {"subprop_key": "flag", "subprop_op": "is", "subprop_type": "event", "subprop_value": ["checkout"]},
    ],
}
NAME_ONLY = {"name": "All", "conditions": [], "percentage": 1, "rolloutWeights": {"control": 1}}


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"tags": ["b", "a"]}, {"tags": ["a", "b"]}),
        ({"tags": []}, {"tags": []}),
        ({"startDate": "2026-07-29"}, {"startDate": "2026-07-29"}),
        ({"startDate": "2026-07-29"}, {"startDate": "2026-07-29T10:26:00.996Z"}),
        ({"startDate": "2026-07-29T10:26:00.996Z"}, {"startDate": "2026-07-29"}),
        ({"endDate": "2026-07-29T10:26:00Z"}, {"endDate": "2026-07-29T11:00:00+00:00"}),
        pytest.param(
            {"startDate": "2026-07-29T23:30:00-05:00"},
            {"startDate": "2026-07-30"},
        ),
        ({"endDate": None}, {"endDate": None}),
        ({"targetSegments": [NAME_ONLY]}, {"targetSegments": [NAME_ONLY]}),
        ({"targetSegments": ({**NAME_ONLY, "conditions": ()},)}, {"targetSegments": [NAME_ONLY]}),
        ({"targetSegments": []}, {"targetSegments": []}),
        ({"description": "Zeile 1\nZeile 2 🎉"}, {"description": "Zeile 1\nZeile 2 🎉"}),
        ({"archive": True}, {"archive": True}),
        ({"rolloutPercentage": 25}, {"rolloutPercentage": 25.0}),
    ],
    ids=str,
)
def test_the_same_in_other_words_changes_nothing(
    emulator: Emulator, hasty: ManagementClient, first: dict[str, Any], again: dict[str, Any]
) -> None:
    target = by_key("experiments")
    emulator.edit("experiments", IDS["experiments"], tags=["x"], endDate="2030-01-01")
    assert ensure_fields(hasty, target, first, catch_all="All").changed  # type: ignore[arg-type]
    there = state(emulator)
    outcome = ensure_fields(hasty, target, again, catch_all="All")  # type: ignore[arg-type]
    assert not outcome.changed
    assert outcome.notes == ()
    assert state(emulator) == there


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"tags": ["a", "b"]}, {"tags": ["a"]}),
        ({"tags": ["a", "b"]}, {"tags": ["a", "b", "b"]}),
        ({"startDate": "2026-07-29"}, {"startDate": "2026-07-30"}),
        ({"endDate": "2026-07-29"}, {"endDate": None}),
        ({"targetSegments": SEGMENTS}, {"targetSegments": SEGMENTS[::-1]}),
        ({"targetSegments": SEGMENTS}, {"targetSegments": SEGMENTS[:1]}),
        ({"targetSegments": [NAME_ONLY]}, {"targetSegments": [{**NAME_ONLY, "bucketingKey": "device_id"}]}),
        ({"description": "a"}, {"description": ""}),
        ({"archive": True}, {"archive": False}),
    ],
    ids=str,
)
def test_what_differs_is_changed(
    emulator: Emulator, client: ManagementClient, first: dict[str, Any], again: dict[str, Any]
) -> None:
    target = by_key("experiments")
    ensure_fields(client, target, first, catch_all="All")  # type: ignore[arg-type]
    versions = len(emulator.versions("experiments", IDS["experiments"]))
    outcome = ensure_fields(client, target, again, catch_all="All")  # type: ignore[arg-type]
    assert outcome.changed
    assert outcome.before != outcome.after
    assert len(emulator.versions("experiments", IDS["experiments"])) == versions + 1


@pytest.mark.parametrize(
    ("first", "again"),
    [({"new": 1}, {"new": True}), ([0], [False]), ("1", 1), ([], {}), (("red", ("blue",)), ["red", ["green"]])],
    ids=str,
)
def test_a_payload_is_compared_as_json(emulator: Emulator, hasty: ManagementClient, first: Any, again: Any) -> None:
    for payload in (first, again):
        assert ensure_variant_fields(hasty, by_key("flags"), "treatment", {"payload": payload}).changed
        assert not ensure_variant_fields(hasty, by_key("flags"), "treatment", {"payload": payload}).changed
    assert repr(emulator.flag(IDS["flags"])["variants"][1]["payload"]) == repr(again)


def test_only_what_differs_is_written(emulator: Emulator, client: ManagementClient) -> None:
    # Maria changes a field whose wanted value was the read value. The field is not in our write, so her change stays.
    emulator.edit_before_write("flags", IDS["flags"], name="Maria's")
    outcome = ensure_fields(client, by_key("flags"), {"name": "checkout", "description": "new"})
    assert emulator.flag(IDS["flags"])["description"] == "new"
    assert emulator.flag(IDS["flags"])["name"] == "Maria's"
    assert outcome.before == {"name": "checkout", "description": "The new way"}
    assert outcome.after == {"name": "Maria's", "description": "new"}


def test_what_the_service_does_not_show_is_noted(emulator: Emulator, client: ManagementClient) -> None:
    outcome = ensure_fields(client, by_key("experiments"), {"exposureEvent": EXPOSURE, "name": "New"})
    assert outcome.changed
    assert (outcome.before, outcome.after) == ({"name": "pricing"}, {"name": "New"})
    (note,) = outcome.notes
    assert "does not show exposureEvent" in note
    written = next(stored for stored in emulator.dump()["experiments"] if stored["id"] == IDS["experiments"])[
        "exposureEvent"
    ]
    assert {**EXPOSURE, "filters": written["filters"]} == written
    assert "name" not in note


@pytest.mark.parametrize("module", ["airflow", "requests", "tenacity", "urllib3"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, airflow_provider_ampexp.ensure; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
