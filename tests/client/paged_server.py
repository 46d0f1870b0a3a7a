"""A list that changes while it is read, behind a real server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .bare_server import Asked, reply

Cursors = Literal["offset", "numeric offset", "place"]
Ends = Literal["absent", "null", "empty", "repeated"]


@dataclass(frozen=True)
class Change:
    """A change between two pages: ``new`` new objects at the front, and the removal of the objects at these places."""

    new: int = 0
    removed: Sequence[int] = ()


@dataclass
class PagedList:
    """The ``answer`` of a bare server: a list of objects, newest first, in pages of ``page_size``."""

    size: int
    page_size: int
    name: str = "flags"
    cursors: Cursors = "offset"
    ends: Ends = "absent"
    numeric_ids: bool = False
    bare_array: bool = False
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = list(range(self.size, 0, -1))
        self.throughout = set(self.ids)
        self.ever = set(self.ids)
        self.asked: list[dict[str, str]] = []
        self._gone: dict[int, int] = {}

    def __call__(self, asked: Asked) -> bytes:
        if self.asked and self.changes:
            self._change(self.changes.pop(0))
        self.asked.append(asked.query)
        cursor = asked.query.get("cursor", "")
        start = self._start(cursor)
        # A bare array has no pages, so it has all objects from the start on.
        end = len(self.ids) if self.bare_array else start + self.page_size
        items = [self.item(object_id) for object_id in self.ids[start:end]]
        if self.bare_array:
            return reply(items)
        answer: dict[str, Any] = {self.name: items}
        if end < len(self.ids):
            answer["nextCursor"] = self._cursor(end)
        elif self.ends != "absent":
            answer["nextCursor"] = {"null": None, "empty": "", "repeated": cursor}[self.ends]
        return reply(answer)

    def item(self, id: int) -> dict[str, Any]:
        return {"id": id if self.numeric_ids else str(id), "key": f"k{id}", "marker": [id]}

    def _change(self, change: Change) -> None:
        for place in sorted({index % len(self.ids) for index in change.removed} if self.ids else (), reverse=True):
            gone = self.ids.pop(place)
            # A cursor that names a removed object continues with the object after it.
            self._gone[gone] = self.ids[place] if place < len(self.ids) else 0
            self.throughout.discard(gone)
        first = max(self.ever, default=0) + 1
        new = list(range(first, first + change.new))
        self.ids[:0] = new[::-1]
        self.ever.update(new)

    def _cursor(self, end: int) -> Any:
        if self.cursors == "place":
            return f"from {self.ids[end]} &=%/ü"
        return end if self.cursors == "numeric offset" else str(end)

    def _start(self, cursor: str) -> int:
        if not cursor:
            return 0
        if self.cursors != "place":
            return int(cursor)
        wanted = int(cursor.split()[1])
        while wanted in self._gone:
            wanted = self._gone[wanted]
        return self.ids.index(wanted) if wanted else len(self.ids)


def ids(found: Iterator[Any]) -> list[int]:
    """Return the ids of the objects that a client yielded. They must be strings."""
    yielded = [item["id"] for item in found]
    assert all(isinstance(object_id, str) for object_id in yielded)
    return [int(object_id) for object_id in yielded]
