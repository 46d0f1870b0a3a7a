"""Bring a mutual exclusion group or a holdout group to a state.

The contract does not have these groups; the live service has them. The API shows no versions of a group, so a change by
another actor between our read and our write of a list cannot be found. Our tasks restore their own changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import UncertainWriteError
from airflow_provider_ampexp.client._optional_fields import slots_of
from airflow_provider_ampexp.client.types import Group, GroupCreateFields, GroupEditFields, Json, SlotFields
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change, read_until
from airflow_provider_ampexp.ensure._creation import find_or_create
from airflow_provider_ampexp.ensure._errors import (
    USE_EXISTING,
    AlreadyExistsError,
    ArchivedError,
    ChangeNotVisibleError,
    MissingFieldError,
    UnconfirmedWriteError,
    WrongStateError,
)
from airflow_provider_ampexp.ensure._group_ref import GroupRef
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._variants import IfExists

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._groups import GroupKind

Part = Mapping[str, Any]
"""A group or a slot, as a read shows it."""

_LISTS = ("experiments", "holdouts", "individuals", "individualInclusion", "individualExclusion")
_FIXED = ("evaluationMode", "bucketingKey", "bucketingSalt", "holdoutPercentage", "slots")


def ensure_group(
    client: ManagementClient, kind: GroupKind, fields: GroupCreateFields, *, if_exists: IfExists = "skip"
) -> ChangeResult:
    """Make sure that the project has a group with this key.

    :param kind: ``mutexes`` (mutual exclusion groups) or ``holdouts`` (holdout groups)
    :param fields: the fields of the new group; ``projectId``, ``key`` and ``name`` are required
    :param if_exists: for an existing group: ``skip`` leaves it, ``update`` sets name and description and adds to its
        lists, ``fail`` raises
    :raises AlreadyExistsError: also with ``update``, when a percentage or another field differs that cannot be changed
    :raises WrongStateError: when the service does not have these groups

    1 request if the group exists and is left, 3 if it is created.
    """
    key = validate.name("key", fields.get("key"))
    ref = GroupRef(kind, key=key, project_id=validate.name("projectId", fields.get("projectId")))
    group, is_new = find_or_create(client, ref, lambda: ref.find(client), lambda: ref.endpoints(client).create(fields))
    if is_new:
        return _result(client, group, None, _shown(group, fields))
    if if_exists == "fail":
        raise AlreadyExistsError(f"The {ref} already exists (id {group['id']}). Nothing was changed. {USE_EXISTING}")
    if group.get("deleted"):
        raise ArchivedError(f"The {ref} already exists and is archived. Nothing was changed. Restore it first.")
    before = _shown(group, fields)
    if if_exists == "skip":
        return _result(client, group, before, before)
    _refuse_fixed(ref, group, fields)
    by_id = GroupRef(kind, id=group["id"])
    done: list[bool] = []
    with mention_sent_change(f"A part of the {ref} was changed", when=lambda: any(done)):
        for place, wanted in _parts(client, by_id, fields):
            done.append(_update(place, place.part_of(group), wanted))
        after = _shown(by_id.read(client), fields) if any(done) else before
    return _result(client, group, before, after)


def ensure_group_fields(
    client: ManagementClient, ref: GroupRef, fields: GroupEditFields | SlotFields, *, slot: int | None = None
) -> ChangeResult:
    """Set the named fields of a group, or the named lists of a slot. Lists replace the whole list.

    :param fields: of a group ``name``, ``description``, ``archive`` and the lists of a holdout group; of a slot
        ``experiments``, ``holdouts`` and ``individuals``
    :param slot: the index of the slot, from 1

    1 request without a change, 3 with a change.
    """
    wanted = validate.some("fields", validate.mapping("fields", fields), "fields to change")
    if wanted.get("archive") and len(wanted) > 1:
        raise InvalidInputError("fields.archive", "expected no other field: an archive ignores the others")
    group = ref.read(client)
    place = Place(client, GroupRef(ref.kind, id=group["id"]), str(ref), slot, shows_archive="archive" in wanted)
    now = place.part_of(group)
    then = place.bring(now, lambda now: _differing(now, wanted))
    return _result(client, group, _shown(now, wanted), _shown(then, wanted))


@dataclass(frozen=True)
class Place:
    """The object that one request edits: a group, or a slot of a group."""

    client: ManagementClient
    ref: GroupRef
    words: str
    slot: int | None = None
    shows_archive: bool = False

    def read(self) -> Part:
        return self.part_of(self.ref.read(self.client))

    def part_of(self, group: Group) -> Part:
        if self.slot is not None:
            return slot_of(group, self.slot, self.words)
        if self.shows_archive and "deleted" not in group:
            # The vendor's example of a mutual exclusion group has no such field. Lists omit archived groups.
            listed = self.ref.endpoints(self.client).list(project_id=group.get("projectId"))
            return {**group, "deleted": all(item["id"] != group["id"] for item in listed)}
        return cast("Part", group)

    def bring(self, now: Part, wrong: Callable[[Part], dict[str, Any]]) -> Part:
        """Write what differs, and read until it is visible. Return the same part if nothing differs."""
        sent = wrong(now)
        if not sent:
            return now
        lost = self.send(sent)
        now, is_applied = read_until(self.client, self.read, lambda now: not wrong(now))
        if is_applied:
            return now
        raise self.not_shown(sent, now, lost)

    def send(self, fields: dict[str, Any]) -> UncertainWriteError | None:
        """Send the fields. Return the error if it is not known whether they were applied."""
        endpoints, id = self.ref.endpoints(self.client), str(self.ref.id)
        try:
            if self.slot is None:
                endpoints.edit(id, cast("GroupEditFields", fields))
            else:
                endpoints.edit_slot(id, self.slot, cast("SlotFields", fields))
        except UncertainWriteError as error:
            return error
        return None

    def not_shown(
        self, sent: dict[str, Any], now: Part, lost: UncertainWriteError | None
    ) -> ChangeNotVisibleError | UnconfirmedWriteError:
        shows = _shown(now, sent)
        if lost is not None:
            return UnconfirmedWriteError(
                f"Updating {self} to {sent} failed: no attempt got a response, and it still shows {shows}. It may "
                f"still be applied. Run this again when the API has recovered. Cause: {lost}"
            )
        return ChangeNotVisibleError(
            f"Updating {self} to {sent} failed: Amplitude accepted the change, but shows {shows}. Check the group in "
            "Amplitude, then run this again."
        )

    def __str__(self) -> str:
        return self.words if self.slot is None else f"slot {self.slot} of {self.words}"


def slot_of(group: Group, index: int, words: str) -> Part:
    """Return a slot by its index.

    :raises WrongStateError: when the group does not have it
    """
    slots = dict(slots_of(group))
    if index not in slots:
        has = f"Its slots are {', '.join(map(str, slots))}" if slots else "It has no slots"
        raise WrongStateError(f"The {words} has no slot {index}. {has}. Nothing was changed. Correct the slot.")
    return slots[index]


def ids_of(part: Part, name: str, words: str) -> list[str]:
    """Return a list of ids, which is written as a whole.

    :raises MissingFieldError: when the read does not show the list, because a write would then remove ids
    """
    found = part.get(name)
    if not isinstance(found, list) or not all(isinstance(member, str) and member.isdigit() for member in found):
        raise MissingFieldError(
            f"Amplitude does not show the {name} of {words} as a list of ids: {found!r}. Nothing was changed. Edit the "
            "group in Amplitude."
        )
    return list(found)


def group_url(client: ManagementClient) -> str:
    """Return the address of the page of groups in Amplitude, as a create returns it."""
    return f"{client.base_url}/amplitude/experiments/grouped-experiments"


def _parts(client: ManagementClient, ref: GroupRef, fields: GroupCreateFields) -> list[tuple[Place, dict[str, Any]]]:
    """Return each part of a group that an update edits, with the fields to set and the lists to add to."""
    of_group = {name: value for name, value in fields.items() if name in ("name", "description", *_LISTS)}
    slots = [
        (Place(client, ref, str(ref), index), {name: slot[name] for name in _LISTS if name in slot})  # type: ignore[literal-required]
        for index, slot in enumerate(fields.get("slots", ()), 1)
    ]
    return [(Place(client, ref, str(ref)), of_group), *slots]


def _update(place: Place, now: Part, wanted: Mapping[str, Any]) -> bool:
    return place.bring(now, lambda part: _missing(place, part, wanted)) is not now


def _missing(place: Place, now: Part, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that differ, and the lists that lack an entry, each with its present entries."""
    found = {}
    for name, value in _differing(now, wanted).items():
        if name not in _LISTS:
            found[name] = value
            continue
        present = now.get(name)
        if not isinstance(present, list):
            raise MissingFieldError(f"Amplitude does not show the {name} of {place}. Check the group in Amplitude.")
        if more := [member for member in map(str, value) if member not in present]:
            found[name] = [*present, *more]
    return found


