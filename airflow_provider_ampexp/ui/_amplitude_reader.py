"""Read Amplitude for the page, and count the requests.

The page reads a list and a history at most once in 30 seconds for all viewers together. It has a few threads of its
own, so a slow Amplitude never delays Airflow's API.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar, cast

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import FlagEndpoints, Kind
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.ensure._flag_ref import flag_url
from airflow_provider_ampexp.hooks._connection import ConnectionFields
from airflow_provider_ampexp.ui._ttl_cache import TtlCache

CACHE_TTL = 30.0
_INCLUSIONS_TTL = 300.0  # they change rarely, and each variant takes a request
_TIMEOUT, _RETRY_FOR = 8.0, 3.0  # a person waits for the page
_THREADS = 4
_COUNTED_VARIANTS = 10
_KINDS_OF_REQUESTS = {"flags": "lists", "experiments": "lists", "versions": "histories"}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Read:
    """A result, when it was read, and the difference of the service's clock to this machine's."""

    at: datetime
    ahead: timedelta

    @property
    def now(self) -> datetime:
        """The present time of the service."""
        return datetime.now(timezone.utc) + self.ahead


@dataclass(frozen=True)
class FlagList(Read):
    """All flags and experiments that are not archived, each with its page in Amplitude."""

    found: tuple[tuple[Kind, FlagConfig, str], ...]


@dataclass(frozen=True)
class History(Read):
    """All versions of a flag or experiment, and its page in Amplitude."""

    versions: tuple[Version, ...]
    url: str


class AmplitudeReader:
    """Read with the keys of Airflow's connections. No result has a key.

    :param fields_of: returns the fields of a connection by its id
    :param clock: a monotonic clock in seconds, for the age of a result
    """

    def __init__(
        self, fields_of: Callable[[str], ConnectionFields], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fields_of = fields_of
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="amplitude-rollouts")
        self._lists: TtlCache[FlagList] = TtlCache(CACHE_TTL, self._run, clock=clock)
        self._histories: TtlCache[History] = TtlCache(CACHE_TTL, self._run, clock=clock)
        self._inclusions: TtlCache[dict[str, int]] = TtlCache(_INCLUSIONS_TTL, self._run, clock=clock)
        self._used: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()
        self.began = datetime.now(timezone.utc)

    async def flags(self, connection_id: str) -> FlagList:
        """Return flags and experiments: one list request each, and one more for each further thousand."""
        return await self._lists.get(connection_id, lambda: self._list(connection_id))

    async def history(self, connection_id: str, kind: Kind, flag_id: str) -> History:
        """Return all versions of a flag or experiment: one request."""
        return await self._histories.get(
            (connection_id, kind, flag_id), lambda: self._read_history(connection_id, kind, flag_id)
        )

    async def inclusions(self, connection_id: str, kind: Kind, flag_id: str, variants: list[str]) -> dict[str, int]:
        """Return the number of included users of each variant: one request for each of the first ten variants."""
        counted = tuple(variants[:_COUNTED_VARIANTS])
        return await self._inclusions.get(
            (connection_id, kind, flag_id, counted), lambda: self._count(connection_id, kind, flag_id, counted)
        )

    def used(self, connection_id: str) -> dict[str, int]:
        """Return the number of requests with this connection since the start of the page, by kind."""
        with self._lock:
            return {what: self._used.get(connection_id, Counter())[what] for what in ("lists", "histories", "others")}

    async def _run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _list(self, connection_id: str) -> FlagList:
        with self._connect(connection_id) as client:
            found = [
                (endpoints.kind, config, flag_url(client, config))
                for endpoints in (client.flags, client.experiments)
                for config in endpoints.list()
            ]
            return FlagList(*_clock_of(client), tuple(found))

    def _read_history(self, connection_id: str, kind: Kind, flag_id: str) -> History:
        with self._connect(connection_id) as client:
            versions = _endpoints(client, kind).versions(flag_id)
            newest = max(versions, key=version_number, default=Version())
            config = cast("FlagConfig", {**config_of(newest), "id": flag_id})
            return History(*_clock_of(client), tuple(versions), flag_url(client, config))

    def _count(self, connection_id: str, kind: Kind, flag_id: str, variants: tuple[str, ...]) -> dict[str, int]:
        with self._connect(connection_id) as client:
            endpoints = _endpoints(client, kind)
            return {variant: len(endpoints.inclusions(flag_id, variant)) for variant in variants}

    @contextmanager
    def _connect(self, connection_id: str) -> Iterator[ManagementClient]:
        fields = self._fields_of(connection_id)
        timeout, retry_for = min(fields.timeout, _TIMEOUT), min(fields.retry_for, _RETRY_FOR)
        with fields.connect(timeout=timeout, retry_for=retry_for) as client:
            client.requests.on_each = lambda method, route, outcome: self._sent(connection_id, route)
            yield client

    def _sent(self, connection_id: str, route: str) -> None:
        """Count a request, also a retry."""
        what = _KINDS_OF_REQUESTS.get(route.rpartition("/")[2], "others")
        with self._lock:
            self._used.setdefault(connection_id, Counter())[what] += 1


def _endpoints(client: ManagementClient, kind: Kind) -> FlagEndpoints:
    return client.flags if kind == "flags" else client.experiments


def _clock_of(client: ManagementClient) -> tuple[datetime, timedelta]:
    here = datetime.now(timezone.utc)
    there = client.date or here
    return there, there - here
