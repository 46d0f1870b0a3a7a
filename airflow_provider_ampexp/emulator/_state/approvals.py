"""Approvals: a change gets 200 and then waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_ampexp.emulator._state.errors import not_found
from airflow_provider_ampexp.emulator._state.flags import Content, ManagedObject

Hold = Literal["all", "percentages", "segments", "none"]
Work = Callable[[Content], None]

_HELD_FIELDS: dict[str, frozenset[str]] = {
    "percentages": frozenset({"rolloutPercentage"}),
    "segments": frozenset({"targetSegments"}),
    "none": frozenset(),
}


@dataclass
class Pending:
    """A change that waits."""

    id: str
    thing: ManagedObject
    action: str
    fields: dict[str, Any]
    by: str
    at: str
    work: Work

    def view(self) -> dict[str, Any]:
        """Return the change for ``GET /_emulator/approvals``."""
        return {
            "id": self.id,
            "kind": self.thing.kind,
            "objectId": self.thing.id,
            "objectKey": self.thing.config["key"],
            "action": self.action,
            "fields": self.fields,
            "by": self.by,
            "at": self.at,
        }


class Approvals:
    """The kinds of changes to hold, and the changes that wait."""

    def __init__(self) -> None:
        self.hold: Hold = "none"
        self._pending: dict[str, Pending] = {}
        self._count = 0

    def holds_everything(self) -> bool:
        """Return true if each write to an object waits."""
        return self.hold == "all"

    def split(self, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields of an edit that wait, and those that are applied at once."""
        if self.hold == "all":
            return fields, {}
        names = _HELD_FIELDS[self.hold]
        held = {name: value for name, value in fields.items() if name in names}
        return held, {name: value for name, value in fields.items() if name not in names}

    def add(self, thing: ManagedObject, action: str, fields: dict[str, Any], by: str, at: str, work: Work) -> None:
        """Add a waiting change."""
        self._count += 1
        pending = Pending(str(self._count), thing, action, fields, by, at, work)
        self._pending[pending.id] = pending

    def take(self, pending_id: str) -> Pending:
        """Remove and return a waiting change, or raise a 404."""
        if pending_id not in self._pending:
            raise not_found(f"There is no pending change {pending_id}.")
        return self._pending.pop(pending_id)

    def views(self) -> list[dict[str, Any]]:
        """Return the waiting changes, oldest first."""
        return [pending.view() for pending in self._pending.values()]
