"""Read a list page by page, with one page in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from airflow_provider_ampexp.client._optional_fields import version_number
from airflow_provider_ampexp.client._transport import Transport

PAGE_SIZE = 1000  # the contract's maximum

# The newest items come first, so a new item moves others onto the next page. The ids of the last pages identify these
# items. Only this many pages of ids are kept, so memory does not grow with the list.
_PAGES_REMEMBERED = 10


def id_of(item: dict[str, Any]) -> Hashable:
    """Return the identity of a flag, an experiment or a deployment."""
    id = item.get("id")
    return None if id is None else str(id)


def version_of(item: dict[str, Any]) -> Hashable:
    """Return the identity of a version, which has no id."""
    config = item.get("flagConfig")
    return (str(config.get("id")) if isinstance(config, dict) else None, version_number(item))


def pages(
    transport: Transport, name: str, query: Mapping[str, str], identity: Callable[[dict[str, Any]], Hashable] = id_of
) -> Iterator[list[dict[str, Any]]]:
    """Yield page after page of ``GET /{name}``, each item once.

    :param identity: returns the identity of an item; default: its id

    The list ends when ``nextCursor`` is absent, null, empty or a repeated value.
    """
    seen: deque[set[Hashable]] = deque(maxlen=_PAGES_REMEMBERED)
    cursors: set[str] = set()
    cursor = ""
    while True:
        asked = {"limit": str(PAGE_SIZE), **query, **({"cursor": cursor} if cursor else {})}
        answer = transport.call("GET", f"/{name}", query=asked)
        found = answer.json()
        items = found if isinstance(found, list) else found.get(name) if isinstance(found, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise answer.unexpected(f"Expected a list of {name}")
        ids = [identity(item) for item in items]
        present = set(ids)
        if None in present:
            raise answer.unexpected(f"Expected an 'id' in each of the {name}")
        again = set[Hashable]().union(*(present & page for page in seen))
        yield [item for item, id in zip(items, ids, strict=True) if id not in again] if again else items
        following = found.get("nextCursor") if isinstance(found, dict) else None
        cursor = "" if following is None else str(following)
        if not cursor or cursor in cursors:
            return
        cursors.add(cursor)
        seen.append(present)
