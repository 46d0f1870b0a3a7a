"""Create, edit and remove the variants of a flag or experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeExposureChangeOperator
from airflow_provider_ampexp.operators._written_fields import written_fields_of_variant

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import Json, VariantFields
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef, IfExists

__all__ = ["AmplitudeCreateVariantOperator", "AmplitudeEditVariantOperator", "AmplitudeRemoveVariantOperator"]


def _edit_fields(field: str, value: object) -> VariantFields:
    return validate.some(field, arguments.variant_fields(field, value), "fields to change")


class AmplitudeCreateVariantOperator(AmplitudeExposureChangeOperator):
    """Make sure that a variant with this key exists (contract: *Create variant*).

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and these
    (all templated):

    :param variant: the key of the variant
    :param name: the name
    :param description: the description
    :param payload: any JSON element: a dict, a list, a text, a number. A text is sent as a text, also if it comes from
        a template.
    :param rollout_weight: the weight for users in no target segment
    :param if_exists: for an existing variant: ``skip`` (default) leaves the variant as it is; ``update`` sets the given
        fields; ``fail`` fails the task
    :param if_changed_since: when one of these fields was changed, or the variant was removed, after the run was due and
        before it began: ``"fail"`` (default), ``"skip"`` or ``"write"``
    """

    template_fields: Sequence[str] = (
        *AmplitudeExposureChangeOperator.template_fields,
        "variant",
        "name",
        "description",
        "payload",
        "rollout_weight",
        "if_exists",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"payload": "json"}
    what = "create a variant of"

    def __init__(
        self,
        *,
        variant: str,
        name: str | None = None,
        description: str | None = None,
        payload: Json = None,
        rollout_weight: int | str | None = None,
        if_exists: IfExists | str = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        self.name = name
        self.description = description
        self.payload = payload
        self.rollout_weight = rollout_weight
        self.if_exists = if_exists
        arguments.check_literal("variant", variant, arguments.identifier)
        arguments.check_literal("name", name, arguments.optional(arguments.words))
        arguments.check_literal("description", description, arguments.optional(arguments.words))
        arguments.check_literal("payload", payload, arguments.json_element)
        arguments.check_literal("rollout_weight", rollout_weight, arguments.optional(arguments.weight))
        arguments.check_literal("if_exists", if_exists, arguments.if_exists)

    def written_fields(self) -> Sequence[str]:
        """Return the given fields of the variant."""
        fields = self._fields()
        return written_fields_of_variant(fields["key"], fields)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Create the variant, or apply ``if_exists`` to an existing one."""
        if_exists = arguments.if_exists("if_exists", self.if_exists)
        return ensure.ensure_variant(client, target, self._fields(), if_exists=if_exists)

    def _fields(self) -> VariantFields:
        fields: VariantFields = {"key": arguments.identifier("variant", self.variant)}
        if self.name is not None:
            fields["name"] = arguments.words("name", self.name)
        if self.description is not None:
            fields["description"] = arguments.words("description", self.description)
        if self.payload is not None:
            fields["payload"] = arguments.json_element("payload", self.payload)
        if self.rollout_weight is not None:
            fields["rolloutWeight"] = arguments.weight("rollout_weight", self.rollout_weight)
        return fields


class AmplitudeEditVariantOperator(AmplitudeExposureChangeOperator):
    """Set fields of a variant, and leave its other fields as they are (contract: *Edit variant*).

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param fields: in the API's spelling, such as ``{"payload": {"color": "red"}, "rolloutWeight": 2}`` (templated).
        Another ``key`` renames the variant.
    :param if_changed_since: when one of the fields was changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeExposureChangeOperator.template_fields, "variant", "fields")
    template_fields_renderers: ClassVar[dict[str, str]] = {"fields": "json"}
    what = "edit a variant of"

    def __init__(self, *, variant: str, fields: VariantFields | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        self.fields = fields
        arguments.check_literal("variant", variant, arguments.text)
        arguments.check_literal("fields", fields, _edit_fields)

    def written_fields(self) -> Sequence[str]:
        """Return the named fields of the variant."""
        return written_fields_of_variant(arguments.text("variant", self.variant), _edit_fields("fields", self.fields))

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Set the fields of the variant."""
        variant = arguments.text("variant", self.variant)
        return ensure.ensure_variant_fields(client, target, variant, _edit_fields("fields", self.fields))


class AmplitudeRemoveVariantOperator(AmplitudeExposureChangeOperator):
    """Make sure that no variant has this key (contract: *Remove variant*).

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param if_changed_since: when the variant or its weight was changed after the run was due and before it began:
        ``"fail"`` (default), ``"skip"`` or ``"write"`` (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeExposureChangeOperator.template_fields, "variant")
    what = "remove a variant of"

    def __init__(self, *, variant: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        arguments.check_literal("variant", variant, arguments.text)

    def written_fields(self) -> Sequence[str]:
        """Return the variant and its weight. The users of a removed variant get the other variants."""
        variant = arguments.text("variant", self.variant)
        return (f"variants[{variant}]", f"rolloutWeights.{variant}")

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the variant."""
        return ensure.ensure_variant_absent(client, target, arguments.text("variant", self.variant))
