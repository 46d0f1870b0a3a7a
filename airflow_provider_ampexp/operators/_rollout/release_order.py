"""``AmplitudeReleaseOrderOperator``: compare the order of a coordinated release with the live dependencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook


class AmplitudeReleaseOrderOperator(AmplitudeOperator):
    """Fail unless each flag of a coordinated release comes after the flags that it depends on.

    It is the first task of each region of
    :func:`~airflow_provider_ampexp.task_groups.release.coordinated_release`. It writes nothing.

    :param flags: the arguments that name each flag or experiment, in the order of the release (templated)
    :raises AirflowFailException: when the order is wrong, or when a flag does not exist or is archived
    """

    template_fields: Sequence[str] = (*AmplitudeOperator.template_fields, "flags")
    template_fields_renderers: ClassVar[dict[str, str]] = {"flags": "json"}

    def __init__(self, *, flags: Sequence[Mapping[str, str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flags = flags

    def execute(self, context: Context) -> list[str]:
        """Read each flag, and return their keys in the order of the release."""
        from airflow_provider_ampexp.ensure._release_order import check_order
        from airflow_provider_ampexp.operators._errors import error_context

        with error_context("check the order of the release"), self.hook() as hook:
            keys = check_order(hook.client, [self._target(hook, flag) for flag in self.flags])
        self.log.info("The order fits the dependencies: %s.", ", ".join(keys))
        return keys

    def _target(self, hook: AmplitudeExperimentHook, flag: Mapping[str, str]) -> FlagRef:
        given = {name: arguments.text(name, value) for name, value in flag.items()}
        return FlagRef.of(**{"project_id": self.project_of(hook), **given})
