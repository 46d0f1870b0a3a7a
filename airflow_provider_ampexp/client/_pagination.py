"""Read a list page by page, with one page in memory at a time."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_ampexp.client._optional_fields import version_number

if TYPE_CHECKING:
    from airflow_provider_ampexp.client._transport import ApiResponse, Transport

T = TypeVar("T")

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


@dataclass(frozen=True)
class _Page(Generic[T]):
    """One page of a list, without items of earlier pages left out."""

    items: list[T]
    ids: list[Hashable]
    next_cursor: str


class PageCache(Generic[T]):
    """The first page of a list that is read again and again, so that an equal response is not parsed again.

    The caller gets the same items, and must not change them.
    """

    def __init__(self) -> None:
        self._digest = b""
        self._page: _Page[T] | None = None

    def read(self, answer: ApiResponse, parse: Callable[[ApiResponse], _Page[T]]) -> _Page[T]:
        """Return the page of a response."""
        digest = hashlib.sha256(answer.body).digest()
        if self._page is None or digest != self._digest:
            self._page, self._digest = parse(answer), digest
        return self._page


def pages(
    transport: Transport,
    name: str,
    query: Mapping[str, str],
    convert: Callable[[dict[str, Any]], T],
    *,
    identity: Callable[[dict[str, Any]], Hashable] = id_of,
    cache: PageCache[T] | None = None,
) -> Iterator[list[T]]:
    """Yield page after page of ``GET /{name}``, each item once.

    :param convert: makes an item of the JSON of one
    :param identity: returns the identity of an item; default: its id
    :param cache: of the first page

    The list ends when ``nextCursor`` is absent, null, empty or a repeated value.
    """

    def parse(answer: ApiResponse) -> _Page[T]:
        found = answer.json()
        items = found if isinstance(found, list) else found.get(name) if isinstance(found, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise answer.unexpected(f"Expected a list of {name}")
        ids = [identity(item) for item in items]
        if None in ids:
            raise answer.unexpected(f"Expected an 'id' in each of the {name}")
        following = found.get("nextCursor") if isinstance(found, dict) else None
        return _Page([convert(item) for item in items], ids, "" if following is None else str(following))

    seen: deque[set[Hashable]] = deque(maxlen=_PAGES_REMEMBERED)
    cursors: set[str] = set()
    cursor = ""
    while True:
        asked = {"limit": str(PAGE_SIZE), **query, **({"cursor": cursor} if cursor else {})}
        answer = transport.call("GET", f"/{name}", query=asked)
        page = parse(answer) if cache is None or cursor else cache.read(answer, parse)
        present = set(page.ids)
        again = set[Hashable]().union(*(present & earlier for earlier in seen))
        yield [item for item, id in zip(page.items, page.ids, strict=True) if id not in again] if again else page.items
        cursor = page.next_cursor
        if not cursor or cursor in cursors:
            return
        cursors.add(cursor)
        seen.append(present)
