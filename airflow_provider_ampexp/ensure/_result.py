"""The result of a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from airflow_provider_ampexp.client.types import Json


class ChangeResultXCom(TypedDict):
    """A result as the operators return it."""

    id: str
    key: str | None
    changed: bool
    before: Json
    after: Json
    url: str


@dataclass(frozen=True)
class ChangeResult:
    """The state before and after, and if a change was necessary.

    ``key`` is ``None`` if only the id was given and no read was necessary. ``notes`` are remarks for a person, such as
    a change that is not confirmed because the service does not show the field.
    """

    id: str
    key: str | None
    changed: bool
    before: Json
    after: Json
    url: str = ""
    notes: tuple[str, ...] = ()

    def as_xcom(self) -> ChangeResultXCom:
        """Return the result as a dictionary for XCom."""
        return {
            "id": self.id,
            "key": self.key,
            "changed": self.changed,
            "before": self.before,
            "after": self.after,
            "url": self.url,
        }
