"""The variants of a flag or experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeTargetChangeOperator

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import Json, VariantFields
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef, IfExists

__all__ = ["AmplitudeCreateVariantOperator", "AmplitudeEditVariantOperator", "AmplitudeRemoveVariantOperator"]


def _edit_fields(field: str, value: object) -> VariantFields:
    return validate.some(field, arguments.variant_fields(field, value), "fields to change")


class AmplitudeCreateVariantOperator(AmplitudeTargetChangeOperator):
    """Make sure that there is a variant with this key (contract: *Create variant*).

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and (all
    templated):

    :param variant: the key of the variant
    :param name: the name
    :param description: the description
    :param payload: any JSON element: a dict, a list, a text, a number. A text is sent as a text, also when a template
        gave it.
    :param rollout_weight: the weight for users in no target segment
    :param if_exists: ``skip`` (default) leaves a variant with this key as it is; ``update`` brings it to the fields
        given here; ``fail`` fails the task
    """

    template_fields: Sequence[str] = (
        *AmplitudeTargetChangeOperator.template_fields,
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

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Create the variant, or do with an existing one as ``if_exists`` says."""
        fields: VariantFields = {"key": arguments.identifier("variant", self.variant)}
        if self.name is not None:
            fields["name"] = arguments.words("name", self.name)
        if self.description is not None:
            fields["description"] = arguments.words("description", self.description)
        if self.payload is not None:
            fields["payload"] = arguments.json_element("payload", self.payload)
        if self.rollout_weight is not None:
            fields["rolloutWeight"] = arguments.weight("rollout_weight", self.rollout_weight)
        return ensure.ensure_variant(client, target, fields, if_exists=arguments.if_exists("if_exists", self.if_exists))


class AmplitudeEditVariantOperator(AmplitudeTargetChangeOperator):
    """Bring fields of a variant to the given values and leave its others as they are (contract: *Edit variant*).

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    :param fields: in the API's spelling, such as ``{"payload": {"color": "red"}, "rolloutWeight": 2}`` (templated).
        Naming another ``key`` renames the variant.
    """

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "variant", "fields")
    template_fields_renderers: ClassVar[dict[str, str]] = {"fields": "json"}
    what = "edit a variant of"

    def __init__(self, *, variant: str, fields: VariantFields | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        self.fields = fields
        arguments.check_literal("variant", variant, arguments.text)
        arguments.check_literal("fields", fields, _edit_fields)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Bring the variant to the fields."""
        variant = arguments.text("variant", self.variant)
        return ensure.ensure_variant_fields(client, target, variant, _edit_fields("fields", self.fields))


class AmplitudeRemoveVariantOperator(AmplitudeTargetChangeOperator):
    """Make sure that there is no variant with this key (contract: *Remove variant*).

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param variant: the key of the variant (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "variant")
    what = "remove a variant of"

    def __init__(self, *, variant: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.variant = variant
        arguments.check_literal("variant", variant, arguments.text)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the variant."""
        return ensure.ensure_variant_absent(client, target, arguments.text("variant", self.variant))
