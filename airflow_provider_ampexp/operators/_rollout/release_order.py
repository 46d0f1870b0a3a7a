"""``AmplitudeReleaseOrderOperator``: compare the order of a coordinated release with the live dependencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.ensure._flag_ref import FLAG_WAYS, FlagRef
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

_NAMES = (*FLAG_WAYS, "project_id")


class AmplitudeReleaseOrderOperator(AmplitudeOperator):
    """Fail unless each flag of a coordinated release comes after the flags that it depends on.

    It is the first task of each region of
    :func:`~airflow_provider_ampexp.task_groups.release.coordinated_release`. It writes nothing.

    :param flags: the arguments that name each flag or experiment, in the order of the release (templated)
    :raises AirflowFailException: when the order is wrong, or when a flag does not exist or is archived
    """

    template_fields: Sequence[str] = (*AmplitudeOperator.template_fields, "flags")
    template_fields_renderers: ClassVar[dict[str, str]] = {"flags": "json"}

    def __init__(self, *, flags: Sequence[Mapping[str, str]] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flags = flags
        arguments.check_literal("flags", flags, _targets)

    def execute(self, context: Context) -> list[str]:
        """Read each flag, and return their keys in the order of the release."""
        from airflow_provider_ampexp.ensure._release_order import check_order
        from airflow_provider_ampexp.operators._errors import error_context

        with error_context("check the order of the release"), self.hook() as hook:
            project = self.project_of(hook)
            targets = _targets("flags", self.flags)
            keys = check_order(
                hook.client, [replace(target, project_id=target.project_id or project) for target in targets]
            )
        self.log.info("The order fits the dependencies: %s.", ", ".join(keys))
        return keys


def _targets(field: str, value: object) -> list[FlagRef]:
    """Read which flags and experiments are named, before the project of the connection is known.

    :raises InvalidInputError: names the flag
    """
    listed = validate.some(field, arguments.json_list(field, value), "at least one flag")
    return [_target(f"{field}[{place}]", flag) for place, flag in enumerate(listed)]


def _target(field: str, value: object) -> FlagRef:
    given = arguments.mapping(field, value)
    for name in given:
        if name not in _NAMES:
            raise InvalidInputError(f"{field}.{name}", f"names no flag{validate.nearest(name, _NAMES)}")
    target = {name: arguments.identifier(f"{field}.{name}", item) for name, item in given.items()}
    try:
        return FlagRef.of(**target)
    except InvalidInputError as error:
        raise InvalidInputError(field, str(error)) from None
