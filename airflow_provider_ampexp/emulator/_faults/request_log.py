"""The log of requests with actor and status, without keys."""

from __future__ import annotations

from collections import Counter
from typing import Any

Entry = dict[str, Any]


class RequestLog:
    """The requests to the API in order, without control requests."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def arrive(
        self, *, at: str, method: str, path: str, query: str, route: str | None, person: str | None, fault: str | None
    ) -> Entry:
        """Add a request. Its ``status`` is set with the response, and stays null if the connection is cut."""
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
        """Return the numbers of requests by route and by status."""
        return {
            "total": len(self.entries),
            "by_route": dict(Counter(str(entry["route"] or "no such route") for entry in self.entries)),
            "by_status": dict(Counter(str(entry["status"] or "none") for entry in self.entries)),
        }

    def clear(self) -> None:
        """Clear the log."""
        self.entries.clear()
