"""How one look at many flags is had for the fewest requests."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client.errors import AuthenticationError, UnexpectedResponseError
from airflow_provider_ampexp.ensure.target import Target
from airflow_provider_ampexp.operators.errors import may_pass

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.fields import FlagConfig, Version
    from airflow_provider_ampexp.client.flags import Kind

FlagId = tuple["Kind", str]
"""A flag or experiment: which of the two, and its id."""

_KINDS: tuple[Kind, ...] = ("flags", "experiments")
_PAGE = 1000
_FEED_IS_TRUSTED_FOR = 600.0  # seconds: nobody promises that every change leaves a version
_FEED_MAY_LAG = timedelta(seconds=10)


@dataclass
class Sight:
    """What a look came to. Who stands in none of these was not seen, since ``trouble`` ended the look before."""

    configs: dict[FlagId, FlagConfig] = field(default_factory=dict)
    unchanged: Set[FlagId] = frozenset()
    """Nothing has happened to these since they were seen last."""
    refused: dict[FlagId, Exception] = field(default_factory=dict)
    """What is wrong with one of them alone: it is gone, or out of the key's reach."""
    trouble: Exception | None = None
    """What is wrong with all of them: the service, the way to it or the key."""
    disconnected: Exception | None = None
    """What is wrong with the connection now, while those who joined before go on with what it was."""


@dataclass(frozen=True)
class _Known:
    """What is known of a flag that was seen.

    :param read_at: when it was read last, on this machine's steady clock
    :param until: up to when nothing of it was missed, on the service's clock; ``None`` if that tells no time
    """

    project_id: str | None
    read_at: float
    until: datetime | None


