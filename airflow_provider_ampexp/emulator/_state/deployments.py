"""The deployments of projects, and their assignment to flags and experiments."""

from __future__ import annotations

from typing import Any

from airflow_provider_ampexp.emulator._state.errors import bad_request, not_found
from airflow_provider_ampexp.emulator._state.flags import Content

Deployment = dict[str, Any]


class Deployments:
    """All deployments of all projects, oldest first."""

    def __init__(self) -> None:
        self._by_id: dict[str, Deployment] = {}

    def add(self, deployment: Deployment) -> None:
        """Add a deployment, or replace the one with the same id."""
        self._by_id[str(deployment["id"])] = deployment

    def newest_first(self) -> list[Deployment]:
        """Return all deployments, also archived ones (contract: List deployments)."""
        return list(reversed(self._by_id.values()))

    def get(self, deployment_id: str) -> Deployment:
        """Return the deployment of this id, or raise a 404."""
        if deployment_id not in self._by_id:
            raise not_found(f"There is no deployment {deployment_id}.")
        return self._by_id[deployment_id]

    def refuse_unknown(self, project_id: str, ids: list[str]) -> None:
        """Raise a 400 for deployments that are unknown, archived or of another project."""
        for number, deployment_id in enumerate(ids):
            found = self._by_id.get(deployment_id)
            if found is None or found["projectId"] != project_id or found["deleted"]:
                raise bad_request(f"deployments.{number}: there is no deployment {deployment_id} to assign.")

    def assigned(self, content: Content) -> list[Deployment]:
        """Contract: List flag or experiment deployments."""
        return [self._by_id[item] for item in content.config["deployments"] if item in self._by_id]


def assign(content: Content, ids: list[str]) -> None:
    """Contract: Create flag or experiment deployment. A deployment that is already assigned changes nothing."""
    for deployment_id in ids:
        if deployment_id not in content.config["deployments"]:
            content.config["deployments"].append(deployment_id)


def unassign(content: Content, deployment_id: str) -> None:
    """Contract: Remove deployment."""
    if deployment_id not in content.config["deployments"]:
        raise not_found(f"The deployment {deployment_id} is not assigned here.")
    content.config["deployments"].remove(deployment_id)
