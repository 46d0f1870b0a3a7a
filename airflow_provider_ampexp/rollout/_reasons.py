"""Why a rollout stops and leaves the flag as it is. Pure."""

from __future__ import annotations

from enum import Enum


class AbortCause(str, Enum):
    """The kind of the reason. Its value is the ``cause`` in records and alerts."""

    ARCHIVED = "archived"
    """The flag is archived."""
    DISABLED = "disabled"
    """Another person disabled the flag, or it is disabled and the rollout may not enable it."""
    DRIFT = "drift"
    """Another person changed the percentage or the audience of the rollout."""
    ROLLED_BACK = "rolled back"
    """An earlier attempt of this task rolled the flag back. A retry does not undo that."""
    UNKNOWN = "unknown"
    """The version history does not show what a retry or a rollback would undo."""
    BEHIND = "behind"
    """The stage before this one was never set."""
    REJECTED = "rejected"
    """A person rejected the next stage."""
    NO_ANSWER = "no answer"
    """The time for an approval is over."""
    HELD = "held"
    """The guardrails held the rollout for longer than ``hold_timeout``."""
    STICKY = "sticky"
    """Sticky bucketing is on, so that a rollback would take the feature from nobody."""
    DECIDED = "decided"
    """The experiment was decided: rollback."""
    OTHERS = "others"
    """The first stage would give the feature to users besides those of the rollout."""
    COHORT = "cohort"
    """A segment may be for a cohort, which cannot be sent back safely."""
