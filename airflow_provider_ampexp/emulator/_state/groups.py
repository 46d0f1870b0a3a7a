"""Mutual exclusion groups and holdout groups, which the contract does not have.

A group lists its experiments. Their own ``parentDependencies`` do not follow a group here.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from airflow_provider_ampexp.emulator._api.request_models import Body, EvaluationMode, Text
from airflow_provider_ampexp.emulator._state.errors import bad_request, not_found

GroupKind = Literal["mutexes", "holdouts"]
MAX_SLOTS = 20


def _id(value: Any) -> str:
    """Return an id as text. The vendor's examples have numbers and strings."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or not (text.isascii() and text.isdigit()):
        raise ValueError("must be an id")
    return text


Ids = list[Annotated[Any, PlainValidator(_id)]]


class SlotFields(Body):
    """The fields of ``PATCH /mutexes/{id}/slots/{slotIndex}``."""

    experiments: Ids = Field(default_factory=list)
    holdouts: Ids = Field(default_factory=list)
    individuals: list[Text] = Field(default_factory=list)


class CreateSlot(SlotFields):
    """A slot of a new group."""

    percentage: Annotated[int, Field(ge=1, le=100)]


class CreateGroup(Body):
    """The fields of both kinds."""

    projectId: Annotated[Any, PlainValidator(_id)]
    name: Text
    key: Text = ""
    description: str = ""
    evaluationMode: EvaluationMode = "remote"
    bucketingKey: str = "amplitude_id"


class CreateMutex(CreateGroup):
    """``POST /mutexes``."""

    bucketingSalt: str = ""
    slots: Annotated[list[CreateSlot], Field(min_length=1, max_length=MAX_SLOTS)]


class CreateHoldout(CreateGroup):
    """``POST /holdouts``."""

    holdoutPercentage: Annotated[int, Field(ge=1, le=99)]
    experiments: Ids = Field(default_factory=list)
    individualInclusion: list[Text] = Field(default_factory=list)
    individualExclusion: list[Text] = Field(default_factory=list)


class EditGroup(Body):
    """``PATCH /mutexes/{id}``."""

    name: Text = ""
    description: str = ""
    archive: bool = False


class EditHoldout(EditGroup):
    """``PATCH /holdouts/{id}``."""

    experiments: Ids = Field(default_factory=list)
    individualInclusion: list[Text] = Field(default_factory=list)
    individualExclusion: list[Text] = Field(default_factory=list)


CREATES: dict[GroupKind, type[CreateGroup]] = {"mutexes": CreateMutex, "holdouts": CreateHoldout}
EDITS: dict[GroupKind, type[EditGroup]] = {"mutexes": EditGroup, "holdouts": EditHoldout}


@dataclass
class Groups:
    """All groups of all projects, oldest first."""

    _by_id: dict[tuple[GroupKind, str], dict[str, Any]] = field(default_factory=dict)

    def oldest_first(self, kind: GroupKind) -> list[dict[str, Any]]:
        """Return all groups of a kind, also archived ones."""
        return [group for (of_kind, _), group in self._by_id.items() if of_kind == kind]

    def newest_first(self, kind: GroupKind) -> list[dict[str, Any]]:
        """Return the groups in use. Lists omit archived groups."""
        return [group for group in self.oldest_first(kind) if not group["deleted"]][::-1]

    def get(self, kind: GroupKind, group_id: str) -> dict[str, Any]:
        """Return the group of this id, also an archived one, or raise a 404."""
        if (kind, group_id) not in self._by_id:
            raise not_found(f"There is no group {group_id} among the {kind}.")
        return self._by_id[kind, group_id]

    def ids(self) -> set[str]:
        """Return the ids of all groups."""
        return {group_id for _, group_id in self._by_id}

    def has_key(self, project_id: str, key: str) -> bool:
        """Return true if a group of the project has the key."""
        return any(group["projectId"] == project_id and group["key"] == key for group in self._by_id.values())

    def create(self, kind: GroupKind, group_id: str, fields: dict[str, Any], salt: str, by: str, at: str) -> None:
        """Add a group with the validated fields of a create."""
        group: dict[str, Any] = {
            "id": group_id,
            "key": f"{'mutex' if kind == 'mutexes' else 'holdout'}-{salt.lower()}",
            "description": None,
            "evaluationMode": "remote",
            "bucketingKey": "amplitude_id",
            "bucketingSalt": salt,
            **({"experiments": [], "individualInclusion": [], "individualExclusion": []} if kind == "holdouts" else {}),
            **deepcopy(fields),
            "deleted": False,
            "createdBy": by,
            "createdAt": at,
        }
        if kind == "mutexes":
            group["slots"] = [_slot(index, slot) for index, slot in enumerate(group["slots"], 1)]
            if sum(slot["percentage"] for slot in group["slots"]) != 100:
                raise bad_request("slots: the percentages must add up to 100.")
        self._by_id[kind, group_id] = {**group, "lastModifiedBy": by, "lastModifiedAt": at}

    def edit(self, kind: GroupKind, group_id: str, fields: dict[str, Any], by: str, at: str) -> None:
        """Set the validated fields of an edit. ``archive: true`` ignores the others."""
        changes = {"archive": True} if fields.get("archive") else fields
        renamed = {"deleted" if name == "archive" else name: value for name, value in changes.items()}
        self.get(kind, group_id).update(deepcopy(renamed), lastModifiedBy=by, lastModifiedAt=at)

    def edit_slot(self, group_id: str, index: str, fields: dict[str, Any], by: str, at: str) -> None:
        """Set the validated fields of a slot, by its index from 1."""
        group = self.get("mutexes", group_id)
        slot = next((slot for slot in group["slots"] if str(slot["index"]) == index), None)
        if slot is None:
            raise not_found(f"There is no slot {index[:20]}.")
        slot.update(deepcopy(fields))
        group.update(lastModifiedBy=by, lastModifiedAt=at)


def _slot(index: int, fields: dict[str, Any]) -> dict[str, Any]:
    named = {"name": f"SLOT {index}", "index": index, "variantKey": f"slot-{index}"}
    return {**named, "experiments": [], "holdouts": [], "individuals": [], "cohorts": [], **fields}
