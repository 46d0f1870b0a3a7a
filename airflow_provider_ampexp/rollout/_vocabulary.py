"""The words of a rollout: verdicts, decisions, kinds of record lines, reasons to stop and to alert. Pure.

Airflow's database, record files and alerts have the values, so a value never changes.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias


class Word(str, Enum):
    """A text of a fixed list. It formats as its value in each version of Python."""

    def __str__(self) -> str:
        return str(self.value)


class Verdict(Word):
    """The verdict of one check of a guardrail."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """The check has no result yet."""
    ERROR = "error"
    """The check did not work. This says nothing about the feature."""


VerdictLike: TypeAlias = Verdict | Literal["pass", "fail", "inconclusive", "error"]


class GuardrailDecision(Word):
    """The demand of one guardrail, or of all together, from the weakest to the strongest."""

    GO = "go"
    """Raise the percentage."""
    WAIT = "wait"
    """Run the check again first."""
    HOLD = "hold"
    """Do not raise until the guardrail passes."""
    ROLL_BACK = "roll back"


class RecordKind(Word):
    """The kind of a line of the record. docs/record.md describes each."""

    RAISE = "raise"
    CHECK = "check"
    ROLLBACK = "rollback"
    LOWERED = "lowered"
    CONFIRMED = "confirmed"
    LEFT = "left"
    NOT_LOWERED = "hold"
    """The rollout failed, and left the flag as it is."""
    STOP = "stop"
    ERROR = "error"
    NOTE = "note"
    PREVIEW = "preview"
    WARNING = "warning"
    STICKY = "sticky"
    PLAN = "plan"
    APPROVAL_REQUEST = "approval_asked"
    APPROVAL = "approval"


class AbortCause(Word):
    """Why a rollout stops and leaves the flag as it is. The value is the ``cause`` in records and alerts."""

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
    PREDECESSOR_NOT_SET = "predecessor not set"
    """The stage before this one was never set."""
    NOTHING_RAISED = "nothing raised"
    """A group has nothing to roll back, because its run raised nothing."""
    REJECTED = "rejected"
    """A person rejected the next stage."""
    NO_ANSWER = "no answer"
    """The time for an approval is over."""
    HELD = "held"
    """The guardrails held the rollout for longer than ``hold_timeout``."""
    STICKY = "sticky"
    """Sticky bucketing is on, so a rollback would take the feature from nobody."""
    DECIDED = "decided"
    """The experiment was decided: rollback."""
    OTHERS = "others"
    """The first stage would give the feature to users outside of the rollout."""
    COHORT = "cohort"
    """A segment may be for a cohort, which cannot be sent back safely."""
    REFUSED = "refused"
    """The preview refuses users who would enter with the next stage."""
    NOT_LOWERED = "not lowered"
    """The rollout failed, and left the flag: the plan has no lower target, or the history hides the start."""


class HeartbeatEnd(Word):
    """How a rollout ended, in its last heartbeat."""

    FINISHED = "finished"
    ROLLED_BACK = "rolled back"
    STOPPED = "stopped"


class AlertCause(Word):
    """Why an alert is sent, where no :class:`AbortCause` applies. The value is the ``cause`` of the alert."""

    GUARDRAILS = "guardrails"
    """The guardrails hold the rollout."""
    TAG = "tag"
    """A person holds the rollout with the tag."""
    ERROR = "error"
    """The task failed with an error that has no retry."""
