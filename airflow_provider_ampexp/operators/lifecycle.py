"""Create, edit, enable, disable, archive and restore a flag or experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import (
    AmplitudeExposureChangeOperator,
    AmplitudeIfChangedSinceOperator,
)
from airflow_provider_ampexp.operators._written_fields import creation_sets, written_fields_of_creation

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import CreateFields, EditFields, TargetSegment, VariantFields
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef, IfDependedOn, IfExists
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

__all__ = [
    "AmplitudeArchiveOperator",
    "AmplitudeCreateExperimentOperator",
    "AmplitudeCreateFlagOperator",
    "AmplitudeDisableOperator",
    "AmplitudeEditOperator",
    "AmplitudeEnableOperator",
    "AmplitudeRestoreOperator",
]

_READ_AS = {"archive": "deleted"}
_if_depended_on = arguments.one_of("fail", "archive")


class _AmplitudeCreateOperator(AmplitudeIfChangedSinceOperator):
    """The base of the operators that create a flag or an experiment."""

    template_fields: Sequence[str] = (
        *AmplitudeIfChangedSinceOperator.template_fields,
        "name",
        "description",
        "variants",
        "rollout_weights",
        "target_segments",
        "deployments",
        "evaluation_mode",
        "bucketing_key",
        "if_exists",
        "catch_all",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "variants": "json",
        "rollout_weights": "json",
        "target_segments": "json",
    }
    kind: ClassVar[Kind]

    def __init__(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        variants: Sequence[VariantFields] | str | None = None,
        rollout_weights: Mapping[str, int] | str | None = None,
        target_segments: Sequence[TargetSegment] | str | None = None,
        deployments: Sequence[str] | str | None = None,
        evaluation_mode: str | None = None,
        bucketing_key: str | None = None,
        if_exists: IfExists | str = "skip",
        catch_all: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.description = description
        self.variants = variants
        self.rollout_weights = rollout_weights
        self.target_segments = target_segments
        self.deployments = deployments
        self.evaluation_mode = evaluation_mode
        self.bucketing_key = bucketing_key
        self.if_exists = if_exists
        self.catch_all = catch_all
        arguments.check_table(self, _CREATE_ARGUMENTS)
        arguments.check_literal("catch_all", catch_all, arguments.optional(arguments.text))
        arguments.check_literal("if_exists", if_exists, arguments.if_exists)

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Create the flag or experiment, or apply ``if_exists`` to an existing one."""
        fields = cast("CreateFields", {"projectId": self.required_project_of(hook), **self._fields()})
        if_exists = arguments.if_exists("if_exists", self.if_exists)
        if if_exists == "update":
            target = ensure.FlagRef(self.kind, key=fields["key"], project_id=fields["projectId"])
            self.refuse_if_outdated(hook.client, target)
        catch_all = arguments.optional(arguments.text)("catch_all", self.catch_all)
        return ensure.ensure_created(hook.client, self.kind, fields, if_exists=if_exists, catch_all=catch_all)

    def written_fields(self) -> Sequence[str]:
        """Return the given fields. Each variant, weight and deployment is a field of its own."""
        return written_fields_of_creation(self._fields())

    def sets(self, field: str, value: object) -> bool:
        """Return true if one of the given fields has this path and this value."""
        return creation_sets(self._fields(), field, value)

    def changed_kind(self) -> Kind:
        """Return whether the task creates a flag or an experiment."""
        return self.kind

    def _fields(self) -> dict[str, object]:
        return arguments.given_fields(self, _CREATE_ARGUMENTS)


_CREATE_ARGUMENTS = {
    "name": ("name", arguments.text),
    "description": ("description", arguments.words),
    "variants": ("variants", arguments.variants),
    "rollout_weights": ("rolloutWeights", arguments.weights),
    "target_segments": ("targetSegments", arguments.segments),
    "deployments": ("deployments", arguments.identifiers),
    "evaluation_mode": ("evaluationMode", arguments.one_of("local", "remote")),
    "bucketing_key": ("bucketingKey", arguments.text),
}