def _refuse_fixed(ref: GroupRef, group: Group, fields: GroupCreateFields) -> None:
    has, wants = cast("Part", group), cast("Part", fields)
    differ = [
        f"{name} {is_now!r}, not {wanted!r}"
        for name in _FIXED
        if name in wants and (is_now := _value(has, name)) not in (None, wanted := _value(wants, name))
    ]
    for index, slot in enumerate(fields.get("slots", ()), 1):
        for other, part in slots_of(group):
            moved = set(map(str, slot.get("experiments", ()))) & set(part.get("experiments") or ())
            differ += [f"experiment {id} in slot {other}, not {index}" for id in sorted(moved) if other != index]
    if differ:
        raise AlreadyExistsError(
            f"The {ref} already exists with {', and '.join(differ)}. The API cannot change this. Nothing was changed. "
            "Create another group, or correct the fields of the task."
        )


def _differing(now: Part, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if not _same(name, _value(now, name), value)}


def _same(name: str, is_now: Any, wanted: Any) -> bool:
    if name in _LISTS and isinstance(is_now, Sequence) and not isinstance(is_now, str):
        return set(map(str, is_now)) == set(map(str, wanted))
    return bool((is_now or "") == wanted) if name == "description" else bool(is_now == wanted)


def _shown(part: Part | Group | None, names: Mapping[str, Any] | GroupCreateFields) -> Json:
    """Return the visible values of the named fields. ``archive`` of a write is ``deleted`` of a read."""
    return {name: _value(cast("Part", part), name) for name in names if name not in ("projectId", "key")}


def _value(part: Part, name: str) -> Any:
    if name == "slots":
        return [slot.get("percentage") for slot in part.get("slots") or () if isinstance(slot, Mapping)]
    return bool(part.get("deleted", False)) if name == "archive" else part.get(name)


def _result(client: ManagementClient, group: Group, before: Json, after: Json) -> ChangeResult:
    return ChangeResult(group["id"], group.get("key"), before != after, before, after, group_url(client))
