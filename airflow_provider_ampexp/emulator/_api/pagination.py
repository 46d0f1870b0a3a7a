"""Pages of a list (contract: the query parameters ``limit`` and ``cursor``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_ampexp.emulator._api.json_io import with_ids
from airflow_provider_ampexp.emulator._state.errors import bad_request
from airflow_provider_ampexp.emulator._state.settings import Settings


def page(name: str, items: list[dict[str, Any]], query: Mapping[str, str], settings: Settings) -> Any:
    """Return the page of ``items`` for a query, under the list's name."""
    limit = _whole(query, "limit", settings.default_page_size, 1)
    start = _whole(query, "cursor", 0, 0)
    if settings.bare_arrays:
        return [with_ids(item, settings) for item in items[start:]]
    end = start + min(limit, settings.page_size_cap)
    answer: dict[str, Any] = {name: [with_ids(item, settings) for item in items[start:end]]}
    if end < len(items):
        answer["nextCursor"] = end if settings.numeric_cursor else str(end)
    elif settings.last_page_cursor != "absent":
        answer["nextCursor"] = None if settings.last_page_cursor == "null" else ""
    return answer


def _whole(query: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < least:
        raise bad_request(f"{name}: must be a whole number from {least}.")
    return int(text)
