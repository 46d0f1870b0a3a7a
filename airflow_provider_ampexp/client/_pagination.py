"""Walking through the pages of a list, one page in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from airflow_provider_ampexp.client._optional_fields import version_number
from airflow_provider_ampexp.client._transport import Transport

PAGE_SIZE = 1000  # what the contract allows at most

# The newest come first, so what is created while paging pushes items from one page onto the next. They are known by
# their ids from the pages before; this many pages of ids are kept, so that memory does not grow with the list.
_PAGES_REMEMBERED = 10


def id_of(item: dict[str, Any]) -> Hashable:
    """What tells flags, experiments and deployments apart."""
    id = item.get("id")
    return None if id is None else str(id)


def version_of(item: dict[str, Any]) -> Hashable:
    """What tells versions apart: they have no ids of their own."""
    config = item.get("flagConfig")
    return (str(config.get("id")) if isinstance(config, dict) else None, version_number(item))


def pages(
    transport: Transport, name: str, query: Mapping[str, str], identity: Callable[[dict[str, Any]], Hashable] = id_of
) -> Iterator[list[dict[str, Any]]]:
    """Yield page after page of ``GET /{name}``, each item once.

    :param identity: what tells items apart; their ids if not given

    Ends when ``nextCursor`` is absent, null or empty, or was seen before.
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
            raise answer.unexpected(f"A list of {name} was expected")
        ids = [identity(item) for item in items]
        present = set(ids)
        if None in present:
            raise answer.unexpected(f"Each of the {name} was expected to have an 'id'")
        again = set[Hashable]().union(*(present & page for page in seen))
        yield [item for item, id in zip(items, ids, strict=True) if id not in again] if again else items
        following = found.get("nextCursor") if isinstance(found, dict) else None
        cursor = "" if following is None else str(following)
        if not cursor or cursor in cursors:
            return
        cursors.add(cursor)
        seen.append(present)
