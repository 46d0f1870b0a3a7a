"""One pass of the watchdog: read the heartbeats, observe their flags, and lower the flags of dead rollouts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.ensure import FlagRef
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout._heartbeat import Heartbeat, HeartbeatError
from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.watchdog._verdict import Limits, Outcome, judge

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

Finding = tuple[Outcome, str]
"""An outcome, and a sentence for a person."""


class Watchdog:
    """A pass over heartbeats.

    :param client: the client of the service whose flags are watched
    :param is_dry: report what would be lowered, and change nothing
    """

    def __init__(self, client: ManagementClient, limits: Limits, *, is_dry: bool = False) -> None:
        self._client = client
        self._limits = limits
        self._is_dry = is_dry

    def findings(self, files: Iterable[tuple[str, Heartbeat | HeartbeatError]]) -> Iterator[Finding]:
        """Judge the heartbeats, and yield a finding for each flag and each file without a heartbeat.

        Two rollouts can have the same flag. The flag is lowered only if all rollouts of the flag are overdue.
        """
        rollouts: dict[tuple[str, str, str, str | None], list[Heartbeat]] = {}
        unreadable = set()
        for name, beat in files:
            if isinstance(beat, HeartbeatError):
                yield (
                    Outcome.UNKNOWN,
                    f"Reading the heartbeat {name} failed: {beat}. Its flag is not watched. Check the file, or delete "
                    "it.",
                )
                unreadable.add(name.rpartition("/")[2])
            else:
                subject = beat.subject
                flag = (subject.base_url, subject.kind, subject.object_id, subject.segment)
                rollouts.setdefault(flag, []).append(beat)
        for beats in rollouts.values():
            if beats[0].subject.file_name not in unreadable:
                yield self._finding(beats)

    def _finding(self, beats: list[Heartbeat]) -> Finding:
        running = [beat for beat in beats if beat.ended is None]
        if not running:
            beat = max(beats, key=lambda beat: beat.at)
            return Outcome.QUIET, f"{beat.subject}: the rollout has ended ({beat.ended})."
        subject = running[0].subject
        if subject.base_url != self._client.base_url:
            why = f"its rollout uses {subject.base_url}, and this watchdog {self._client.base_url}"
            return Outcome.UNKNOWN, f"Watching {subject} failed: {why}. It is not watched. Set --region or --base-url."
        try:
            flag = ManagedFlag.find(
                self._client, FlagRef(subject.kind, id=subject.object_id), subject.segment, subject.catch_all
            )
        except Exception as error:
            return (
                Outcome.UNKNOWN,
                f"Watching {subject} failed: {_said(error)} Nothing was changed. Check the flag in Amplitude.",
            )
        latest, now = max(running, key=lambda beat: beat.due), flag.now
        judged = [(judge(beat, flag.seen, now, self._limits), beat) for beat in (latest, *running)]
        verdict, beat = judged[0]
        if self._limits.is_overdue(latest, now):  # otherwise one rollout of this flag runs
            held = (pair for pair in judged if has_tag(flag.seen.tags, pair[1].subject.hold_tag))
            verdict, beat = next(held, next((pair for pair in judged if pair[0].lowers), judged[0]))
        if verdict.lowers and (other := _confirmed_later(beat, beats)) is not None:
            why = f"{other.subject.task} confirmed {other.exposure} or ended there. Left at {flag.seen.exposure}"
            return Outcome.QUIET, f"{subject}: {verdict.why}, but {why}."
        if not verdict.lowers:
            return verdict.outcome, f"{subject}: {verdict.why}."
        if self._is_dry:
            return Outcome.LATE, f"{subject}: {verdict.why}. Without --dry-run it is lowered to {beat.lower_to} now."
        return self._lower(flag, beat, verdict.why)

    def _lower(self, flag: ManagedFlag, beat: Heartbeat, why: str) -> Finding:
        before = flag.seen.exposure
        reason = f"{why} ({beat.subject.task})"
        try:
            flag.roll_back_to(beat.lower_to)
        except Exception as error:
            return Outcome.NOT_CONFIRMED, (
                f"ROLLBACK NOT CONFIRMED for {beat.subject} ({before} -> {beat.lower_to}). USERS PROBABLY STILL "
                f"GET IT at {before}. Check the flag in Amplitude now. Reason for the rollback: {reason}. "
                f"Cause: {_said(error)}"
            )
        ways = flag.seen.audience.ways_in(flag.catch_all) if flag.seen.exposure.enabled else []
        confirmed = "and confirmed it by reading"
        if ways:
            confirmed = f"and read that back; but USERS STILL GET IT through {', and '.join(ways)}"
        notes = "".join(f" {note}" for note in flag.notes)
        return Outcome.LOWERED, (
            f"Lowered {beat.subject} from {before} to {flag.seen.exposure}, {confirmed}: {reason}.{notes}"
        )


def _confirmed_later(dead: Heartbeat, beats: list[Heartbeat]) -> Heartbeat | None:
    """Return a later heartbeat of another rollout that confirmed the exposure of a dead one, or ended at it."""
    at = {dead.exposure, *(() if dead.next_stage is None else (Exposure(dead.next_stage, enabled=True),))}
    later = (beat for beat in beats if beat.at > dead.at and beat.exposure in at)
    return next(
        (beat for beat in later if beat.lower_to.effective_percentage >= beat.exposure.effective_percentage), None
    )


def _said(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
