"""The phase of a rollout: one word, one colour and one reason. Pure: no I/O, no clock, no Airflow."""

from __future__ import annotations

from enum import Enum


class RolloutPhase(str, Enum):
    """The first word of the page about a rollout. The colour is a class of ``page.css``, which adds a sign."""

    colour: str

    PROGRESSING = "progressing", "blue"
    WAITING_FOR_APPROVAL = "waiting for approval", "violet"
    PAUSED = "paused", "gray"
    HELD = "held", "orange"
    DEGRADED = "degraded", "red"
    ROLLED_BACK = "rolled back", "rose"
    DONE = "done", "green"

    def __new__(cls, word: str, colour: str) -> RolloutPhase:
        phase = str.__new__(cls, word)
        phase._value_ = word
        phase.colour = colour
        return phase


class Reason(str, Enum):
    """Why a rollout is in its phase.

    :ivar phase: the one phase that this reason belongs to
    :ivar label: the reason in a few words
    :ivar next_step: the next step of the rollout or of a person; empty where it is the next stage
    """

    phase: RolloutPhase
    label: str
    next_step: str

    SOAKING = "soaking", RolloutPhase.PROGRESSING, "soaking", ""
    CHECKING = "checking", RolloutPhase.PROGRESSING, "waiting for its guardrails", "the guardrails run again"
    WINDOW = "window", RolloutPhase.PROGRESSING, "outside its window", ""
    WORKING = "working", RolloutPhase.PROGRESSING, "its task runs", ""
    APPROVAL = (
        "approval",
        RolloutPhase.WAITING_FOR_APPROVAL,
        "a person has to answer",
        "approve or reject it under Required Actions",
    )
    PAUSED = (
        "paused",
        RolloutPhase.PAUSED,
        "the DAG is paused",
        "nothing until a person unpauses the DAG",
    )
    TAG = (
        "tag",
        RolloutPhase.HELD,
        "held by a person",
        "nothing is raised until a person removes the tag",
    )
    GUARDRAIL = (
        "guardrail",
        RolloutPhase.HELD,
        "held by a guardrail",
        "nothing is raised until the guardrails pass; they run again",
    )
    FAILING = (
        "failing",
        RolloutPhase.DEGRADED,
        "a guardrail does not pass",
        "the guardrails run again, until they pass or reach a limit",
    )
    ROLLING_BACK = "rolling back", RolloutPhase.DEGRADED, "about to roll back", "the flag is lowered"
    STOPPING = (
        "stopping",
        RolloutPhase.DEGRADED,
        "about to stop",
        "the rollout stops at its next poll and leaves the flag as it is",
    )
    RETRYING = "retrying", RolloutPhase.DEGRADED, "its task failed", "Airflow retries the task"
    TRIGGERER = "triggerer", RolloutPhase.DEGRADED, "no triggerer runs", "start the triggerer"
    OVERDUE = "overdue", RolloutPhase.DEGRADED, "overdue", "check the triggerer and the scheduler"
    UNREADABLE = "unreadable", RolloutPhase.DEGRADED, "not readable", "check the flag in Amplitude"
    UNCONFIRMED = (
        "unconfirmed",
        RolloutPhase.DEGRADED,
        "rollback not confirmed",
        "check the flag in Amplitude now, and disable it there",
    )
    STILL_EXPOSED = (
        "still exposed",
        RolloutPhase.DEGRADED,
        "rolled back, and users still get the feature",
        "disable the flag in Amplitude to take it from all users",
    )
    NOT_LOWERED = (
        "not lowered",
        RolloutPhase.DEGRADED,
        "failed, and not rolled back",
        "no automatic step: lower the flag in Amplitude, or fix the cause and clear the task",
    )
    STOPPED = (
        "stopped",
        RolloutPhase.DEGRADED,
        "stopped",
        "no automatic step: see the manual actions, or change the flag in Amplitude",
    )
    ROLLED_BACK = (
        "rolled back",
        RolloutPhase.ROLLED_BACK,
        "rolled back and confirmed",
        "no automatic step: fix the cause, then clear the rollout to start again",
    )
    DONE = "done", RolloutPhase.DONE, "the last stage is reached", "nothing is left to do"

    def __new__(cls, word: str, phase: RolloutPhase, label: str, next_step: str) -> Reason:
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.phase, reason.label, reason.next_step = phase, label, next_step
        return reason
