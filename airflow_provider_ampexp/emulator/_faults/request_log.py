"""The log of requests: what was asked, by whom, and how it was answered. Never a key."""

from __future__ import annotations

from collections import Counter
from typing import Any

Entry = dict[str, Any]


class RequestLog:
    """Requests to the API in the order in which they arrived. Control requests are not in it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def arrive(
        self, *, at: str, method: str, path: str, query: str, route: str | None, person: str | None, fault: str | None
    ) -> Entry:
        """Note a request. Its ``status`` is filled in when it is answered, and stays null when it is cut."""
        entry: Entry = {
            "at": at,
            "method": method,
            "path": path,
            "query": query,
            "route": f"{method} {route}" if route else None,
            "status": None,
            "person": person,
            "fault": fault,
        }
        self.entries.append(entry)
        return entry

    def counts(self) -> dict[str, Any]:
        """How many requests each route saw, and how many were answered with which status."""
        return {
            "total": len(self.entries),
            "by_route": dict(Counter(str(entry["route"] or "no such route") for entry in self.entries)),
            "by_status": dict(Counter(str(entry["status"] or "none") for entry in self.entries)),
        }

    def clear(self) -> None:
        """Forget all requests."""
        self.entries.clear()
