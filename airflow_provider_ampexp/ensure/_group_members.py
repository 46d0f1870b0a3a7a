"""Put an experiment into a holdout group or into a slot of a mutual exclusion group, or remove it.

A write replaces the whole list of experiments. Tasks on one machine take turns. A task on another machine can write a
list that it read before our write. So each task reads the list some moments after its write, and repeats a lost write.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import UncertainWriteError
from airflow_provider_ampexp.client._optional_fields import slots_of
from airflow_provider_ampexp.client.types import FlagConfig, Group
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change, wait_until_visible
from airflow_provider_ampexp.ensure._errors import OtherProjectError, UnconfirmedWriteError, WrongStateError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, flag_url
from airflow_provider_ampexp.ensure._group_ref import GroupRef
from airflow_provider_ampexp.ensure._groups import Part, Place, ids_of, slot_of
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._turns import in_turn

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_ROUNDS = 8
_OTHERS_WRITE_WITHIN = 0.5


def ensure_in_group(
    client: ManagementClient, experiment: FlagRef, group: GroupRef, *, slot: int | None = None
) -> ChangeResult:
    """Make sure that an experiment is in a holdout group, or in this slot of a mutual exclusion group.

    2 requests without a change, 4 with a change. ``before`` and ``after`` are the slots in which the experiment is; for
    a holdout group they are true or false.

    :param slot: the index of the slot, from 1; required for a mutual exclusion group
    :raises WrongStateError: when the experiment is in another slot of the group, or the group has no such slot
    :raises OtherProjectError: when the experiment and the group are in different projects
    """
    group.check_slot(slot)
    return _Membership(client, experiment, group, slot, joins=True).reconcile()


def ensure_not_in_group(client: ManagementClient, experiment: FlagRef, group: GroupRef) -> ChangeResult:
    """Make sure that an experiment is not in a holdout group, or in no slot of a mutual exclusion group.

    2 requests without a change, 4 with a change.
    """
    return _Membership(client, experiment, group, None, joins=False).reconcile()


class _Membership:
    """An experiment and a group. A holdout group is its own only slot, with the index ``None``."""

    def __init__(
        self, client: ManagementClient, experiment: FlagRef, group: GroupRef, slot: int | None, *, joins: bool
    ) -> None:
        if experiment.kind != "experiments":
            raise InvalidInputError("flag_key/flag_id", "expected an experiment: only experiments are in groups")
        self._client = client
        self._experiment = experiment
        self._group = group
        self._slot = slot
        self._joins = joins
        self._sent = False

    def reconcile(self) -> ChangeResult:
        """Write the lists until they are as wanted, also some moments after the write."""
        config = self._experiment.read(self._client)
        before: list[int | None] | None = None
        lost: UncertainWriteError | None = None
        with mention_sent_change(f"The {self._group} was changed, or may have been", when=lambda: self._sent):
            for _ in range(_ROUNDS):
                with in_turn(self._client.base_url, self._group.kind):
                    group = self._read(config)
                    now = self._slots_of(group, config["id"])
                    before = now if before is None else before
                    if self._is_so(now):
                        return self._result(config, before, now)
                    lost = self._write(group, config["id"])
                if lost is not None and lost.maybe_in_flight:
                    wait_until_visible(
                        self._client, lambda: self._is_so(self._slots_of(self._read(config), config["id"]))
                    )
                else:
                    time.sleep(_OTHERS_WRITE_WITHIN)
        raise UnconfirmedWriteError(
            f"Updating the {self._group} failed: {_ROUNDS} writes are not visible. Amplitude does not apply them, or "
            f"another actor changes the list at the same time. It may have been applied in part. Check the group in "
            f"Amplitude, then run this again.{f' Cause: {lost}' if lost else ''}"
        )

    def _read(self, config: FlagConfig) -> Group:
        group = self._group.read(self._client)
        projects = [item.get("projectId") for item in (config, group)]
        if None not in projects and projects[0] != projects[1]:
            raise OtherProjectError(
                f"The {self._experiment} is in project {projects[0]}, and the {self._group} in project {projects[1]}. "
                "Nothing was changed. Name an experiment and a group of one project."
            )
        return group

    def _slots_of(self, group: Group, id: str) -> list[int | None]:
        """Return the slots in which the experiment is."""
        if self._group.kind == "mutexes" and self._joins:
            slot_of(group, self._slot or 0, str(self._group))
        return [index for index, part in self._parts(group) if id in ids_of(part, "experiments", self._words(index))]

    def _is_so(self, slots: list[int | None]) -> bool:
        if not self._joins:
            return not slots
        others = [index for index in slots if index != self._slot]
        if others:
            raise WrongStateError(
                f"The {self._experiment} is already in slot {others[0]} of the {self._group}. Nothing was changed. "
                "Remove it from the group first, or name this slot."
            )
        return bool(slots)

    def _write(self, group: Group, id: str) -> UncertainWriteError | None:
        """Write each list that differs. Return the error of a write if it is not known whether it was applied."""
        lost = None
        for index, part in self._parts(group):
            ids = ids_of(part, "experiments", self._words(index))
            wanted = [*ids, id] if self._joins and index == self._slot else [member for member in ids if member != id]
            if wanted != ids:
                place = Place(self._client, GroupRef(self._group.kind, id=group["id"]), str(self._group), index)
                lost = place.send({"experiments": wanted}) or lost
                self._sent = True
        return lost

    def _parts(self, group: Group) -> Sequence[tuple[int | None, Part]]:
        return slots_of(group) if self._group.kind == "mutexes" else [(None, cast("Part", group))]

    def _words(self, index: int | None) -> str:
        return f"the {self._group}" if index is None else f"slot {index} of the {self._group}"

    def _result(self, config: FlagConfig, before: list[int | None], now: list[int | None]) -> ChangeResult:
        was, is_now = (slots if self._group.kind == "mutexes" else bool(slots) for slots in (before, now))
        notes: tuple[str, ...] = ()
        if self._sent and config.get("enabled"):
            notes = (
                f"The {self._experiment} is enabled, and this changes which users get it. Amplitude advises to change "
                "groups before an experiment starts.",
            )
        url = flag_url(self._client, config)
        return ChangeResult(config["id"], config.get("key"), was != is_now, was, is_now, url, notes)
