"""Tell who wrote a version: this task or another actor. Pure.

The service names the actor of a version by the API key or the person. A task does not know its own name there, and
several tasks can share a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client.types import Version


class Writer(Enum):
    """The author of a version that shows the value of our write."""

    OURS = auto()
    THEIRS = auto()
    UNKNOWN = auto()


def writer_of(version: Version, theirs: Version, as_sent: Iterable[Version]) -> Writer:
    """Tell who wrote the version that came after another actor's change, and shows the value of our write.

    For example, 60 % by us, 0 % by Maria and 60 % by Maria: she wrote the last version, so ours overwrote nothing.

    :param theirs: the version of the change
    :param as_sent: the earlier versions that set our value
    """
    actor, others = _actor_of(version), {_actor_of(earlier) for earlier in as_sent}
    if actor == _actor_of(theirs) and others - {actor}:
        return Writer.THEIRS
    return Writer.UNKNOWN if others or actor == _actor_of(theirs) else Writer.OURS


def _actor_of(version: Version) -> str:
    return actor_name(version.get("createdBy"))
