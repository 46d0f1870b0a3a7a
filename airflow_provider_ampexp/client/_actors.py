"""The actor of a change, from ``createdBy`` or ``lastModifiedBy``: a text, a number, or an object with a user."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN_ACTOR = "somebody"
_LONGEST = 200


def actor_name(by: object, unknown: str = UNKNOWN_ACTOR) -> str:
    """Return the name of an actor in one line: an e-mail, a name or an id.

    :param by: the value of ``createdBy`` or ``lastModifiedBy``, any JSON value
    :param unknown: returned when the value has no name
    """
    if isinstance(by, Mapping):
        names = (_text(by.get(field)) for field in ("email", "name", "id"))
        return next((name for name in names if name), unknown)
    return _text(by) or unknown


def author_of(version: Mapping[str, object]) -> str:
    """Return author, number and time of a version: ``Maria (version 7, 2026-03-01T13:40:00.000Z)``."""
    return f"{actor_name(version.get('createdBy'))} (version {version.get('version')}, {version.get('createdAt')})"


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return " ".join(str(value).split())[:_LONGEST]
