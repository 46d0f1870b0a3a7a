"""Bring deployments, and their assignment to flags, to a state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client.types import Deployment, DeploymentCreateFields, DeploymentEditFields, Json
from airflow_provider_ampexp.ensure._confirmation import read_until, write_and_confirm
from airflow_provider_ampexp.ensure._errors import (
    NOT_SHOWN_NEXT_STEP,
    USE_EXISTING,
    AlreadyExistsError,
    ChangeNotVisibleError,
    OtherProjectError,
    TargetNotFoundError,
)
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._variants import IfExists

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


def ensure_deployment(
    client: ManagementClient, fields: DeploymentCreateFields, *, if_exists: IfExists = "skip"
) -> ChangeResult:
    """Make sure that the project has a deployment with this label (contract: *Create deployment*).

    :param if_exists: for an existing deployment: ``skip`` leaves it, ``update`` restores an archived one, ``fail``
        raises
    :raises AlreadyExistsError: also when the deployment exists with another type, because a type cannot be changed
    """
    project_id = validate.name("projectId", fields.get("projectId"))
    label = validate.label("label", fields.get("label"))
    validate.deployment_type("type", fields.get("type"))

    def find() -> Deployment | None:
        # Labels are not unique: prefer a deployment in use to an archived one.
        return min(
            (
                deployment
                for deployment in client.deployments.list()
                if deployment.get("label") == label and deployment.get("projectId") in (None, project_id)
            ),
            key=lambda deployment: bool(deployment.get("deleted")),
            default=None,
        )

    existing = find()
    if existing is None:
        write_and_confirm(
            client,
            f"Creating deployment {label!r} of project {project_id}",
            lambda: client.deployments.create(fields),
            lambda: find() is not None,
            repeat_duplicates=True,
        )
        created, _ = read_until(client, find, lambda found: found is not None)
        if created is None:
            raise ChangeNotVisibleError(
                f"Creating deployment {label!r} failed: Amplitude accepted it, but does not show it. Check Amplitude."
            )
        return _outcome(created["id"], label, None, created)
    if if_exists == "fail":
        raise AlreadyExistsError(
            f"Deployment {label!r} of project {project_id} already exists. Nothing was changed. {USE_EXISTING}"
        )
    # The contract has no type in a response, but the deployment's key begins with the type.
    type = existing.get("type") or str(existing.get("key")).partition("-")[0]
    if type in ("client", "server") and type != fields["type"]:
        raise AlreadyExistsError(
            f"Deployment {label!r} of project {project_id} already exists with the type {type}. A type cannot be "
            "changed. Nothing was changed."
        )
    if if_exists == "update" and existing.get("deleted"):
        return ensure_deployment_fields(client, existing["id"], {"archive": False})
    return _outcome(existing["id"], label, existing, existing)


def ensure_deployment_fields(
    client: ManagementClient, deployment_id: str, fields: DeploymentEditFields, *, project_id: str | None = None
) -> ChangeResult:
    """Set a deployment's label, or archive or restore it (contract: *Edit deployment*).

    :param project_id: the expected project of the deployment
    :raises OtherProjectError: when the deployment belongs to another project
    """
    if not fields:
        raise InvalidInputError("label/archive", "expected one of them, got none")

    def read() -> Deployment:
        for deployment in client.deployments.list():
            if deployment["id"] == deployment_id:
                if project_id is None or deployment.get("projectId") in (None, project_id):
                    return deployment
                raise OtherProjectError(
                    f"Deployment {deployment_id} is in project {deployment.get('projectId')}, not in the named project "
                    f"{project_id}. Nothing was changed. Correct the id, or the project_id of the task or connection."
                )
        raise TargetNotFoundError(
            f"Deployment {deployment_id} does not exist. Nothing was changed. Check the id and the connection's region."
        )

    def differs(existing: Deployment) -> bool:
        return existing.get("label") != fields.get("label", existing.get("label")) or bool(
            existing.get("deleted")
        ) != fields.get("archive", bool(existing.get("deleted")))

    before = read()
    if not differs(before):
        return _outcome(deployment_id, before.get("label"), before, before)
    write_and_confirm(
        client,
        f"Editing deployment {deployment_id}",
        lambda: client.deployments.edit(deployment_id, fields),
        lambda: not differs(read()),
    )
    after, is_applied = read_until(client, read, lambda after: not differs(after))
    if not is_applied:
        raise ChangeNotVisibleError(
            f"Editing deployment {deployment_id} to {dict(fields)} failed: Amplitude accepted the change, but shows "
            f"{_visible(after)}. Check the deployment in Amplitude."
        )
    return _outcome(deployment_id, after.get("label"), before, after)


def ensure_assigned(client: ManagementClient, target: FlagRef, deployment_ids: Iterable[str]) -> ChangeResult:
    """Make sure that the flag or experiment is assigned to these deployments, and leave others."""
    wanted = validate.names("deployment_ids", deployment_ids)
    return _assignments(client, target, add=wanted)


def ensure_not_assigned(client: ManagementClient, target: FlagRef, deployment_id: str) -> ChangeResult:
    """Make sure that the flag or experiment is not assigned to this deployment."""
    return _assignments(client, target, remove=validate.name("deployment_id", deployment_id))


def _assignments(
    client: ManagementClient, target: FlagRef, *, add: Iterable[str] = (), remove: str = ""
) -> ChangeResult:
    identity = target.identify(client)
    endpoints = target.endpoints(client)

    def read() -> list[str]:
        return [deployment["id"] for deployment in endpoints.deployments(identity.id)]

    def missing() -> list[str]:
        now = read()
        return [deployment_id for deployment_id in add if deployment_id not in now]

    before = read()
    to_add = [deployment_id for deployment_id in add if deployment_id not in before]
    to_remove = remove in before
    if to_add:
        write_and_confirm(
            client,
            f"Assigning {target} to the deployments {to_add}",
            lambda: endpoints.add_deployments(identity.id, to_add),
            lambda: not missing(),
        )
    if to_remove:
        write_and_confirm(
            client,
            f"Taking {target} from the deployment {remove}",
            lambda: endpoints.remove_deployment(identity.id, remove),
            lambda: remove not in read(),
        )
    after = before
    if to_add or to_remove:
        after, is_applied = read_until(client, read, lambda now: remove not in now and set(to_add) <= set(now))
        if not is_applied:
            raise ChangeNotVisibleError(
                f"Changing the deployments of {target} failed (add {to_add}, remove {[remove] if remove else []}): "
                f"Amplitude accepted the change, but shows {after}. {NOT_SHOWN_NEXT_STEP}"
            )
    return ChangeResult(
        identity.id, identity.key, bool(to_add or to_remove), list(before), list(after), identity.url(client)
    )


def _outcome(id: str, label: str | None, before: Deployment | None, after: Deployment) -> ChangeResult:
    was, now = (_visible(config) if config else None for config in (before, after))
    return ChangeResult(id, label, was != now, was, now)


def _visible(deployment: Deployment) -> Json:
    # Without its `key`, because applications authenticate with the key.
    known: dict[str, Any] = dict(deployment)
    return {name: known.get(name) for name in ("id", "projectId", "label", "deleted")}
