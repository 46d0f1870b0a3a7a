"""Restore an earlier version of a flag or experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeExposureChangeOperator

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef, Restoration

__all__ = ["AmplitudeRestoreVersionOperator"]

_WRITTEN = ("enabled", "deleted", "rolloutPercentage", "rolloutWeights", "targetSegments", "variants", "deployments")


class AmplitudeRestoreVersionOperator(AmplitudeExposureChangeOperator):
    """Restore the configuration that a flag or experiment had in a version of its history (contract: *Edit*).

    The task first logs each change, and each later edit that the changes undo. It undoes no edit of an actor whom
    ``overwrite`` does not name. It then fails, names the edits, and changes nothing. The API does not show which actor
    the connection's key is, so name that actor, too.

    The task restores the fields of *Edit*, variants, weights and deployments. A variant that was added later stays,
    without a weight. Inclusions and cohorts are in no version, so they stay. A restoration makes new versions. The task
    lowers percentages before it changes weights, and raises percentages after that.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param version: the number of the version (templated)
    :param overwrite: the actors whose later edits may be undone, by their names in the history, such as
        ``["Airflow"]``; or ``True`` for all (templated). Default: ``False``.
    :param fields: restore only these fields, such as ``["targetSegments"]`` (templated). Default: all fields that the
        version shows; a version that does not show the fields that decide exposure is refused.
    :param catch_all: the name of a target segment without conditions on purpose (templated). Any other segment of the
        version without conditions may be for a cohort. A restoration that writes such a segment is refused.
    :param if_changed_since: when such a field was changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)
    """

    template_fields: Sequence[str] = (
        *AmplitudeExposureChangeOperator.template_fields,
        "version",
        "overwrite",
        "fields",
        "catch_all",
    )
    what = "restore a version of"

    def __init__(
        self,
        *,
        version: int | str,
        overwrite: bool | Sequence[str] | str = False,
        fields: Sequence[str] | str | None = None,
        catch_all: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.overwrite = overwrite
        self.fields = fields
        self.catch_all = catch_all
        self._plan: Restoration | None = None
        arguments.check_literal("version", version, _version)
        arguments.check_literal("overwrite", overwrite, _overwrite)
        arguments.check_literal("fields", fields, arguments.field_names)
        arguments.check_literal("catch_all", catch_all, arguments.optional(arguments.text))

    def written_fields(self) -> Sequence[str]:
        """Return the named fields; if none are named, the fields that decide which users get the flag."""
        return arguments.field_names("fields", self.fields) or _WRITTEN

    def sets(self, field: str, value: object) -> bool:
        """Return true if the version has this value."""
        return self._plan is not None and self._plan.sets(field, value)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Restore the version."""
        return ensure.ensure_version(
            client,
            target,
            _version("version", self.version),
            fields=arguments.field_names("fields", self.fields),
            overwrite=_overwrite("overwrite", self.overwrite),
            catch_all=arguments.optional(arguments.text)("catch_all", self.catch_all),
            shown=self._show,
        )

    def _show(self, plan: Restoration) -> None:
        self._plan = plan
        self.log.info("Restoring version %d of %s changes: %s.", plan.version, plan.target, "; ".join(plan.changes()))
        for edit in plan.edits:
            self.log.info(
                "The restoration undoes an edit: %s changed %s from %r to %r (version %d, %s).",
                edit["by"],
                edit["field"],
                edit["from"],
                edit["to"],
                edit["version"],
                edit["at"],
            )


def _version(field: str, value: object) -> int:
    """Read the number of a version, 1 or more."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 18 or not int(text):
        raise InvalidInputError(field, f"expected the number of a version, such as 12, got {value!r}")
    return int(text)


def _overwrite(field: str, value: object) -> bool | list[str]:
    """Read true, false, or a list with the names of actors."""
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false")):
        return arguments.switch(field, value)
    return arguments.texts(field, value)
