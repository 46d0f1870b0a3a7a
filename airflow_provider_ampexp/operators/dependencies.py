"""Set the dependencies of a flag or experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeExposureChangeOperator

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import ChangeResult, DependencyOperator, FlagRef

__all__ = ["AmplitudeSetDependenciesOperator"]

_operator = arguments.one_of("all", "any")


class AmplitudeSetDependenciesOperator(AmplitudeExposureChangeOperator):
    """Set the flags and experiments that a flag or experiment depends on (``parentDependencies``).

    A user gets a variant only with one of the named variants of each parent. The task replaces the dependencies on
    flags and experiments. A dependency on a mutual exclusion or holdout group stays.

    The task refuses an unknown parent or variant, an archived parent, a parent with remote evaluation for a flag with
    local evaluation, and dependencies that form a circle. Then the task changes nothing.

    The contract does not have this field. It is unknown whether the live service accepts the field in an edit. The task
    reads the field back, and fails if the service does not show the change.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param depends_on: the variants of each parent, by its key or id, such as ``{"checkout-api": ["on"]}`` (templated).
        ``"off"`` stands for the users to whom the parent gives no variant. ``{}`` removes the dependencies.
    :param operator: a user needs ``"all"`` parents (default), or ``"any"`` of them (templated)
    :param if_changed_since: when the dependencies were changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeExposureChangeOperator.template_fields, "depends_on", "operator")
    template_fields_renderers: ClassVar[dict[str, str]] = {"depends_on": "json"}
    what = "set the dependencies of"

    def __init__(
        self,
        *,
        depends_on: Mapping[str, Sequence[str]] | str,
        operator: DependencyOperator | str = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.depends_on = depends_on
        self.operator = operator
        arguments.check_literal("depends_on", depends_on, _depends_on)
        arguments.check_literal("operator", operator, _operator)

    def written_fields(self) -> Sequence[str]:
        """Return the field that the task writes."""
        return ("parentDependencies",)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Set the dependencies."""
        operator = cast("DependencyOperator", _operator("operator", self.operator))
        return ensure.ensure_dependencies(client, target, _depends_on("depends_on", self.depends_on), operator=operator)


def _depends_on(field: str, value: object) -> dict[str, list[str]]:
    """Return the variants of each parent. An empty list is an error: it does not stand for all variants."""
    found = {}
    for name, given in arguments.mapping(field, value).items():
        place = f"{field}.{name}"
        found[arguments.identifier(place, name)] = validate.some(
            place, arguments.texts(place, given), "at least one variant"
        )
    return found
