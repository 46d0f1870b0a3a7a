"""Read many flags with the fewest requests."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client._errors import AuthenticationError, UnexpectedResponseError
from airflow_provider_ampexp.client._pagination import PageCache
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.exceptions import is_retryable

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig, Version

_ById = defaultdict[str, list[FlagRef]]
_ByKey = dict[tuple[str | None, str | None], FlagRef]

_KINDS: tuple[Kind, ...] = ("flags", "experiments")
_PAGE = 1000
_FEED_IS_TRUSTED_FOR = 600.0  # seconds: the service does not guarantee a version for each change
_FEED_MAY_LAG = timedelta(seconds=10)


@dataclass
class ReadResult:
    """The result of one poll. Flags in none of these fields were not read, because ``error`` ended the poll early."""

    configs: dict[FlagRef, FlagConfig] = field(default_factory=dict)
    unchanged: Set[FlagRef] = frozenset()
    """Flags without a change since the last poll."""
    refused: dict[FlagRef, Exception] = field(default_factory=dict)
    """Errors of single flags: the flag is gone, or the key has no access."""
    error: Exception | None = None
    """The error of all flags: the service, the network or the key."""
    disconnected: Exception | None = None
    """The error of the edited connection. Earlier waits continue with the connection as it was."""


@dataclass(frozen=True)
class _Known:
    """The state of a flag that was read.

    :param id: its id, as in the feed; the flag may be watched by its key
    :param read_at: the time of the last read, on this machine's monotonic clock
    :param until: the time until which all changes are known, on the service's clock; ``None`` without that clock
    """

    id: str
    project_id: str | None
    read_at: float
    until: datetime | None


class BatchReader:
    """Read flags and experiments of one connection, each time in the way with the fewest requests.

    There are three ways: read each flag; read the list, 1,000 a page; or read the versions feed and then only the
    changed flags. The feed is not in the contract. The reader tries the feed when it would save a request, and never
    again if the service does not have the feed.

    Calls block. Use a reader in one thread at a time.

    :param project_id: the project of keys without their own project
    """

    def __init__(self, client: ManagementClient, project_id: str | None = None) -> None:
        self.client = client
        self._project_id = project_id
        # The number of pages of each list at the last time; before that, the minimum.
        self._pages: dict[Kind, float] = dict.fromkeys(_KINDS, 1)
        self._caches: dict[Kind, PageCache[FlagConfig]] = {kind: PageCache() for kind in _KINDS}
        self._has_feed = True
        self._known: dict[FlagRef, _Known] = {}
        self._told: set[tuple[str, str]] = set()
        self._failed: FlagRef | None = None

    def look(
        self, due: Set[FlagRef], soon: Set[FlagRef], watched: Set[FlagRef], needed: Set[FlagRef] = frozenset()
    ) -> ReadResult:
        """Read the due flags, and others that need no more requests.

        :param due: the flags to read now
        :param soon: these, and the flags that are due before the next poll
        :param watched: these, and all other watched flags
        :param needed: flags whose configuration is needed even without a change
        """
        began = time.monotonic()
        result = ReadResult()
        try:
            self._look(result, due, soon, watched, needed)
        except Exception as error:
            result.error = error
        self._remember(result, began, watched)
        return result

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _look(
        self, result: ReadResult, due: Set[FlagRef], soon: Set[FlagRef], watched: Set[FlagRef], needed: Set[FlagRef]
    ) -> None:
        covered_by_feed = {flag for flag in watched if flag not in needed and self._is_fresh(flag)}
        if self._has_feed and covered_by_feed and 1 + self._fewest(due - covered_by_feed) < self._fewest(soon):
            changed = self._changed(covered_by_feed)
            if changed is not None:
                result.unchanged = covered_by_feed - changed
                due = soon = (due - covered_by_feed) | changed
        for kind in _KINDS:
            coming = {flag for flag in soon if flag.kind == kind}
            if self._pages[kind] < len(coming):
                result.configs |= self._listed(kind, coming, watched)
        left = [flag for flag in due if flag not in result.configs]
        # A flag whose read failed comes last, so that the others are read.
        for flag in sorted(left, key=lambda flag: flag == self._failed):
            self._read(result, flag)

    # -- choose a way ------------------------------------------------------------------------------------------------

    def _fewest(self, wanted: Iterable[FlagRef]) -> float:
        """Return the number of requests to read these without the feed."""
        counts = dict.fromkeys(_KINDS, 0)
        for flag in wanted:
            counts[flag.kind] += 1
        return sum(min(count, self._pages[kind]) for kind, count in counts.items())

    def _is_fresh(self, flag: FlagRef) -> bool:
        """Return true if the feed alone shows the changes of this flag."""
        known = self._known.get(flag)
        return known is not None and known.until is not None and time.monotonic() - known.read_at < _FEED_IS_TRUSTED_FOR

    # -- the three ways ---------------------------------------------------------------------------------------------

    def _read(self, result: ReadResult, flag: FlagRef) -> None:
        try:
            result.configs[flag] = replace(flag, project_id=self._project_of(flag)).read(self.client)
        except Exception as error:
            if _affects_connection(error):
                self._failed = flag
                raise
            result.refused[flag] = error

    def _listed(self, kind: Kind, wanted: Set[FlagRef], watched: Set[FlagRef]) -> dict[FlagRef, FlagConfig]:
        """Read the list page by page until all wanted flags are found.

        A flag that is not found is then read by itself, with its own error. The list stops after as many pages as these
        reads would take. This is also how the reader learns the length of the list.
        """
        endpoints = self.client.flags if kind == "flags" else self.client.experiments
        found: dict[FlagRef, FlagConfig] = {}
        missing, twice = set(wanted), set[FlagRef]()
        before = self.client.requests.total
        project_id = self._only_project_of(wanted)
        listing = endpoints.list(project_id=project_id, include_archived=True, cache=self._caches[kind])
        by_id, by_key = self._watched(kind, watched)
        is_sure = all(project_id for _, project_id in by_key)  # a later page may have the same key in another project
        try:
            for config in islice(listing, _PAGE * len(wanted)):
                for flag in self._meant(config, by_id, by_key):
                    if flag in found:
                        twice.add(flag)
                    found[flag] = config
                    missing.discard(flag)
                if not missing and is_sure:
                    break
        except Exception as error:
            if _affects_connection(error):
                raise
            self._pages[kind] = math.inf
            return {}
        used = self.client.requests.total - before
        stopped_early = bool(missing) and used >= len(wanted)
        self._pages[kind] = 2 * used if stopped_early else used
        return {flag: config for flag, config in found.items() if flag not in twice}

    def _watched(self, kind: Kind, watched: Set[FlagRef]) -> tuple[_ById, _ByKey]:
        by_id, by_key = _ById(list), _ByKey()
        for flag in watched:
            if flag.kind != kind:
                continue
            if flag.id is not None:
                by_id[flag.id].append(flag)
            else:
                by_key[flag.key, self._project_of(flag)] = flag
        return by_id, by_key

    def _meant(self, config: FlagConfig, by_id: _ById, by_key: _ByKey) -> Iterator[FlagRef]:
        """Yield the references under which a flag is watched: by its id, by its key, or none."""
        own_project = config.get("projectId")
        for flag in by_id.get(config["id"], ()):
            if self._project_of(flag) in (None, own_project) or own_project is None:
                yield flag
        for project_id in (own_project, None) if by_key else ():
            if (named := by_key.get((config.get("key"), project_id))) is not None:
                yield named

    def _changed(self, wanted: Set[FlagRef]) -> set[FlagRef] | None:
        """Return the flags with a new version; ``None`` if the feed does not show it."""
        since = min(until for flag in wanted if (until := self._known[flag].until)) - _FEED_MAY_LAG
        try:
            told = {_version_of(version) for version in islice(self.client.feed.versions(since), _PAGE)}
        except Exception as error:
            if _affects_connection(error) and not isinstance(error, UnexpectedResponseError):
                raise
            self._has_feed = False
            return None
        if len(told) == _PAGE:
            self._told = set()
            return None  # with so many changes, reading all flags takes no more requests
        news, self._told = told - self._told, told
        ids = {id for id, _ in news}
        return {flag for flag in wanted if self._known[flag].id in ids} if ids else set()

    # -- state -------------------------------------------------------------------------------------------------------

    def _project_of(self, flag: FlagRef) -> str | None:
        return flag.project_id or self._project_id

    def _only_project_of(self, wanted: Iterable[FlagRef]) -> str | None:
        """Return the common project of these, to list only that project."""
        projects = {known.project_id if (known := self._known.get(flag)) else self._project_of(flag) for flag in wanted}
        return projects.pop() if len(projects) == 1 else None

    def _remember(self, result: ReadResult, began: float, watched: Set[FlagRef]) -> None:
        for flag in self._known.keys() - watched:
            del self._known[flag]
        now = self.client.date
        until = None if now is None else now - timedelta(seconds=time.monotonic() - began)
        for flag, config in result.configs.items():
            self._known[flag] = _Known(config["id"], config.get("projectId"), began, until)
        for flag in result.unchanged:
            self._known[flag] = replace(self._known[flag], until=until)
        if result.error is not None:
            # Flags in the feed may not have been read.
            self._told = set()


def _version_of(version: Version) -> tuple[str, str]:
    config = version.get("flagConfig")
    if not isinstance(config, dict) or "id" not in config:
        raise UnexpectedResponseError("GET", "/api/1/versions", "Expected a version with its object.")
    return config["id"], str(version.get("version"))


def _affects_connection(error: Exception) -> bool:
    """Return true if the error is about the service, the network or the key, and not about one flag."""
    return is_retryable(error) or isinstance(error, AuthenticationError)
