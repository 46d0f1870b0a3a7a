"""The arguments that the operators for mutual exclusion groups and holdout groups share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.ensure._group_ref import GroupRef
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeOperator

if TYPE_CHECKING:
    from airflow_provider_ampexp.client._groups import GroupKind
    from airflow_provider_ampexp.client.types import GroupEditFields, Slot, SlotFields

GROUP_WAYS = ("mutex_key", "mutex_id", "holdout_key", "holdout_id")
_OF_A_SLOT = ("experiments", "holdouts", "individuals")
_OF_A_GROUP = ("name", "description", "archive")
_OF_A_HOLDOUT = (*_OF_A_GROUP, "experiments", "individualInclusion", "individualExclusion")
_MOST_SLOTS = 20
_READS: dict[str, Callable[[str, object], Any]] = {
    "percentage": lambda field, value: _share(field, value, 100),
    "name": arguments.text,
    "description": arguments.words,
    "archive": arguments.switch,
}


class AmplitudeGroupOperator(AmplitudeOperator):
    """The base class of operators for one group. Exactly one of the four arguments names the group.

    :param mutex_key: the key of a mutual exclusion group (templated)
    :param mutex_id: the id of a mutual exclusion group (templated)
    :param holdout_key: the key of a holdout group (templated)
    :param holdout_id: the id of a holdout group (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeOperator.template_fields, *GROUP_WAYS)

    def __init__(
        self,
        *,
        mutex_key: str | None = None,
        mutex_id: str | None = None,
        holdout_key: str | None = None,
        holdout_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mutex_key = mutex_key
        self.mutex_id = mutex_id
        self.holdout_key = holdout_key
        self.holdout_id = holdout_id
        # "later" stands for a value that is known only when the task runs. This check counts the given arguments.
        self._group(
            lambda way, value: arguments.identifier(way, value) if arguments.is_literal(value) else "later", None
        )

    def group(self, project_id: str | None) -> GroupRef:
        """Return a reference to the named group, from rendered arguments."""
        return self._group(arguments.identifier, project_id)

    @property
    def group_kind(self) -> GroupKind:
        """The kind of the named group."""
        return "holdouts" if self.mutex_key is None and self.mutex_id is None else "mutexes"

    def _group(self, read: Callable[[str, object], str], project_id: str | None) -> GroupRef:
        given = {way: value for way in GROUP_WAYS if (value := getattr(self, way)) is not None}
        return GroupRef.of(**{way: read(way, value) for way, value in given.items()}, project_id=project_id)


def slot_index(field: str, value: object) -> int:
    """Read the index of a slot: 1, 2, ..."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise InvalidInputError(field, f"expected the index of a slot, such as 1, got {value!r}")
    return int(text)


def slots(field: str, value: object) -> list[Slot]:
    """Read the slots of a new mutual exclusion group: at most 20, with percentages that add up to 100."""
    found = arguments.json_list(field, value)
    if len(found) > _MOST_SLOTS:
        raise InvalidInputError(field, f"expected {_MOST_SLOTS} slots at most, got {len(found)}")
    read = [_read(f"{field}[{place}]", slot, ("percentage", *_OF_A_SLOT)) for place, slot in enumerate(found)]
    for place, slot in enumerate(read):
        validate.require(f"{field}[{place}]", slot, ("percentage",))
    total = sum(slot["percentage"] for slot in read)
    if total != 100:
        raise InvalidInputError(field, f"expected percentages that add up to 100, got {total}")
    return cast("list[Slot]", read)


def holdout_percentage(field: str, value: object) -> int:
    """Read a holdout percentage: a whole number from 1 to 99."""
    return _share(field, value, 99)


def _share(field: str, value: object, most: int) -> int:
    """Read a percentage of the users, from 1 to ``most``."""
    found = arguments.percentage(field, value)
    if not 1 <= found <= most:
        raise InvalidInputError(field, f"expected a whole number from 1 to {most}, got {found}")
    return found


def edit_fields(kind: GroupKind, slot: object, field: str, value: object) -> GroupEditFields | SlotFields:
    """Read the fields of an edit: fields of a slot if ``slot`` is given, otherwise fields of the group."""
    known = _OF_A_SLOT if slot is not None else _OF_A_GROUP if kind == "mutexes" else _OF_A_HOLDOUT
    return cast("GroupEditFields | SlotFields", validate.some(field, _read(field, value, known), "fields to change"))


def _read(field: str, value: object, known: tuple[str, ...]) -> dict[str, Any]:
    found = arguments.mapping(field, value)
    validate.known_names(field, found, known)
    return {name: _READS.get(name, arguments.identifiers)(f"{field}.{name}", item) for name, item in found.items()}
