"""The service: the state of the emulator, and the reads and writes of the API."""

from __future__ import annotations

import random
import string
import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from airflow_provider_ampexp.emulator._api import request_models
from airflow_provider_ampexp.emulator._faults.request_log import RequestLog
from airflow_provider_ampexp.emulator._faults.rules import Faults
from airflow_provider_ampexp.emulator._state import deployments, flags, versions
from airflow_provider_ampexp.emulator._state.api_keys import Key, KeyRing
from airflow_provider_ampexp.emulator._state.approvals import Approvals
from airflow_provider_ampexp.emulator._state.clock import Clock
from airflow_provider_ampexp.emulator._state.dependencies import check_dependencies
from airflow_provider_ampexp.emulator._state.errors import Refusal, bad_request, not_found
from airflow_provider_ampexp.emulator._state.flags import Content, Kind, ManagedObject
from airflow_provider_ampexp.emulator._state.groups import Groups
from airflow_provider_ampexp.emulator._state.rate_limits import Limits
from airflow_provider_ampexp.emulator._state.settings import Settings
from airflow_provider_ampexp.emulator._state.user_edits import PersonEdit, carry_out

# A write: it changes a copy of the object's content, with the validated fields of the body.
Change = Callable[[Content, dict[str, Any]], None]

_SALT = string.ascii_letters + string.digits


