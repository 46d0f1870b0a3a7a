"""How one look at many flags is had for the fewest requests."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.client._errors import AuthenticationError, UnexpectedResponseError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.exceptions import is_retryable

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig, Version

_KINDS: tuple[Kind, ...] = ("flags", "experiments")
_PAGE = 1000
_FEED_IS_TRUSTED_FOR = 600.0  # seconds: nobody promises that every change leaves a version
_FEED_MAY_LAG = timedelta(seconds=10)


@dataclass
class ReadResult:
    """What a look came to. Who stands in none of these was not seen, since ``trouble`` ended the look before."""

    configs: dict[FlagRef, FlagConfig] = field(default_factory=dict)
    unchanged: Set[FlagRef] = frozenset()
    """Nothing has happened to these since they were seen last."""
    refused: dict[FlagRef, Exception] = field(default_factory=dict)
    """What is wrong with one of them alone: it is gone, or out of the key's reach."""
    trouble: Exception | None = None
    """What is wrong with all of them: the service, the way to it or the key."""
    disconnected: Exception | None = None
    """What is wrong with the connection now, while those who joined before go on with what it was."""


@dataclass(frozen=True)
class _Known:
    """What is known of a flag that was seen.

    :param id: its id, which the feed tells; it may be watched by its key
    :param read_at: when it was read last, on this machine's steady clock
    :param until: up to when nothing of it was missed, on the service's clock; ``None`` if that tells no time
    """

    id: str
    project_id: str | None
    read_at: float
    until: datetime | None


