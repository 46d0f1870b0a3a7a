"""Bring deployments, and who is assigned to them, to a state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client.types import Deployment, DeploymentCreateFields, DeploymentEditFields, Json
from airflow_provider_ampexp.ensure._confirmation import wait_until_visible, write_and_confirm
from airflow_provider_ampexp.ensure._errors import (
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

    :param if_exists: ``skip`` leaves one that exists as it is, ``update`` restores an archived one, ``fail`` refuses
    :raises AlreadyExistsError: also when one exists that is of the other type, which cannot be changed
    """
    project_id = validate.name("projectId", fields.get("projectId"))
    label = validate.label("label", fields.get("label"))
    validate.deployment_type("type", fields.get("type"))

    def find() -> Deployment | None:
        # Labels are not unique: one that is in use goes before an archived one.
        return min(
            (
                one
                for one in client.deployments.list()
                if one.get("label") == label and one.get("projectId") in (None, project_id)
            ),
            key=lambda one: bool(one.get("deleted")),
            default=None,
        )

    existing = find()
    if existing is None:
        write_and_confirm(
            client,
            f"Creating deployment {label!r} of project {project_id}",
            lambda: client.deployments.create(fields),
            lambda: find() is not None,
            a_second_counts=True,
        )
        if not wait_until_visible(client, lambda: find() is not None):
            raise ChangeNotVisibleError(
                f"Deployment {label!r} was created, and Amplitude does not show it. Look there."
            )
        created = cast("Deployment", find())
        return _outcome(created["id"], label, None, created)
    if if_exists == "fail":
        raise AlreadyExistsError(f"Deployment {label!r} of project {project_id} exists already. Nothing was changed.")
    # The contract shows no type; the deployment's key begins with it.
    type = existing.get("type") or str(existing.get("key")).partition("-")[0]
    if type in ("client", "server") and type != fields["type"]:
        raise AlreadyExistsError(
            f"Deployment {label!r} of project {project_id} exists as a {type} deployment, and a type "
            "cannot be changed. Nothing was changed."
        )
    if if_exists == "update" and existing.get("deleted"):
        return ensure_deployment_fields(client, existing["id"], {"archive": False})
    return _outcome(existing["id"], label, existing, existing)


def ensure_deployment_fields(
    client: ManagementClient, deployment_id: str, fields: DeploymentEditFields, *, project_id: str | None = None
) -> ChangeResult:
    """Bring a deployment's label, or whether it is archived, to the wanted values (contract: *Edit deployment*).

    :param project_id: the project that it must belong to
    :raises OtherProjectError: when it belongs to another
    """
    if not fields:
        raise InvalidInputError("label/archive", "nothing to change is named")

    def read() -> Deployment:
        for one in client.deployments.list():
            if one["id"] == deployment_id:
                if project_id is None or one.get("projectId") in (None, project_id):
                    return one
                raise OtherProjectError(
                    f"Deployment {deployment_id} is in project {one.get('projectId')}, not in the named project "
                    f"{project_id}. Nothing was changed. Correct the id, or the project_id of task or connection."
                )
        raise TargetNotFoundError(f"There is no deployment {deployment_id}. Nothing was changed.")

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
    if not wait_until_visible(client, lambda: not differs(read())):
        raise ChangeNotVisibleError(
            f"Deployment {deployment_id} was to be {dict(fields)}. "
            f"Amplitude accepted that, and shows {_visible(read())}."
        )
    after = read()
    return _outcome(deployment_id, after.get("label"), before, after)


def ensure_assigned(client: ManagementClient, target: FlagRef, deployment_ids: Iterable[str]) -> ChangeResult:
    """Make sure that the flag or experiment is assigned to these deployments, among others."""
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
        return [one["id"] for one in endpoints.deployments(identity.id)]

    def missing() -> list[str]:
        now = read()
        return [one for one in add if one not in now]

    before = read()
    to_add = [one for one in add if one not in before]
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

        def applied() -> bool:
            nonlocal after
            after = read()
            return remove not in after and all(one in after for one in to_add)

        if not wait_until_visible(client, applied):
            raise ChangeNotVisibleError(
                f"The deployments of {target} were to change (add {to_add}, remove {[remove] if remove else []}). "
                f"Amplitude accepted that, and shows {after}. Most likely it waits for an approval."
            )
    return ChangeResult(
        identity.id, identity.key, bool(to_add or to_remove), list(before), list(after), identity.url(client)
    )


def _outcome(id: str, label: str | None, before: Deployment | None, after: Deployment) -> ChangeResult:
    was, now = (_visible(one) if one else None for one in (before, after))
    return ChangeResult(id, label, was != now, was, now)


def _visible(deployment: Deployment) -> Json:
    # Not its `key`: applications authenticate with that.
    known: dict[str, Any] = dict(deployment)
    return {name: known.get(name) for name in ("id", "projectId", "label", "deleted")}
