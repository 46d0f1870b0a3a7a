"""What became of bringing a flag to a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from airflow_provider_ampexp.client.types import Json


class ChangeResultXCom(TypedDict):
    """An outcome as the operators return it."""

    id: str
    key: str | None
    changed: bool
    before: Json
    after: Json
    url: str


@dataclass(frozen=True)
class ChangeResult:
    """What it was before, what it is now, and whether anything had to be changed.

    ``key`` is ``None`` where only the id was given and nothing but the id was needed. ``notes`` are remarks that a
    person should read, such as a field that the service does not show and that therefore could not be confirmed.
    """

    id: str
    key: str | None
    changed: bool
    before: Json
    after: Json
    url: str = ""
    notes: tuple[str, ...] = ()

    def as_xcom(self) -> ChangeResultXCom:
        """The small dictionary that tasks exchange."""
        return {
            "id": self.id,
            "key": self.key,
            "changed": self.changed,
            "before": self.before,
            "after": self.after,
            "url": self.url,
        }
