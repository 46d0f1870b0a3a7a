"""The version history of a flag: its exposures, their times, and the actors. Pure.

Any field of a version can be missing. Such a field is ``None`` here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._optional_fields import (
    config_of,
    segments_of,
    tags_of,
    version_number,
    without_odd_fields,
)
from airflow_provider_ampexp.client._timestamps import format_timestamp, parse_timestamp
from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.rollout._audience import WITHOUT_OTHERS, AudienceFields


@dataclass(frozen=True)
class Exposure:
    """The percentage of a flag, and whether it is enabled."""

    percentage: float
    enabled: bool

    @property
    def effective_percentage(self) -> float:
        """The percentage of users who get the feature: 0 for a disabled flag."""
        return self.percentage if self.enabled else 0

    @property
    def reached(self) -> float:
        """The percentage to compare with stages: -1 for a disabled flag, which is before a first stage of 0 % too."""
        return self.percentage if self.enabled else -1

    def __str__(self) -> str:
        return f"{self.percentage:g} %" if self.enabled else f"{self.percentage:g} % (disabled)"


@dataclass(frozen=True)
class FlagSnapshot:
    """One observation of a flag, with its history, newest first. Default: an audience without other users."""

    exposure: Exposure
    archived: bool = False
    history: tuple[VersionEntry, ...] = ()
    tags: tuple[str, ...] = ()
    audience: AudienceFields = field(default_factory=lambda: WITHOUT_OTHERS)

    @property
    def newest_version(self) -> int:
        """The number of the newest version; 0 when the history is empty."""
        return self.history[0].version if self.history else 0


@dataclass(frozen=True)
class VersionEntry:
    """One version. ``exposure`` is ``None`` if the version does not show it. ``audience`` has what it shows."""

    version: int
    at: datetime | None
    by: str
    exposure: Exposure | None
    tags: tuple[str, ...] = ()
    audience: AudienceFields = field(default_factory=AudienceFields)

    def __str__(self) -> str:
        return f"version {self.version} by {self.by} at {format_timestamp(self.at)}"


@dataclass(frozen=True)
class ExposureChange:
    """A change of the exposure, and the version that made it."""

    before: Exposure
    after: Exposure
    entry: VersionEntry

    @property
    def lowers(self) -> bool:
        """Whether the change takes the feature from users, or disables the flag."""
        return self.after.effective_percentage < self.before.effective_percentage or (
            self.before.enabled and not self.after.enabled
        )

    @property
    def raises(self) -> bool:
        return self.after.effective_percentage > self.before.effective_percentage

    def __str__(self) -> str:
        return f"from {self.before} to {self.after} by {self.entry.by} at {format_timestamp(self.entry.at)}"


def exposure_of(config: FlagConfig, segment: str | None) -> Exposure | None:
    """Return the exposure of a configuration; ``None`` if it does not show one. An archived flag counts as disabled."""
    config = without_odd_fields(config)
    percentage: Any = config.get("rolloutPercentage")
    if segment is not None:
        named = [target for target in segments_of(config) if target.get("name") == segment]
        percentage = named[0].get("percentage", 0) if len(named) == 1 else None
    enabled = config.get("enabled")
    if isinstance(percentage, bool) or not isinstance(percentage, int | float) or not isinstance(enabled, bool):
        return None
    return Exposure(percentage, enabled and not config.get("deleted"))


def read_history(
    versions: Iterable[Version], segment: str | None = None, present: Exposure | None = None
) -> tuple[VersionEntry, ...]:
    """Read versions into entries, newest first. Numbers can have gaps.

    :param present: the exposure of the newest version, if that version does not show it
    """
    entries = [
        VersionEntry(
            version=version_number(version),
            at=parse_timestamp(version.get("createdAt")),
            by=actor_name(version.get("createdBy")),
            exposure=exposure_of(config, segment),
            tags=tags_of(config) or (),
            audience=AudienceFields.of(config, segment),
        )
        for version in versions
        for config in [config_of(version)]
    ]
    entries.sort(key=lambda entry: entry.version, reverse=True)
    if entries and entries[0].exposure is None:
        entries[0] = replace(entries[0], exposure=present)
    return tuple(entries)


def observed_at(seen: FlagSnapshot, now: datetime) -> datetime:
    """Return the time of an observation, after all versions that it shows.

    The service's clock has steps of 1 s, so the newest version can be later than ``now``.
    """
    newest = seen.history[0].at if seen.history else None
    return now if newest is None else max(now, newest + timedelta(microseconds=1))


def version_of_exposure(seen: FlagSnapshot) -> VersionEntry | None:
    """Return the version that set the present exposure: the oldest of the newest unbroken row of versions with it.

    A version without a time is left out, which makes the row shorter, never longer. ``None`` if the history is empty,
    or its newest version shows another exposure.
    """
    began = None
    for entry in seen.history:
        if entry.exposure != seen.exposure:
            break
        began = entry if entry.at is not None else began
    return began


def highest_exposure(history: Iterable[VersionEntry], after: datetime) -> float:
    """Return the highest percentage that users got after a moment, as far as the versions show it.

    :param history: versions, newest first
    """
    return max(
        (entry.exposure.effective_percentage for entry in in_effect(history, after) if entry.exposure), default=0.0
    )


def in_effect(history: Iterable[VersionEntry], after: datetime) -> Iterator[VersionEntry]:
    """Yield the versions that were in effect at any time after a moment, newest first.

    :param history: versions, newest first
    """
    replaced_at = None
    for entry in history:
        if replaced_at is not None and replaced_at <= after:
            return
        yield entry
        replaced_at = entry.at or replaced_at


def exposure_changes(history: tuple[VersionEntry, ...], after: datetime | None = None) -> Iterator[ExposureChange]:
    """Yield the changes of the exposure, oldest first; with ``after`` only those made then or later.

    A version without an exposure is left out: the next version with one is compared with the one before. A version
    without a time counts as late, so that no change is left out.
    """
    before: Exposure | None = None
    for entry in reversed(history):
        if entry.exposure is None:
            continue
        if before is not None and before != entry.exposure and (after is None or entry.at is None or entry.at >= after):
            yield ExposureChange(before, entry.exposure, entry)
        before = entry.exposure


def audience_changes(history: tuple[VersionEntry, ...], accepted: int) -> Iterator[tuple[str, VersionEntry]]:
    """Yield each change of the audience that is drift, oldest first, with the version that made it.

    :param accepted: the number of the version whose audience was accepted last
    """
    approved = now = AudienceFields()
    named: set[str] = set()
    for entry in reversed(history):
        now = entry.audience.over(now)
        if entry.version <= accepted:
            approved = now
            continue
        for words in now.drift_from(approved):
            if words not in named:
                named.add(words)
                yield f"{words}, by {entry.by} at {format_timestamp(entry.at)}", entry


def versions_before(history: tuple[VersionEntry, ...], change: ExposureChange) -> tuple[VersionEntry, ...]:
    """Return the versions before a change."""
    return tuple(entry for entry in history if entry.version < change.entry.version)


def made_since(history: tuple[VersionEntry, ...], moment: datetime) -> tuple[VersionEntry, ...]:
    """Return the versions at a time or later, and the one before them; newest first. Empty without such a version.

    A version without a time counts as late.
    """
    late = [place for place, entry in enumerate(history) if entry.at is None or entry.at >= moment]
    return history[: late[-1] + 2] if late else ()
