"""The endpoints of mutual exclusion groups and holdout groups.

The contract does not have these endpoints. The live service has them, other servers return 404.
"""

from __future__ import annotations

import builtins  # here `list` is a method
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import _responses as responses
from airflow_provider_ampexp.client._endpoints import Endpoints
from airflow_provider_ampexp.client._errors import AmbiguousKeyError
from airflow_provider_ampexp.client._pagination import pages
from airflow_provider_ampexp.client._transport import RetrySafety
from airflow_provider_ampexp.client.types import Created, Group, GroupCreateFields, GroupEditFields, SlotFields

GroupKind = Literal["mutexes", "holdouts"]
_LISTS_OF_IDS = ("experiments", "holdouts")


class GroupEndpoints(Endpoints[GroupKind]):
    """The calls for mutual exclusion groups or for holdout groups. ``kind`` is the path."""

    def list(self, *, project_id: str | None = None) -> Iterator[Group]:
        """Iterate over all groups, newest first.

        :param project_id: only groups of this project
        """
        if project_id is not None:
            validate.name("project_id", project_id)
        for page in pages(self._transport, self.kind, {}, responses.group):
            for group in page:
                if project_id is None or group.get("projectId") in (None, project_id):
                    yield group

    def find(self, key: str, *, project_id: str | None = None) -> Group | None:
        """Find a group in use by its key; ``None`` if there is none. Lists omit archived groups.

        :raises AmbiguousKeyError: when several projects have the key and there is no ``project_id``
        """
        validate.name("key", key)
        found = [group for group in self.list(project_id=project_id) if group.get("key") == key]
        if len(found) > 1:
            projects = ", ".join(str(group.get("projectId")) for group in found)
            raise AmbiguousKeyError("GET", f"/api/1/{self.kind}", f"{key!r} is in the projects {projects}.")
        return found[0] if found else None

    def get(self, id: str) -> Group:
        """Read a group."""
        return responses.group(responses.an_object(self._call("GET", "/{id}", id=id)))

    def create(self, fields: GroupCreateFields) -> Created:
        """Create a group. ``projectId`` and ``name`` are required.

        A mutual exclusion group needs ``slots``, whose percentages add up to 100. A holdout group needs
        ``holdoutPercentage``.
        """
        body = _body(fields)
        for required in ("projectId", "name"):
            validate.name(required, body.get(required))
        return responses.created(self._call("POST", "", body=body, repeat=RetrySafety.ONCE))

    def edit(self, id: str, fields: GroupEditFields) -> None:
        """Set the named fields. Lists replace the whole list. ``archive: True`` archives, and sets no other field."""
        self._call("PATCH", "/{id}", id=id, body=_body(fields))

    def edit_slot(self, id: str, index: int, fields: SlotFields) -> None:
        """Set the named lists of a slot of a mutual exclusion group. Slots have the indexes 1, 2, ..."""
        place = str(validate.index("index", index))
        self._call("PATCH", "/{id}/slots/{index}", id=id, index=place, body=_body(fields))


def _body(fields: Mapping[str, Any]) -> dict[str, Any]:
    body = validate.mapping("fields", fields)
    validate.json_element("fields", body)
    return cast("dict[str, Any]", _with_numbers(body))


def _with_numbers(value: Any) -> Any:
    """Return fields with ids as numbers, as in the service's own examples."""
    if isinstance(value, Mapping):
        return {
            name: _as_numbers(item) if name in _LISTS_OF_IDS else _with_numbers(item) for name, item in value.items()
        }
    return [_with_numbers(item) for item in value] if isinstance(value, list | tuple) else value


def _as_numbers(ids: Iterable[Any]) -> builtins.list[Any]:
    texts = [str(id) for id in ids]
    return [int(text) if text.isascii() and text.isdigit() else text for text in texts]
