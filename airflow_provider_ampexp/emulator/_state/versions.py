"""Versions: each change of a flag or an experiment adds one with the whole configuration."""

from __future__ import annotations

from typing import Any

from airflow_provider_ampexp.emulator._state import flags
from airflow_provider_ampexp.emulator._state.errors import not_found
from airflow_provider_ampexp.emulator._state.flags import ManagedObject
from airflow_provider_ampexp.emulator._state.settings import Settings


def record(thing: ManagedObject, by: str, at: str, settings: Settings) -> None:
    """Add a version with the present configuration."""
    last = thing.versions[-1]["version"] if thing.versions else 0
    # With gaps each second number is missing, but a history still begins at 1.
    step = 2 if settings.version_gaps and thing.versions else 1
    # No copy is necessary: a change works on a copy of the configuration.
    thing.versions.append({"createdAt": at, "createdBy": by, "version": last + step, "flagConfig": thing.config})


def newest_first(thing: ManagedObject, settings: Settings) -> list[dict[str, Any]]:
    """Contract: List versions."""
    return [_view(version, settings) for version in reversed(thing.versions)]


def get(thing: ManagedObject, number: str, settings: Settings) -> dict[str, Any]:
    """Contract: Get version details."""
    for version in thing.versions:
        if str(version["version"]) == number:
            return _view(version, settings)
    raise not_found(f"There is no version {number}.")


def _view(version: dict[str, Any], settings: Settings) -> dict[str, Any]:
    config = flags.shown(version["flagConfig"], settings)
    if config is version["flagConfig"] and not settings.omit_version_fields:
        return version
    kept = {name: value for name, value in config.items() if name not in settings.omit_version_fields}
    return {**version, "flagConfig": kept}
