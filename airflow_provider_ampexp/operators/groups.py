"""Operators for mutual exclusion groups and holdout groups, and for their experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.ensure._group_ref import GroupRef
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeChangeOperator, AmplitudeTargetChangeOperator
from airflow_provider_ampexp.operators._group_arguments import (
    GROUP_WAYS,
    AmplitudeGroupOperator,
    edit_fields,
    slot_index,
)
from airflow_provider_ampexp.operators._group_arguments import holdout_percentage as read_holdout_percentage
from airflow_provider_ampexp.operators._group_arguments import slots as read_slots

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import GroupCreateFields, GroupEditFields, SlotFields
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef, IfExists
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

__all__ = [
    "AmplitudeAddToGroupOperator",
    "AmplitudeCreateHoldoutGroupOperator",
    "AmplitudeCreateMutualExclusionGroupOperator",
    "AmplitudeEditGroupOperator",
    "AmplitudeRemoveFromGroupOperator",
]

_mode = arguments.one_of("local", "remote")
_GROUP_ARGUMENTS: arguments.ArgumentTable = {
    "description": ("description", arguments.words),
    "evaluation_mode": ("evaluationMode", _mode),
    "bucketing_key": ("bucketingKey", arguments.text),
}
_HOLDOUT_ARGUMENTS: arguments.ArgumentTable = {
    "experiment_ids": ("experiments", arguments.identifiers),
    "individual_inclusion": ("individualInclusion", arguments.identifiers),
    "individual_exclusion": ("individualExclusion", arguments.identifiers),
}


class _CreateGroupOperator(AmplitudeChangeOperator):
    """The arguments that the operators for the creation of both kinds of groups share."""

    template_fields: Sequence[str] = (
        *AmplitudeChangeOperator.template_fields,
        *("name", "description", "evaluation_mode", "bucketing_key", "if_exists"),
    )
    what = "create"

    def __init__(
        self,
        *,
        name: str,
        description: str | None = None,
        evaluation_mode: str | None = None,
        bucketing_key: str | None = None,
        if_exists: IfExists | str = "skip",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.description = description
        self.evaluation_mode = evaluation_mode
        self.bucketing_key = bucketing_key
        self.if_exists = if_exists
        arguments.check_literal("name", name, arguments.text)
        arguments.check_table(self, _GROUP_ARGUMENTS)
        arguments.check_literal("if_exists", if_exists, arguments.if_exists)

    def fields(self, hook: AmplitudeExperimentHook) -> GroupCreateFields:
        """Return the fields that both kinds of groups have, except the key."""
        named = {"projectId": self.required_project_of(hook), "name": arguments.text("name", self.name)}
        return cast("GroupCreateFields", {**named, **arguments.given_fields(self, _GROUP_ARGUMENTS)})

    @property
    def wanted_if_exists(self) -> IfExists:
        """The action for an existing group."""
        return arguments.if_exists("if_exists", self.if_exists)


class AmplitudeCreateMutualExclusionGroupOperator(_CreateGroupOperator):
    """Create a mutual exclusion group, unless the project has a mutual exclusion group with this key.

    A user is in one slot of the group, and gets only the experiments of that slot. The contract does not have these
    groups; the live service has them. All arguments are templated.

    :param mutex_key: the key of the group, which is unique among the flags, experiments and groups of the project
    :param name: the name
    :param slots: up to 20 slots in the API's spelling, such as ``[{"percentage": 30, "experiments": ["123"]},
        {"percentage": 70}]``. The ``percentage`` of a slot is a whole number from 1; the percentages add up to 100. The
        API cannot change them later. Optional fields are the ids of ``experiments`` and ``holdouts``, and
        ``individuals``: user or device ids that are always in the slot.
    :param description: the description
    :param evaluation_mode: ``remote`` or ``local`` (the service's default: ``remote``)
    :param bucketing_key: the user property that decides about the slot (the service's default: ``amplitude_id``)
    :param project_id: the id of the project (default: the project of the connection)
    :param if_exists: ``skip`` (default) does not change an existing group; ``update`` sets the name and the description
        and adds to the lists of the slots; ``fail`` fails the task. With ``update``, the task fails if the group has
        other percentages, another evaluation mode or bucketing key, or one of the experiments in another slot.
    """

    template_fields: Sequence[str] = (*_CreateGroupOperator.template_fields, "mutex_key", "slots")
    template_fields_renderers: ClassVar[dict[str, str]] = {"slots": "json"}

    def __init__(self, *, mutex_key: str, slots: Sequence[Mapping[str, Any]] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mutex_key = mutex_key
        self.slots = slots
        arguments.check_literal("mutex_key", mutex_key, arguments.identifier)
        arguments.check_literal("slots", slots, read_slots)

    def described(self) -> str:
        """Return a description of the group."""
        return f"mutual exclusion group {self.mutex_key!r}"

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Create the group, or apply ``if_exists`` to an existing group."""
        fields = self.fields(hook)
        fields["key"] = arguments.identifier("mutex_key", self.mutex_key)
        fields["slots"] = read_slots("slots", self.slots)
        return ensure.ensure_group(hook.client, "mutexes", fields, if_exists=self.wanted_if_exists)


class AmplitudeCreateHoldoutGroupOperator(_CreateGroupOperator):
    """Create a holdout group, unless the project has a holdout group with this key.

    The holdout percentage of the users gets none of the experiments in the group. The contract does not have these
    groups; the live service has them. All arguments are templated.

    :param holdout_key: the key of the group, which is unique among the flags, experiments and groups of the project
    :param name: the name
    :param holdout_percentage: the percentage of the users who get no experiment of the group, 1 to 99. The API cannot
        change the percentage later.
    :param experiment_ids: the ids of the experiments in the group
    :param individual_inclusion: user or device ids that are always held out
    :param individual_exclusion: user or device ids that are never held out
    :param description: the description
    :param evaluation_mode: ``remote`` or ``local`` (the service's default: ``remote``)
    :param bucketing_key: the user property that decides who is held out (the service's default: ``amplitude_id``)
    :param project_id: the id of the project (default: the project of the connection)
    :param if_exists: ``skip`` (default) does not change an existing group; ``update`` sets the name and the description
        and adds to the lists; ``fail`` fails the task. With ``update``, the task fails if the group has another holdout
        percentage, evaluation mode or bucketing key.
    """

    template_fields: Sequence[str] = (
        *_CreateGroupOperator.template_fields,
        *("holdout_key", "holdout_percentage", "experiment_ids", "individual_inclusion", "individual_exclusion"),
    )

    def __init__(
        self,
        *,
        holdout_key: str,
        holdout_percentage: int | str,
        experiment_ids: Sequence[str] | str | None = None,
        individual_inclusion: Sequence[str] | str | None = None,
        individual_exclusion: Sequence[str] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.holdout_key = holdout_key
        self.holdout_percentage = holdout_percentage
        self.experiment_ids = experiment_ids
        self.individual_inclusion = individual_inclusion
        self.individual_exclusion = individual_exclusion
        arguments.check_literal("holdout_key", holdout_key, arguments.identifier)
        arguments.check_literal("holdout_percentage", holdout_percentage, read_holdout_percentage)
        arguments.check_table(self, _HOLDOUT_ARGUMENTS)

    def described(self) -> str:
        """Return a description of the group."""
        return f"holdout group {self.holdout_key!r}"

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Create the group, or apply ``if_exists`` to an existing group."""
        fields = self.fields(hook)
        fields["key"] = arguments.identifier("holdout_key", self.holdout_key)
        fields["holdoutPercentage"] = read_holdout_percentage("holdout_percentage", self.holdout_percentage)
        fields.update(cast("GroupCreateFields", arguments.given_fields(self, _HOLDOUT_ARGUMENTS)))
        return ensure.ensure_group(hook.client, "holdouts", fields, if_exists=self.wanted_if_exists)


class AmplitudeEditGroupOperator(AmplitudeGroupOperator, AmplitudeChangeOperator):
    """Set fields of a mutual exclusion group, of one of its slots, or of a holdout group.

    Exactly one of the first four arguments names the group. The contract does not have groups; the live service has
    them. All arguments are templated.

    :param mutex_key: the key of a mutual exclusion group
    :param mutex_id: the id of a mutual exclusion group. Name an archived group by its id.
    :param holdout_key: the key of a holdout group
    :param holdout_id: the id of a holdout group
    :param fields: the fields to set, in the API's spelling. A group has ``name``, ``description`` and ``archive``. A
        holdout group also has ``experiments``, ``individualInclusion`` and ``individualExclusion``. A slot has
        ``experiments``, ``holdouts`` and ``individuals``. A list replaces the whole list; an empty list removes all its
        entries.
    :param slot: the index of the slot to edit, from 1 (default: edit the group)
    :param project_id: the id of the project (default: the project of the connection)
    """

    template_fields: Sequence[str] = (*AmplitudeGroupOperator.template_fields, "fields", "slot")
    template_fields_renderers: ClassVar[dict[str, str]] = {"fields": "json"}
    what = "edit"

    def __init__(self, *, fields: Mapping[str, Any] | str, slot: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields = fields
        self.slot = slot
        arguments.check_literal("slot", slot, arguments.optional(slot_index))
        arguments.check_literal("fields", fields, self._read_fields)

    def described(self) -> str:
        """Return a description of the group or the slot."""
        ref = GroupRef(self.group_kind)
        named = next(value for way in GROUP_WAYS if (value := getattr(self, way)) is not None)
        return f"{'' if self.slot is None else f'slot {self.slot} of '}{ref.noun} {named!r}"

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Set the given fields of the group or the slot."""
        fields = self._read_fields("fields", self.fields)
        slot = arguments.optional(slot_index)("slot", self.slot)
        return ensure.ensure_group_fields(hook.client, self.group(self.project_of(hook)), fields, slot=slot)

    def _read_fields(self, field: str, value: object) -> GroupEditFields | SlotFields:
        return edit_fields(self.group_kind, self.slot, field, value)


class _MembershipOperator(AmplitudeTargetChangeOperator, AmplitudeGroupOperator):
    """The arguments of the operators that add an experiment to a group, or remove it from a group."""

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, *GROUP_WAYS)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.flag_key is not None or self.flag_id is not None:
            raise InvalidInputError("flag_key/flag_id", "expected an experiment: only experiments are in groups")


class AmplitudeAddToGroupOperator(_MembershipOperator):
    """Add an experiment to a holdout group, or to a slot of a mutual exclusion group.

    Other experiments of the group stay. The task fails if the experiment is in another slot of the group. The task logs
    a warning if it adds an enabled experiment, because this changes which users get the experiment. ``before`` and
    ``after`` of the result are the slots in which the experiment is; for a holdout group they are true or false. The
    contract does not have groups; the live service has them. All arguments are templated.

    :param experiment_key: the key of the experiment
    :param experiment_id: the id of the experiment
    :param mutex_key: the key of a mutual exclusion group
    :param mutex_id: the id of a mutual exclusion group
    :param holdout_key: the key of a holdout group
    :param holdout_id: the id of a holdout group
    :param slot: the index of the slot, from 1; required for a mutual exclusion group, not allowed for a holdout group
    :param project_id: the id of the project of both (default: the project of the connection)
    """

    template_fields: Sequence[str] = (*_MembershipOperator.template_fields, "slot")
    what = "set the group membership of"

    def __init__(self, *, slot: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slot = slot
        arguments.check_literal("slot", slot, arguments.optional(slot_index))
        GroupRef(self.group_kind).check_slot(slot)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Add the experiment to the list."""
        slot = arguments.optional(slot_index)("slot", self.slot)
        return ensure.ensure_in_group(client, target, self.group(target.project_id), slot=slot)


class AmplitudeRemoveFromGroupOperator(_MembershipOperator):
    """Remove an experiment from a holdout group, or from all slots of a mutual exclusion group.

    The group then no longer limits which users get the experiment. The operator takes the arguments of
    :class:`AmplitudeAddToGroupOperator`, except ``slot``.
    """

    what = "end the group membership of"

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Remove the experiment from each list that has it."""
        return ensure.ensure_not_in_group(client, target, self.group(target.project_id))
