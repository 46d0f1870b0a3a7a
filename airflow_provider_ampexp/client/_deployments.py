"""The 3 endpoints of deployments (contract: *Other endpoints*)."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import _responses as responses
from airflow_provider_ampexp.client._pagination import pages
from airflow_provider_ampexp.client._transport import RetrySafety, Transport
from airflow_provider_ampexp.client.types import Deployment, DeploymentCreateFields, DeploymentEditFields


class DeploymentEndpoints:
    """The deployments of flags and experiments."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Deployment]:
        """Yield all deployments that the key can see, also archived ones (contract: *List deployments*)."""
        for page in pages(self._transport, "deployments", {}, responses.deployment):
            yield from page

    def create(self, fields: DeploymentCreateFields) -> str:
        """Create a deployment and return its id (contract: *Create deployment*)."""
        body = validate.mapping("fields", fields)
        validate.name("projectId", body.get("projectId"))
        validate.label("label", body.get("label"))
        validate.deployment_type("type", body.get("type"))
        validate.json_element("fields", body)
        answer = self._transport.call("POST", "/deployments", body=body, repeat=RetrySafety.ONCE)
        return responses.created(answer)["id"]

    def edit(self, id: str, fields: DeploymentEditFields) -> None:
        """Rename, archive or restore a deployment (contract: *Edit deployment*)."""
        body = validate.mapping("fields", fields)
        if "label" in body:
            validate.label("label", body["label"])
        if "archive" in body:
            validate.switch("archive", body["archive"])
        validate.json_element("fields", body)
        self._transport.call("PATCH", "/deployments/{id}", {"id": id}, body=body)