class AmplitudeCreateFlagOperator(_AmplitudeCreateOperator):
    """Make sure that the project has a flag with this key (contract: *Create*).

    All arguments are templated. A new flag is disabled, at 0 %.

    :param flag_key: the key
    :param project_id: the id of the project; default: the project of the connection
    :param name: the name; if not given, the service uses the key
    :param description: the description
    :param variants: such as ``[{"key": "on", "payload": {"color": "red"}}]``
    :param rollout_weights: such as ``{"on": 1}``
    :param target_segments: in the API's spelling
    :param deployments: the ids of the deployments to which the flag is assigned
    :param evaluation_mode: ``remote`` or ``local``
    :param bucketing_key: the user property by which users are bucketed
    :param if_exists: for an existing flag: ``skip`` (default) leaves the flag as it is; ``update`` sets the given
        fields, adds variants and deployments, and removes none; ``fail`` fails the task. An archived flag always fails
        the task.
    :param catch_all: the name of a target segment that has no conditions on purpose. The API does not show the
        conditions of a segment for a cohort, so any other segment with a percentage and without conditions is refused.
    :param if_changed_since: with ``if_exists="update"``, when one of the given fields of an existing flag was changed
        after the run was due and before it began: ``"fail"`` (default), ``"skip"`` or ``"write"``
    """

    template_fields: Sequence[str] = (*_AmplitudeCreateOperator.template_fields, "flag_key")
    what = "create"
    kind = "flags"

    def __init__(self, *, flag_key: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flag_key = flag_key
        arguments.check_literal("flag_key", flag_key, arguments.identifier)

    def described(self) -> str:
        """Describe the flag."""
        return f"flag {self.flag_key!r}"

    def _fields(self) -> dict[str, object]:
        return {"key": arguments.identifier("flag_key", self.flag_key), **super()._fields()}


class AmplitudeCreateExperimentOperator(_AmplitudeCreateOperator):
    """Make sure that the project has an experiment with this key (contract: *Create*).

    All arguments are templated. The task takes the arguments of :class:`AmplitudeCreateFlagOperator`, and:

    :param experiment_key: the key, instead of ``flag_key``
    :param experiment_type: ``hypothesis-testing``, ``no-harm``, or another type that the service has
    """

    template_fields: Sequence[str] = (*_AmplitudeCreateOperator.template_fields, "experiment_key", "experiment_type")
    what = "create"
    kind = "experiments"

    def __init__(self, *, experiment_key: str, experiment_type: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experiment_key = experiment_key
        self.experiment_type = experiment_type
        arguments.check_literal("experiment_key", experiment_key, arguments.identifier)
        arguments.check_literal("experiment_type", experiment_type, arguments.optional(arguments.text))

    def described(self) -> str:
        """Describe the experiment."""
        return f"experiment {self.experiment_key!r}"

    def _fields(self) -> dict[str, object]:
        fields = {"key": arguments.identifier("experiment_key", self.experiment_key), **super()._fields()}
        if self.experiment_type is not None:
            fields["experimentType"] = arguments.text("experiment_type", self.experiment_type)
        return fields


class AmplitudeEditOperator(AmplitudeExposureChangeOperator):
    """Set fields of a flag or experiment, and leave all other fields as they are (contract: *Edit*).

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param fields: in the API's spelling, such as ``{"description": "...", "rolloutPercentage": 25}`` (templated).
        ``targetSegments`` and ``tags`` replace the whole list.
    :param catch_all: the name of a target segment that has no conditions on purpose (templated). The API does not show
        the conditions of a segment for a cohort, so any other segment without conditions is refused, unless it is new
        and at 0 %.
    :param if_changed_since: when one of the fields was changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeExposureChangeOperator.template_fields, "fields", "catch_all")
    template_fields_renderers: ClassVar[dict[str, str]] = {"fields": "json"}
    what = "edit"

    def __init__(self, *, fields: EditFields | str, catch_all: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields = fields
        self.catch_all = catch_all
        arguments.check_literal("catch_all", catch_all, arguments.optional(arguments.text))
        arguments.check_literal("fields", fields, arguments.edit_fields)

    def written_fields(self) -> Sequence[str]:
        """Return the named fields. Amplitude shows the field ``archive`` as ``deleted``."""
        return [_READ_AS.get(name, name) for name in arguments.edit_fields("fields", self.fields)]

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Set the fields."""
        catch_all = arguments.optional(arguments.text)("catch_all", self.catch_all)
        return ensure.ensure_fields(client, target, arguments.edit_fields("fields", self.fields), catch_all=catch_all)


class AmplitudeEnableOperator(AmplitudeExposureChangeOperator):
    """Enable a flag or experiment (contract: *Edit*, ``enabled``).

    The percentages of the flag and of its segments decide which users get a variant. The task logs the percentages.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param if_changed_since: when ``enabled`` was changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)
    """

    what = "enable"

    def written_fields(self) -> Sequence[str]:
        """Return the fields that the task writes."""
        return ("enabled",)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Enable the flag or experiment."""
        return ensure.ensure_fields(client, target, {"enabled": True})


class AmplitudeDisableOperator(AmplitudeExposureChangeOperator):
    """Disable a flag or experiment, so that no user gets a variant (contract: *Edit*, ``enabled``).

    Users whom sticky bucketing keeps in a variant lose that variant, too. If the experiment is enabled again, they get
    the variant back, at any percentage. The task logs a warning about that.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param if_changed_since: when ``enabled`` was changed after the run was due and before it began: ``"fail"``,
        ``"skip"`` or ``"write"`` (default) (templated)
    """

    what = "disable"
    if_changed_since_default = "write"  # a task that disables a flag must always work

    def written_fields(self) -> Sequence[str]:
        """Return the fields that the task writes."""
        return ("enabled",)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Disable the flag or experiment."""
        return ensure.ensure_fields(client, target, {"enabled": False})


class AmplitudeArchiveOperator(AmplitudeExposureChangeOperator):
    """Archive a flag or experiment (contract: *Edit*, ``archive``).

    No user gets a variant, and lists omit the flag.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param if_depended_on: when a flag or experiment in use depends on this one (``parentDependencies``), so that its
        users would get no variant either: ``"fail"`` (default) or ``"archive"`` (templated). ``"fail"`` reads the lists
        of flags and of experiments.
    :param if_changed_since: when the flag was archived or restored after the run was due and before it began:
        ``"fail"``, ``"skip"`` or ``"write"`` (default) (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeExposureChangeOperator.template_fields, "if_depended_on")
    what = "archive"
    if_changed_since_default = "write"  # archiving removes users, and adds none

    def __init__(self, *, if_depended_on: IfDependedOn | str = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_depended_on = if_depended_on
        arguments.check_literal("if_depended_on", if_depended_on, _if_depended_on)

    def written_fields(self) -> Sequence[str]:
        """Return the fields that the task writes."""
        return ("deleted",)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Archive the flag or experiment."""
        if_depended_on = cast("IfDependedOn", _if_depended_on("if_depended_on", self.if_depended_on))
        return ensure.ensure_archived(client, target, if_depended_on=if_depended_on)


class AmplitudeRestoreOperator(AmplitudeExposureChangeOperator):
    """Restore an archived flag or experiment (contract: *Edit*, ``archive``).

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param if_changed_since: when the flag was archived or restored after the run was due and before it began:
        ``"fail"`` (default), ``"skip"`` or ``"write"`` (templated)
    """

    what = "restore"

    def written_fields(self) -> Sequence[str]:
        """Return the fields that the task writes."""
        return ("deleted",)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Restore the flag or experiment."""
        return ensure.ensure_fields(client, target, {"archive": False})
