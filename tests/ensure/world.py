"""The initial state of all tests, and its comparison.

Project 100001 has a flag and an experiment in use, with segments, variants, inclusions (one user twice) and a
deployment. Project 100002 has a flag and an experiment with the same keys, which must never change.
"""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import FlagRef

PROJECT, OTHER_PROJECT = "100001", "100002"
KINDS: tuple[Kind, ...] = ("flags", "experiments")
KEYS = {"flags": "checkout", "experiments": "pricing"}
IDS = {"flags": "700001", "experiments": "700002"}
TWIN_IDS = {"flags": "700003", "experiments": "700004"}
MUTEX, HOLDOUT = "500001", "500002"
WEB, IOS, OLD_IOS = "600001", "600002", "600003"  # deployments; the last one is archived
INCLUDED = ["anna", "böb/1", "anna", "d e?", "emil"]
COHORTS = ["c-beta", "c/staff 1"]
SEGMENTS = [
    {
        "name": "Beta",
        "conditions": [{"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}],
        "percentage": 5,
        "bucketingKey": "user_id",
        "rolloutWeights": {"control": 1, "treatment": 2},
    },
    {
        "name": "Staff",
        "conditions": [{"type": "property", "prop": "email", "op": "contains", "values": ["@acme.example"]}],
        "percentage": 100,
        "bucketingKey": "amplitude_id",
        "rolloutWeights": {"treatment": 1},
    },
]

State = dict[str, Any]

_COMPARED = (
    "name",
    "description",
    "enabled",
    "deleted",
    "bucketingKey",
    "evaluationMode",
    "variants",
    "rolloutPercentage",
    "rolloutWeights",
    "targetSegments",
    "tags",
    "parentDependencies",
    "startDate",
    "endDate",
    "exposureEvent",
    "stickyBucketing",
    "decision",
    "decisionReason",
    "rolledOutVariant",
    "state",
)
_UNSTABLE = ("id", "bucketingSalt", "createdAt", "lastModifiedAt", "lastModifiedBy", "createdBy")


def seed(emulator: Emulator) -> None:
    """Load the initial state into an emulator that is in its default state."""
    standing = {
        "description": "The new way",
        "enabled": True,
        "rolloutPercentage": 10,
        "variants": [
            {"key": "control"},
            {"key": "treatment", "name": "Treatment", "payload": {"colour": "grün"}},
            {"key": "old"},
        ],
        "rolloutWeights": {"control": 1, "treatment": 1, "old": 0},
        "targetSegments": SEGMENTS,
        "tags": ["release", "web"],
        "deployments": [WEB],
        "inclusions": {"treatment": INCLUDED, "control": ["carol"]},
        "cohorts": {"treatment": COHORTS, "control": ["c-other"]},
    }
    running = {"state": "running", "startDate": "2023-07-01", "endDate": "2023-09-01"}
    twin = {**standing, "projectId": OTHER_PROJECT, "deployments": []}
    world: dict[str, Any] = {
        "deployments": [
            {"id": WEB, "label": "web", "key": "client-web"},
            {"id": IOS, "label": "ios", "key": "server-ios"},
            {"id": OLD_IOS, "label": "old-ios", "key": "server-old-ios", "deleted": True},
        ]
    }
    group = {"projectId": PROJECT, "description": "Checkout"}
    world["mutexes"] = [
        {
            "id": MUTEX,
            "key": "checkout-tests",
            "name": "Checkout tests",
            **group,
            "slots": [
                {"percentage": 30, "experiments": ["700009"], "holdouts": [HOLDOUT], "individuals": ["ana"]},
                {"percentage": 70},
            ],
        }
    ]
    world["holdouts"] = [
        {
            "id": HOLDOUT,
            "key": "no-tests",
            "name": "No tests",
            **group,
            "holdoutPercentage": 5,
            "experiments": ["700009", IDS["experiments"]],
            "individualInclusion": ["olga"],
        }
    ]
    for kind in KINDS:
        more = running if kind == "experiments" else {}
        world[kind] = [
            {"id": TWIN_IDS[kind], "key": KEYS[kind], **twin, **more},
            {"id": IDS[kind], "key": KEYS[kind], **standing, **more},
        ]
    emulator.load(world)


def a_client(emulator: Emulator, *, timeout: float = 0.4, retry_for: float = 3.0, **more: Any) -> ManagementClient:
    return ManagementClient(emulator.api_key, base_url=emulator.base_url, timeout=timeout, retry_for=retry_for, **more)


def by_key(kind: Kind) -> FlagRef:
    return FlagRef(kind, key=KEYS[kind], project_id=PROJECT)


def by_id(kind: Kind) -> FlagRef:
    return FlagRef(kind, id=IDS[kind])


def state(emulator: Emulator) -> State:
    """Return all values that a write could change, without the ids of new objects, salts and times.

    The order of inclusions does not count.
    """
    dump = emulator.dump()
    found: State = {
        "deployments": sorted(
            (stored["projectId"], stored["label"], stored["deleted"]) for stored in dump["deployments"]
        )
    }
    for group_kind in ("mutexes", "holdouts"):
        for group in dump[group_kind]:
            found[f"{group_kind}/{group['projectId']}/{group['key']}"] = {
                name: value for name, value in group.items() if name not in _UNSTABLE
            }
    for kind in KINDS:
        for stored in dump[kind]:
            compared = {name: stored[name] for name in _COMPARED if name in stored}
            compared["deployments"] = sorted(stored["deployments"])
            compared["inclusions"] = {key: sorted(users) for key, users in stored["inclusions"].items() if users}
            compared["cohorts"] = {key: sorted(cohorts) for key, cohorts in stored["cohorts"].items() if cohorts}
            compared["versions"] = len(stored["history"])
            found[name_of(kind, stored["projectId"], stored["key"])] = compared
    return found


def name_of(kind: Kind, project_id: str = PROJECT, key: str | None = None) -> str:
    return f"{kind}/{project_id}/{key or KEYS[kind]}"


def wait_for_late_work(emulator: Emulator) -> None:
    """Wait until the emulator has finished all requests, also those whose caller has closed the connection."""
    deadline = time.monotonic() + 5
    while any(
        entry["status"] is None and not str(entry["fault"]).startswith("cut") for entry in emulator.request_log()
    ):
        assert time.monotonic() < deadline, "the emulator is still at work"
        time.sleep(0.02)