class Service:
    """The state of the emulator. Each method is atomic: it holds the lock from start to end."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.known_routes: list[str] = []
        self.stopping = False
        self.clear()

    def clear(self) -> None:
        """Restore an empty state, without faults and counts, and with the machine's time."""
        with self.lock:
            self.clock = Clock()
            self.settings = Settings()
            self.projects: dict[str, str] = {}
            self.keys = KeyRing()
            self.objects: dict[str, ManagedObject] = {}
            self.deployments = deployments.Deployments()
            self.groups = Groups()
            self.faults = Faults()
            self.limits = Limits()
            self.approvals = Approvals()
            self.log = RequestLog()
            self.before_write: list[PersonEdit] = []
            self._last_id = 848344
            # With a seed, so that each run has the same salts and keys.
            self._random = random.Random(20230729)

    # -- the caller -----------------------------------------------------------------------------------------

    def admit(self, authorization: str | None) -> Key:
        """Return the caller's key and count the request for all its projects, or raise a 401 or 429."""
        with self.lock:
            key = self.keys.authenticate(authorization)
            self.limits.take(key.projects, self.clock, self.settings)
            return key

    # -- reads ----------------------------------------------------------------------------------------------

    def find(self, kind: Kind, object_id: str) -> ManagedObject:
        """Return the flag or experiment of this id, or raise a 404."""
        thing = self.objects.get(object_id)
        if thing is None or thing.kind != kind:
            raise not_found(f"There is nothing with the id {object_id} among the {kind}.")
        return thing

    def get(self, caller: Key, kind: Kind, object_id: str) -> ManagedObject:
        """Return the flag or experiment of this id, if the caller can see it."""
        thing = self.find(kind, object_id)
        caller.require(thing.project_id)
        return thing

    def list_objects(self, caller: Key, kind: Kind, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Contract: List, with the service's filters ``key``, ``projectId`` and ``includeArchived``."""
        filters: Mapping[str, str] = {} if self.settings.ignore_filters else query
        archived = filters.get("includeArchived", "false").lower()
        if archived not in ("true", "false"):
            raise bad_request("includeArchived: must be true or false.")
        if "projectId" in filters:
            caller.require(filters["projectId"])
        with self.lock:
            found = [
                stored
                for stored in self.newest_first()
                if stored.kind == kind
                and stored.project_id in caller.projects
                and stored.project_id == filters.get("projectId", stored.project_id)
                and stored.config["key"] == filters.get("key", stored.config["key"])
                and (archived == "true" or not stored.config["deleted"])
            ]
            return [self.view(stored) for stored in found]

    def view(self, thing: ManagedObject) -> dict[str, Any]:
        """Return the body of a read."""
        return flags.shown(thing.view(), self.settings)

    def newest_first(self) -> list[ManagedObject]:
        """Return all objects, newest first."""
        # Of two objects of the same millisecond, the later one in the dictionary is newer.
        return sorted(self.objects.values(), key=lambda stored: stored.created_at)[::-1]

    # -- writes ---------------------------------------------------------------------------------------------

    def create(self, caller: Key, kind: Kind, raw: bytes) -> ManagedObject:
        """Contract: Create."""
        with self.lock:
            fields = request_models.read(
                request_models.CreateExperiment if kind == "experiments" else request_models.CreateFlag, raw
            )
            project_id = fields["projectId"]
            caller.require(project_id)
            self.refuse_taken_key(project_id, fields["key"])
            self.deployments.refuse_unknown(project_id, fields.get("deployments", []))
            config = flags.first_config(kind, self.new_id(), self.new_salt(), fields)
            flags.check_config(config)
            return self.add(kind, Content(config), caller.person, self.clock.stamp())

    def edit(self, caller: Key, kind: Kind, object_id: str, raw: bytes) -> None:
        """Contract: Edit. With approvals, some fields may wait while the others are applied."""
        with self.lock:
            thing = self._open(caller, kind, object_id)
            fields = request_models.read(
                request_models.EditExperiment if kind == "experiments" else request_models.EditFlag, raw
            )
            if (
                self.settings.refuse_disable_without_deployments
                and fields.get("enabled") is False
                and not thing.config["deployments"]
            ):
                raise bad_request("enabled: an object without deployments cannot be disabled.")
            check_dependencies(self.objects, thing, fields.get("parentDependencies"), self.groups.ids())
            day = self.clock.day()
            # Validate all fields before any is applied, also those that will wait.
            flags.edit(kind, deepcopy(thing.content), fields, day)
            held, free = self.approvals.split(fields)
            if free:
                self.apply(thing, caller.person, lambda content: flags.edit(kind, content, free, day))
            if held:
                self._hold(thing, "edit", held, caller, lambda content: flags.edit(kind, content, held, day))

    def write(
        self,
        caller: Key,
        kind: Kind,
        object_id: str,
        action: str,
        change: Change,
        body: tuple[type[request_models.Body], bytes] | None = None,
    ) -> None:
        """Write to the variants, inclusions or deployments of an object."""
        with self.lock:
            thing = self._open(caller, kind, object_id)
            fields = request_models.read(*body) if body else {}
            if self.approvals.holds_everything():
                self._hold(thing, action, fields, caller, lambda content: change(content, fields))
            else:
                self.apply(thing, caller.person, lambda content: change(content, fields))

    def apply(self, thing: ManagedObject, by: str, work: Callable[[Content], None]) -> None:
        """Apply a change completely or not at all, and add a version if the configuration changed."""
        with self.lock:
            draft = deepcopy(thing.content)
            work(draft)
            before, thing.content = thing.content, draft
            if (draft.config, draft.exposure_event) != (before.config, before.exposure_event):
                thing.last_modified_by, thing.last_modified_at = by, self.clock.stamp()
                versions.record(thing, by, thing.last_modified_at, self.settings)

    def _open(self, caller: Key, kind: Kind, object_id: str) -> ManagedObject:
        """Return the object of a write, after the edit of ``edit_before_write``."""
        thing = self.get(caller, kind, object_id)
        for edit in [edit for edit in self.before_write if (edit.kind, edit.id) == (kind, object_id)]:
            self.before_write.remove(edit)
            carry_out(self, edit)
        if thing.read_only_type:
            raise Refusal(405, f"This is a {thing.read_only_type}, which cannot be edited through this API.")
        return thing

    def _hold(
        self, thing: ManagedObject, action: str, fields: dict[str, Any], caller: Key, work: Callable[[Content], None]
    ) -> None:
        """Add a waiting change, unless it is invalid or changes nothing."""
        draft = deepcopy(thing.content)
        work(draft)
        if draft != thing.content:
            self.approvals.add(thing, action, fields, caller.person, self.clock.stamp(), work)

    # -- deployments ----------------------------------------------------------------------------------------

    def list_deployments(self, caller: Key) -> list[dict[str, Any]]:
        """Contract: List deployments."""
        with self.lock:
            return [item for item in self.deployments.newest_first() if item["projectId"] in caller.projects]

    def create_deployment(self, caller: Key, raw: bytes) -> str:
        """Contract: Create deployment. Labels need not be unique."""
        with self.lock:
            fields = request_models.read(request_models.CreateDeployment, raw)
            caller.require(fields["projectId"])
            return self.add_deployment(fields["projectId"], fields["label"], fields["type"])

    def edit_deployment(self, caller: Key, deployment_id: str, raw: bytes) -> None:
        """Contract: Edit deployment."""
        with self.lock:
            deployment = self.deployments.get(deployment_id)
            caller.require(deployment["projectId"])
            fields = request_models.read(request_models.EditDeployment, raw)
            changes = {name: fields[field] for field, name in _DEPLOYMENT_FIELDS.items() if field in fields}
            self.deployments.add({**deployment, **changes})

    def add_deployment(self, project_id: str, label: str, kind: str) -> str:
        """Add a deployment and return its id. Its key begins with its type."""
        deployment_id = self.new_id()
        key = f"{kind}-{''.join(self._random.choices(_SALT, k=32))}"
        self.deployments.add(
            {"id": deployment_id, "projectId": project_id, "label": label, "key": key, "deleted": False}
        )
        return deployment_id

    # -- helpers of create ----------------------------------------------------------------------------------

    def add(self, kind: Kind, content: Content, by: str, at: str) -> ManagedObject:
        """Add an object with its first version."""
        thing = ManagedObject(kind, content, by, at, by, at)
        versions.record(thing, by, at, self.settings)
        self.objects[thing.id] = thing
        return thing

    def refuse_taken_key(self, project_id: str, key: str) -> None:
        """Raise if a flag, an experiment or a group of the project, also an archived one, has the key."""
        if self.groups.has_key(project_id, key):
            raise bad_request(f"key: {key!r} is taken in project {project_id}.")
        for stored in self.objects.values():
            if stored.project_id == project_id and stored.config["key"] == key:
                raise bad_request(f"key: {key!r} is taken in project {project_id}.")

    def new_id(self) -> str:
        """Return an unused id."""
        self._last_id += 1
        return str(self._last_id)

    def reserve_id(self, taken: str) -> None:
        """Reserve a loaded id, and all lower ids."""
        if taken.isascii() and taken.isdigit():
            self._last_id = max(self._last_id, int(taken))

    def new_salt(self) -> str:
        """Return a bucketing salt like the contract's ``mHdQDzeE``."""
        return "".join(self._random.choices(_SALT, k=8))


_DEPLOYMENT_FIELDS = {"label": "label", "archive": "deleted"}
