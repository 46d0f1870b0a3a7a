"""The 3 endpoints of deployments (contract: *Other endpoints*)."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_ampexp.client import answers, checks
from airflow_provider_ampexp.client.fields import Deployment, DeploymentCreateFields, DeploymentEditFields
from airflow_provider_ampexp.client.paging import pages
from airflow_provider_ampexp.client.transport import Repeat, Transport


class DeploymentEndpoints:
    """The deployments that flags and experiments can be assigned to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Deployment]:
        """Yield all that the key can see, archived ones as well (contract: *List deployments*)."""
        for page in pages(self._transport, "deployments", {}):
            for item in page:
                yield answers.deployment(item)

    def create(self, fields: DeploymentCreateFields) -> str:
        """Create one and return its id (contract: *Create deployment*)."""
        body = checks.mapping("fields", fields)
        checks.name("projectId", body.get("projectId"))
        checks.label("label", body.get("label"))
        checks.deployment_type("type", body.get("type"))
        checks.json_element("fields", body)
        answer = self._transport.call("POST", "/deployments", body=body, repeat=Repeat.ONCE)
        return str(answers.created(answer)["id"])

    def edit(self, id: str, fields: DeploymentEditFields) -> None:
        """Rename, archive or restore one (contract: *Edit deployment*)."""
        body = checks.mapping("fields", fields)
        if "label" in body:
            checks.label("label", body["label"])
        if "archive" in body:
            checks.switch("archive", body["archive"])
        checks.json_element("fields", body)
        self._transport.call("PATCH", "/deployments/{id}", {"id": id}, body=body)
