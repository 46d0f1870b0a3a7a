"""Operators for deployments, and for the assignment of flags and experiments to deployments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp import ensure
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import (
    AmplitudeChangeOperator,
    AmplitudeExposureChangeOperator,
    AmplitudeTargetChangeOperator,
)
from airflow_provider_ampexp.operators._written_fields import is_assigned

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import DeploymentCreateFields, DeploymentEditFields
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef, IfExists
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

__all__ = [
    "AmplitudeAddDeploymentsOperator",
    "AmplitudeCreateDeploymentOperator",
    "AmplitudeEditDeploymentOperator",
    "AmplitudeRemoveDeploymentOperator",
]

# The attribute of the argument `label` is `deployment_label`: the graph shows a task's own attribute `label`.


class AmplitudeCreateDeploymentOperator(AmplitudeChangeOperator):
    """Create a deployment, unless the project has a deployment with this label (contract: *Create deployment*).

    All arguments are templated. ``key`` of the result is the label.

    :param label: the label of the deployment: letters, digits, ``_`` and ``-``
    :param deployment_type: ``client`` or ``server``
    :param project_id: the id of the project (default: the project of the connection)
    :param if_exists: ``skip`` (default) does not change an existing deployment; ``update`` restores an archived
        deployment; ``fail`` fails the task. An existing deployment of the other type always fails the task.
    """

    template_fields: Sequence[str] = (
        *AmplitudeChangeOperator.template_fields,
        "deployment_label",
        "deployment_type",
        "if_exists",
    )
    what = "create"

    def __init__(self, *, label: str, deployment_type: str, if_exists: IfExists | str = "skip", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment_label = label
        self.deployment_type = deployment_type
        self.if_exists = if_exists
        arguments.check_literal("label", label, validate.label)
        arguments.check_literal("deployment_type", deployment_type, validate.deployment_type)
        arguments.check_literal("if_exists", if_exists, arguments.if_exists)

    def described(self) -> str:
        """Return a description of the deployment."""
        return f"deployment {self.deployment_label!r}"

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Create the deployment, or apply ``if_exists`` to an existing deployment."""
        fields: DeploymentCreateFields = {
            "projectId": self.required_project_of(hook),
            "label": validate.label("label", self.deployment_label),
            "type": validate.deployment_type("deployment_type", self.deployment_type),
        }
        if_exists = arguments.if_exists("if_exists", self.if_exists)
        return ensure.ensure_deployment(hook.client, fields, if_exists=if_exists)


class AmplitudeEditDeploymentOperator(AmplitudeChangeOperator):
    """Rename, archive or restore a deployment (contract: *Edit deployment*).

    All arguments are templated.

    :param deployment_id: the id of the deployment
    :param label: the new label (default: no change)
    :param archive: ``True`` archives the deployment, ``False`` restores it, ``None`` (default) changes nothing
    """

    template_fields: Sequence[str] = (
        *AmplitudeChangeOperator.template_fields,
        "deployment_id",
        "deployment_label",
        "archive",
    )
    what = "edit"

    def __init__(
        self, *, deployment_id: str, label: str | None = None, archive: bool | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.deployment_id = deployment_id
        self.deployment_label = label
        self.archive = archive
        if label is None and archive is None:
            raise InvalidInputError("label/archive", "expected at least one field to change, got none")
        arguments.check_literal("deployment_id", deployment_id, arguments.identifier)
        arguments.check_literal("label", label, arguments.optional(validate.label))
        arguments.check_literal("archive", archive, arguments.optional(arguments.switch))

    def described(self) -> str:
        """Return a description of the deployment."""
        return f"deployment {self.deployment_id}"

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Set the given fields of the deployment."""
        fields: DeploymentEditFields = {}
        if self.deployment_label is not None:
            fields["label"] = validate.label("label", self.deployment_label)
        if self.archive is not None:
            fields["archive"] = arguments.switch("archive", self.archive)
        deployment_id = arguments.identifier("deployment_id", self.deployment_id)
        return ensure.ensure_deployment_fields(hook.client, deployment_id, fields, project_id=self.project_of(hook))


class AmplitudeAddDeploymentsOperator(AmplitudeExposureChangeOperator):
    """Assign a flag or experiment to deployments (contract: *Create flag or experiment deployment*).

    Other deployments of the flag or experiment stay. The operator takes the arguments of
    :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param deployment_ids: the ids of the deployments (templated)
    :param if_changed_since: when an actor removed the flag from one of these deployments after the run was due and
        before the run began: ``"fail"`` (default), ``"skip"`` or ``"write"`` (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeExposureChangeOperator.template_fields, "deployment_ids")
    what = "add deployments to"

    def __init__(self, *, deployment_ids: Sequence[str] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment_ids = deployment_ids
        arguments.check_literal("deployment_ids", deployment_ids, arguments.identifiers)

    def written_fields(self) -> Sequence[str]:
        """Return a field for each of these deployments."""
        return [f"deployments[{id}]" for id in arguments.identifiers("deployment_ids", self.deployment_ids)]

    def sets(self, field: str, value: object) -> bool:
        """Return true if the deployment of this field is in the list ``value``: only a removal counts as a change."""
        return is_assigned(field, value)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Assign the flag or experiment to the deployments that it does not have."""
        return ensure.ensure_assigned(client, target, arguments.identifiers("deployment_ids", self.deployment_ids))


class AmplitudeRemoveDeploymentOperator(AmplitudeTargetChangeOperator):
    """Remove a flag or experiment from a deployment (contract: *Remove deployment*).

    The operator takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param deployment_id: the id of the deployment (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "deployment_id")
    what = "remove a deployment from"

    def __init__(self, *, deployment_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deployment_id = deployment_id
        arguments.check_literal("deployment_id", deployment_id, arguments.identifier)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the flag or experiment from the deployment."""
        return ensure.ensure_not_assigned(client, target, arguments.identifier("deployment_id", self.deployment_id))
