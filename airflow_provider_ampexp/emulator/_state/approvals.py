"""Approvals: organisations in which a change is accepted with 200 and then waits for a person."""

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
        """What ``GET /_emulator/approvals`` shows."""
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
    """What is held back, and the changes that wait."""

    def __init__(self) -> None:
        self.hold: Hold = "none"
        self._pending: dict[str, Pending] = {}
        self._count = 0

    def holds_everything(self) -> bool:
        """Whether every write to an object waits."""
        return self.hold == "all"

    def split(self, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields of an edit that wait, and those that are carried out at once."""
        if self.hold == "all":
            return fields, {}
        names = _HELD_FIELDS[self.hold]
        held = {name: value for name, value in fields.items() if name in names}
        return held, {name: value for name, value in fields.items() if name not in names}

    def add(self, thing: ManagedObject, action: str, fields: dict[str, Any], by: str, at: str, work: Work) -> None:
        """Let a change wait."""
        self._count += 1
        pending = Pending(str(self._count), thing, action, fields, by, at, work)
        self._pending[pending.id] = pending

    def take(self, pending_id: str) -> Pending:
        """Take a waiting change out, to carry it out or to drop it; or a 404."""
        if pending_id not in self._pending:
            raise not_found(f"There is no pending change {pending_id}.")
        return self._pending.pop(pending_id)

    def views(self) -> list[dict[str, Any]]:
        """The changes that wait, oldest first."""
        return [pending.view() for pending in self._pending.values()]
