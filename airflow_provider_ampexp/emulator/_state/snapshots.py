"""The default state, and loading and dumping a state as JSON."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict

from airflow_provider_ampexp.emulator._state import flags
from airflow_provider_ampexp.emulator._state.api_keys import Key
from airflow_provider_ampexp.emulator._state.clock import OffsetSeconds
from airflow_provider_ampexp.emulator._state.flags import KINDS, Content, Kind, ManagedObject
from airflow_provider_ampexp.emulator._state.groups import GroupKind
from airflow_provider_ampexp.emulator._state.service import Service
from airflow_provider_ampexp.emulator._state.settings import Settings

DEMO_KEY = "ampex_demo"
DEMO_PROJECT = "100001"

# Reads do not show these fields, so they are stored separately.
_BESIDE = (
    "createdBy",
    "createdAt",
    "lastModifiedBy",
    "lastModifiedAt",
    "exposureEvent",
    "inclusions",
    "cohorts",
    "history",
    "readOnlyType",
)


class Snapshot(BaseModel):
    """The body of ``POST /_emulator/load``. Objects with the same id or key are replaced, others are added."""

    model_config = ConfigDict(extra="forbid", strict=True)

    projects: list[dict[str, Any]] = []
    keys: list[dict[str, Any]] = []
    deployments: list[dict[str, Any]] = []
    flags: list[dict[str, Any]] = []
    experiments: list[dict[str, Any]] = []
    mutexes: list[dict[str, Any]] = []
    holdouts: list[dict[str, Any]] = []
    settings: dict[str, Any] = {}
    clock_offset: OffsetSeconds | None = None


def reset(service: Service) -> None:
    """Restore the default state: two projects, three keys and two deployments."""
    with service.lock:
        service.clear()
        load(
            service,
            Snapshot(
                projects=[{"id": DEMO_PROJECT, "name": "Acme app"}, {"id": "100002", "name": "Acme web"}],
                keys=[
                    {"key": DEMO_KEY, "person": "Airflow", "projects": [DEMO_PROJECT, "100002"]},
                    {"key": "ampex_maria", "person": "Maria", "projects": [DEMO_PROJECT]},
                    {"key": "ampex_web", "person": "Web team", "projects": ["100002"]},
                ],
            ),
        )
        service.add_deployment(DEMO_PROJECT, "acme-app-client", "client")
        service.add_deployment(DEMO_PROJECT, "acme-app-server", "server")


def load(service: Service, world: Snapshot) -> dict[str, list[str]]:
    """Add a state to the present one, and return the ids of the loaded objects."""
    with service.lock:
        if world.clock_offset is not None:
            service.clock.offset = world.clock_offset
        service.settings = Settings.model_validate({**service.settings.model_dump(), **world.settings})
        for project in world.projects:
            service.projects[str(project["id"])] = str(project.get("name", ""))
        for key in world.keys:
            projects = frozenset(str(item) for item in key["projects"])
            service.keys.add(Key(key["key"], key["person"], projects, key.get("revoked", False)))
        made = [_load_deployment(service, item) for item in world.deployments]
        ids: dict[str, list[str]] = {"deployments": made}
        # Reserve the given ids first, so that objects without an id do not get one of them.
        for item in (*world.flags, *world.experiments):
            service.reserve_id(str(item.get("id", "")))
        for kind in KINDS:
            ids[kind] = [_load_object(service, kind, item).id for item in getattr(world, kind)]
        for group_kind in get_args(GroupKind):
            ids[group_kind] = [_load_group(service, group_kind, item) for item in getattr(world, group_kind)]
        return ids


def dump(service: Service) -> dict[str, Any]:
    """Return the state for ``load``, without faults, counts, pending changes and the day's requests."""
    with service.lock:
        things = list(service.objects.values())
        everything: dict[str, Any] = {
            "projects": [{"id": key, "name": name} for key, name in service.projects.items()],
            "keys": [
                {"key": key.key, "person": key.person, "projects": sorted(key.projects), "revoked": key.revoked}
                for key in service.keys.all()
            ],
            "deployments": list(reversed(service.deployments.newest_first())),
            "settings": service.settings.model_dump(),
            "clock_offset": service.clock.offset,
        }
        for kind in KINDS:
            everything[kind] = [_dump_object(stored) for stored in things if stored.kind == kind]
        for group_kind in get_args(GroupKind):
            everything[group_kind] = service.groups.oldest_first(group_kind)
        return deepcopy(everything)


def _load_group(service: Service, kind: GroupKind, given: dict[str, Any]) -> str:
    group_id = str(given["id"]) if "id" in given else service.new_id()
    service.reserve_id(group_id)
    fields = {"projectId": DEMO_PROJECT, **given, "id": group_id}
    present = [group for group in service.groups.oldest_first(kind) if group["id"] == group_id]
    if "key" in fields and fields["key"] not in [group["key"] for group in present]:
        service.refuse_taken_key(fields["projectId"], fields["key"])
    service.groups.create(kind, group_id, fields, service.new_salt(), "Seed", service.clock.stamp())
    kept = {name: given[name] for name in ("deleted", *_BESIDE) if name in given}
    service.groups.get(kind, group_id).update(kept)
    return group_id


def _load_deployment(service: Service, given: dict[str, Any]) -> str:
    deployment = {"projectId": DEMO_PROJECT, "deleted": False, "type": "server", **given}
    kind = deployment.pop("type")
    service.reserve_id(str(given.get("id", "")))
    if "id" in given and "key" in given:
        deployment_id = str(given["id"])
    else:
        deployment_id = service.add_deployment(str(deployment["projectId"]), str(given["label"]), kind)
    made = {} if "key" in given else service.deployments.get(deployment_id)
    service.deployments.add({**made, **deployment, "id": deployment_id, "projectId": str(deployment["projectId"])})
    return deployment_id


def _load_object(service: Service, kind: Kind, given: dict[str, Any]) -> ManagedObject:
    fields = deepcopy(given)
    beside = {name: fields.pop(name) for name in _BESIDE if name in fields}
    object_id = str(fields["id"]) if "id" in fields else service.new_id()
    fields["projectId"] = str(fields.get("projectId", DEMO_PROJECT))
    fields["deployments"] = [str(item) for item in fields.get("deployments", [])]
    service.projects.setdefault(fields["projectId"], "")
    replaced = service.objects.pop(object_id, None)
    try:
        service.refuse_taken_key(fields["projectId"], fields["key"])
    except Exception:
        if replaced:
            service.objects[object_id] = replaced
        raise
    config = flags.first_config(kind, object_id, service.new_salt(), fields)
    content = Content(config, beside.get("exposureEvent"), beside.get("inclusions") or {}, beside.get("cohorts") or {})
    thing = service.add(kind, content, beside.get("createdBy", "Seed"), beside.get("createdAt", service.clock.stamp()))
    thing.last_modified_by = beside.get("lastModifiedBy", thing.created_by)
    thing.last_modified_at = beside.get("lastModifiedAt", thing.created_at)
    thing.read_only_type = beside.get("readOnlyType")
    if beside.get("history") is not None:
        thing.versions = sorted(beside["history"], key=lambda version: int(version["version"]))
    return thing


def _dump_object(thing: ManagedObject) -> dict[str, Any]:
    return {
        **thing.view(),
        "exposureEvent": thing.content.exposure_event,
        "inclusions": thing.content.inclusions,
        "cohorts": thing.content.cohorts,
        "readOnlyType": thing.read_only_type,
        "history": list(reversed(thing.versions)),
    }