class BatchReader:
    """Sees flags and experiments of one connection, each time in the way that takes the fewest requests.

    There are three: reading each by itself; the list, 1,000 a page; and the feed of versions, which tells what has
    changed since the last look, so that only that need be read. The feed is not in the contract: it is asked for once
    it would save a request, and never again if the service has none.

    It blocks, and is for one thread at a time.

    :param project_id: the project in which keys are looked up that name none
    """

    def __init__(self, client: ManagementClient, project_id: str | None = None) -> None:
        self.client = client
        self._project_id = project_id
        # What each list took last time; before that, the least that it can take.
        self._pages: dict[Kind, float] = dict.fromkeys(_KINDS, 1)
        self._has_feed = True
        self._known: dict[FlagRef, _Known] = {}
        self._told: set[tuple[str, str]] = set()
        self._failed: FlagRef | None = None

    def look(
        self, due: Set[FlagRef], soon: Set[FlagRef], watched: Set[FlagRef], ending: Set[FlagRef] = frozenset()
    ) -> ReadResult:
        """Look at those that are due, and at what comes along with them.

        :param due: to be seen now
        :param soon: these, and those that would be due before the next look
        :param watched: these, and all others
        :param ending: to be seen with their own fields, even if nothing has happened to them
        """
        began = time.monotonic()
        sight = ReadResult()
        try:
            self._look(sight, due, soon, watched, ending)
        except Exception as error:
            sight.trouble = error
        self._remember(sight, began, watched)
        return sight

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _look(
        self, sight: ReadResult, due: Set[FlagRef], soon: Set[FlagRef], watched: Set[FlagRef], ending: Set[FlagRef]
    ) -> None:
        covered_by_feed = {one for one in watched if one not in ending and self._is_fresh(one)}
        if self._has_feed and covered_by_feed and 1 + self._fewest(due - covered_by_feed) < self._fewest(soon):
            changed = self._changed(covered_by_feed)
            if changed is not None:
                sight.unchanged = covered_by_feed - changed
                due = soon = (due - covered_by_feed) | changed
        for kind in _KINDS:
            coming = {one for one in soon if one.kind == kind}
            if self._pages[kind] < len(coming):
                sight.configs |= self._listed(kind, coming, watched)
        left = [one for one in due if one not in sight.configs]
        # One whose reading always fails is the last one, so that the others are seen.
        for one in sorted(left, key=lambda one: one == self._failed):
            self._read(sight, one)

    # -- which way --------------------------------------------------------------------------------------------------

    def _fewest(self, wanted: Iterable[FlagRef]) -> float:
        """How many requests it takes to see these without the feed."""
        counts = dict.fromkeys(_KINDS, 0)
        for one in wanted:
            counts[one.kind] += 1
        return sum(min(count, self._pages[kind]) for kind, count in counts.items())

    def _is_fresh(self, one: FlagRef) -> bool:
        """Whether the feed alone can tell what has become of it."""
        known = self._known.get(one)
        return known is not None and known.until is not None and time.monotonic() - known.read_at < _FEED_IS_TRUSTED_FOR

    # -- the three ways ---------------------------------------------------------------------------------------------

    def _read(self, sight: ReadResult, one: FlagRef) -> None:
        try:
            sight.configs[one] = replace(one, project_id=self._project_of(one)).read(self.client)
        except Exception as error:
            if _affects_connection(error):
                self._failed = one
                raise
            sight.refused[one] = error

    def _listed(self, kind: Kind, wanted: Set[FlagRef], watched: Set[FlagRef]) -> dict[FlagRef, FlagConfig]:
        """Those in the list, page by page until all wanted ones are found.

        Who is not found is read alone, and says for itself what is wrong. It stops after as many pages as that would
        take, which is how it learns how long a list is.
        """
        endpoints = self.client.flags if kind == "flags" else self.client.experiments
        found: dict[FlagRef, FlagConfig] = {}
        missing, twice = set(wanted), set[FlagRef]()
        before = self.client.requests.total
        listing = endpoints.list(project_id=self._only_project_of(wanted), include_archived=True)
        names = {(one.key, self._project_of(one)): one for one in watched if one.kind == kind and one.id is None}
        is_sure = all(project_id for _, project_id in names)  # another project may have the same key, further down
        try:
            for config in islice(listing, _PAGE * len(wanted)):
                for one in self._meant(kind, config, watched, names):
                    if one in found:
                        twice.add(one)
                    found[one] = config
                    missing.discard(one)
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
        return {one: config for one, config in found.items() if one not in twice}

    def _meant(
        self, kind: Kind, config: FlagConfig, watched: Set[FlagRef], names: Mapping[tuple[Any, str | None], FlagRef]
    ) -> Iterator[FlagRef]:
        """As what it is watched: by its id, by its key, or not at all."""
        for project_id in {config.get("projectId"), None}:
            by_id = FlagRef(kind, id=config["id"], project_id=project_id)
            if by_id in watched and replace(by_id, project_id=self._project_of(by_id)).is_in_project(config):
                yield by_id
        for project_id in (config.get("projectId"), None) if names else ():
            if (by_key := names.get((config.get("key"), project_id))) is not None:
                yield by_key

    def _changed(self, wanted: Set[FlagRef]) -> set[FlagRef] | None:
        """Those of them that have a version which was not told before; ``None`` if the feed does not say."""
        since = min(until for one in wanted if (until := self._known[one].until)) - _FEED_MAY_LAG
        try:
            told = {_version_of(version) for version in islice(self.client.feed.versions(since), _PAGE)}
        except Exception as error:
            if _affects_connection(error) and not isinstance(error, UnexpectedResponseError):
                raise
            self._has_feed = False
            return None
        if len(told) == _PAGE:
            self._told = set()
            return None  # so much has changed that a look at all of them is as good
        news, self._told = told - self._told, told
        ids = {id for id, _ in news}
        return {one for one in wanted if self._known[one].id in ids} if ids else set()

    # -- what is remembered -----------------------------------------------------------------------------------------

    def _project_of(self, one: FlagRef) -> str | None:
        return one.project_id or self._project_id

    def _only_project_of(self, wanted: Iterable[FlagRef]) -> str | None:
        """The project of all of these, so that the list need not tell of others."""
        projects = {known.project_id if (known := self._known.get(one)) else self._project_of(one) for one in wanted}
        return projects.pop() if len(projects) == 1 else None

    def _remember(self, sight: ReadResult, began: float, watched: Set[FlagRef]) -> None:
        for one in self._known.keys() - watched:
            del self._known[one]
        now = self.client.date
        until = None if now is None else now - timedelta(seconds=time.monotonic() - began)
        for one, config in sight.configs.items():
            self._known[one] = _Known(config["id"], config.get("projectId"), began, until)
        for one in sight.unchanged:
            self._known[one] = replace(self._known[one], until=until)
        if sight.trouble is not None:
            # What the feed told of them may not have been read.
            self._told = set()


def _version_of(version: Version) -> tuple[str, str]:
    config = version.get("flagConfig")
    if not isinstance(config, dict) or "id" not in config:
        raise UnexpectedResponseError("GET", "/api/1/versions", "It does not say of what it is a version.")
    return config["id"], str(version.get("version"))


def _affects_connection(error: Exception) -> bool:
    """Whether it says something of the service, the way to it or the key, and not of what was asked for."""
    return is_retryable(error) or isinstance(error, AuthenticationError)