class Lookout:
    """Sees flags and experiments of one connection, each time in the way that takes the fewest requests.

    There are three: reading each by itself; the list, 1,000 a page; and the feed of versions, which tells what has
    changed since the last look, so that only that need be read. The feed is not in the contract: it is asked for once
    it would save a request, and never again if the service has none.

    It blocks, and is for one thread at a time.
    """

    def __init__(self, client: ManagementClient) -> None:
        self.client = client
        # What each list took last time; before that, the least that it can take.
        self._pages: dict[Kind, float] = dict.fromkeys(_KINDS, 1)
        self._has_feed = True
        self._known: dict[FlagId, _Known] = {}
        self._told: set[tuple[str, str]] = set()
        self._failed: FlagId | None = None

    def look(
        self, due: Set[FlagId], soon: Set[FlagId], watched: Set[FlagId], ending: Set[FlagId] = frozenset()
    ) -> Sight:
        """Look at those that are due, and at what comes along with them.

        :param due: to be seen now
        :param soon: these, and those that would be due before the next look
        :param watched: these, and all others
        :param ending: to be seen with their own fields, even if nothing has happened to them
        """
        began = time.monotonic()
        sight = Sight()
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
        self, sight: Sight, due: Set[FlagId], soon: Set[FlagId], watched: Set[FlagId], ending: Set[FlagId]
    ) -> None:
        vouched_for = {one for one in watched if one not in ending and self._is_fresh(one)}
        if self._has_feed and 1 + self._fewest(due - vouched_for) < self._fewest(soon):
            changed = self._changed(vouched_for)
            if changed is not None:
                sight.unchanged = vouched_for - changed
                due = soon = (due - vouched_for) | changed
        for kind in _KINDS:
            coming = {one for one in soon if one[0] == kind}
            if self._pages[kind] < len(coming):
                sight.configs |= self._listed(kind, coming, watched)
        left = [one for one in due if one not in sight.configs]
        # One whose reading always fails is the last one, so that the others are seen.
        for one in sorted(left, key=lambda one: one == self._failed):
            self._read(sight, one)

    # -- which way --------------------------------------------------------------------------------------------------

    def _fewest(self, wanted: Iterable[FlagId]) -> float:
        """How many requests it takes to see these without the feed."""
        counts = dict.fromkeys(_KINDS, 0)
        for kind, _ in wanted:
            counts[kind] += 1
        return sum(min(count, self._pages[kind]) for kind, count in counts.items())

    def _is_fresh(self, one: FlagId) -> bool:
        """Whether the feed alone can tell what has become of it."""
        known = self._known.get(one)
        return known is not None and known.until is not None and time.monotonic() - known.read_at < _FEED_IS_TRUSTED_FOR

    # -- the three ways ---------------------------------------------------------------------------------------------

    def _read(self, sight: Sight, one: FlagId) -> None:
        kind, id = one
        try:
            sight.configs[one] = Target(kind, id=id).read(self.client)
        except Exception as error:
            if _is_everybodys(error):
                self._failed = one
                raise
            sight.refused[one] = error

    def _listed(self, kind: Kind, wanted: Set[FlagId], watched: Set[FlagId]) -> dict[FlagId, FlagConfig]:
        """Those in the list, page by page until all wanted ones are found.

        Who is not found is read alone, and says for itself what is wrong. It stops after as many pages as that would
        take, which is how it learns how long a list is.
        """
        endpoints = self.client.flags if kind == "flags" else self.client.experiments
        found: dict[FlagId, FlagConfig] = {}
        missing = set(wanted)
        before = self.client.requests.total
        listing = endpoints.list(project_id=self._only_project_of(wanted), include_archived=True)
        try:
            for config in islice(listing, _PAGE * len(wanted)):
                one = (kind, config["id"])
                if one in watched:
                    found[one] = config
                    missing.discard(one)
                    if not missing:
                        break
        except Exception as error:
            if _is_everybodys(error):
                raise
            self._pages[kind] = math.inf
            return {}
        used = self.client.requests.total - before
        stopped_early = bool(missing) and used >= len(wanted)
        self._pages[kind] = 2 * used if stopped_early else used
        return found

    def _changed(self, wanted: Set[FlagId]) -> set[FlagId] | None:
        """Those of them that have a version which was not told before; ``None`` if the feed does not say."""
        since = min(until for one in wanted if (until := self._known[one].until)) - _FEED_MAY_LAG
        try:
            told = {_version_of(version) for version in islice(self.client.feed.versions(since), _PAGE)}
        except Exception as error:
            if _is_everybodys(error) and not isinstance(error, UnexpectedResponseError):
                raise
            self._has_feed = False
            return None
        if len(told) == _PAGE:
            self._told = set()
            return None  # so much has changed that a look at all of them is as good
        news, self._told = told - self._told, told
        return {(kind, id) for id, _ in news for kind in _KINDS} & wanted

    # -- what is remembered -----------------------------------------------------------------------------------------

    def _only_project_of(self, wanted: Iterable[FlagId]) -> str | None:
        """The project of all of these, so that the list need not tell of others."""
        projects = {known.project_id if (known := self._known.get(one)) else None for one in wanted}
        return projects.pop() if len(projects) == 1 else None

    def _remember(self, sight: Sight, began: float, watched: Set[FlagId]) -> None:
        for one in self._known.keys() - watched:
            del self._known[one]
        now = self.client.date
        until = None if now is None else now - timedelta(seconds=time.monotonic() - began)
        for one, config in sight.configs.items():
            self._known[one] = _Known(config.get("projectId"), began, until)
        for one in sight.unchanged:
            known = self._known[one]
            self._known[one] = _Known(known.project_id, known.read_at, until)
        if sight.trouble is not None:
            # What the feed told of them may not have been read.
            self._told = set()


def _version_of(version: Version) -> tuple[str, str]:
    config = version.get("flagConfig")
    if not isinstance(config, dict) or "id" not in config:
        raise UnexpectedResponseError("GET", "/api/1/versions", "It does not say of what it is a version.")
    return config["id"], str(version.get("version"))


def _is_everybodys(error: Exception) -> bool:
    """Whether it says something of the service, the way to it or the key, and not of what was asked for."""
    return may_pass(error) or isinstance(error, AuthenticationError)
