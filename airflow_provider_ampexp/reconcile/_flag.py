"""A flag under a rollout: observe it, set a stage, roll it back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp.client._actors import actor_name, author_of
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._optional_fields import config_of, tags_of, version_number
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, TargetSegment, Version
from airflow_provider_ampexp.ensure._cohorts import included_cohorts
from airflow_provider_ampexp.ensure._errors import (
    ConflictError,
    EnsureError,
    MissingFieldError,
    SegmentLostError,
    WrongStateError,
)
from airflow_provider_ampexp.ensure._fields import differing, write_fields
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._refusals import retry_while_refused
from airflow_provider_ampexp.ensure._rollout_percentage import percentage_fields
from airflow_provider_ampexp.ensure._segments import find_segment, refuse_cohorts
from airflow_provider_ampexp.reconcile._overwritten_edit import OverwrittenEdit, find_overwritten_edit
from airflow_provider_ampexp.rollout._audience import AudienceFields
from airflow_provider_ampexp.rollout._history import (
    Exposure,
    FlagSnapshot,
    exposure_of,
    read_history,
    version_of_exposure,
)
from airflow_provider_ampexp.rollout._lost_segment import what_became_of, who_still_gets_it
from airflow_provider_ampexp.rollout._state import RolloutState

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


class ManagedFlag:
    """A flag or experiment under a rollout. ``seen`` is the last observation, ``now`` the service's clock.

    ``cohorts`` are the included cohorts when they were last read. Their users get it at any percentage.

    :param shown: the fields of the audience that a read of the flag shows. A version may omit some of them; then the
        flag is read too, because an omitted field could have changed.
    """

    def __init__(
        self,
        client: ManagementClient,
        target: FlagRef,
        segment: str | None,
        catch_all: str | None = None,
        shown: Iterable[str] = (),
    ) -> None:
        self.client = client
        self.target = target
        self.segment = segment
        self.catch_all = catch_all
        self._shown = frozenset(shown)
        self.config: FlagConfig = {}
        self.seen: FlagSnapshot
        self.notes: list[str] = []
        self.cohorts: list[str] = []
        self.known_clock_error: float | None = None
        self.interruption_message = ""
        self.groups: frozenset[str] = frozenset()  # the ids of an experiment's groups, once they were read
        self._versions: list[Version] = []

    @classmethod
    def find(
        cls, client: ManagementClient, target: FlagRef, segment: str | None, catch_all: str | None = None
    ) -> ManagedFlag:
        """Find and observe a flag: 2 requests."""
        return cls.of_read(client, target, target.read(client), segment, catch_all)

    @classmethod
    def of_read(
        cls,
        client: ManagementClient,
        target: FlagRef,
        config: FlagConfig,
        segment: str | None = None,
        catch_all: str | None = None,
    ) -> ManagedFlag:
        """Observe a flag that was just read: 1 request."""
        shown = AudienceFields.of(config, segment).shown
        flag = cls(client, FlagRef(target.kind, id=config["id"]), segment, catch_all, shown)
        flag.observe(archived=bool(config.get("deleted")))
        return flag

    @contextmanager
    def set_interruption_message(self, message: str) -> Iterator[None]:
        """Set the log line for an interruption of this block. Of nested blocks, the innermost line is logged."""
        before, self.interruption_message = self.interruption_message, message
        try:
            yield
        except Exception:
            self.interruption_message = before
            raise
        self.interruption_message = before

    @property
    def id(self) -> str:
        """The id of the flag."""
        return str(self.target.id)

    @property
    def now(self) -> datetime:
        """The time on the service's clock; on this machine's clock before the first response."""
        return self.client.date_given(self.known_clock_error) or datetime.now(timezone.utc)

    @property
    def local_clock_error(self) -> float | None:
        """The seconds by which a worker's clock is ahead of the service's clock."""
        seen_here = self.client.local_clock_error
        return self.known_clock_error if seen_here is None else seen_here

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights of the variants."""
        named: FlagConfig | TargetSegment = self.config
        if self.segment is not None:
            named = find_segment(self.config, self.segment)
        return named.get("rolloutWeights") or {}

    def since(self, state: RolloutState) -> datetime:
        """Return since when the flag has its present exposure."""
        entry = version_of_exposure(self.seen)
        return (entry.at if entry else None) or state.first_seen_at or self.now

    def observe(self, *, archived: bool = False) -> None:
        """Observe the flag: 1 request, because the newest version has the whole flag; 3 if it lacks a needed field.

        :param archived: the last observed value, for a version that does not show it
        """
        versions = self._read_versions()
        config = config_of(versions[0]) if versions else FlagConfig()
        while self._is_thin(config):
            newest, config = versions[:1], retry_while_refused(lambda: self.target.read(self.client))
            versions = self._read_versions()
            if versions[:1] == newest:  # otherwise the flag may have changed between the two reads
                break
        self._see(config, versions, archived=bool(config.get("deleted", archived)))

    def read_cohorts(self) -> None:
        """Read the included cohorts: 1 request for each variant, or 1 where the service has no such cohorts."""
        variants = [str(variant["key"]) for variant in self.config.get("variants") or () if "key" in variant]
        self.cohorts = included_cohorts(self.target.endpoints(self.client), self.id, variants)

    def _is_thin(self, config: FlagConfig) -> bool:
        """Whether a version lacks a needed field. Before the flag is enabled, all percentages are needed."""
        exposure = exposure_of(config, self.segment)
        needed = {"tags"} if exposure is None or exposure.enabled else {"tags", "targetSegments", "rolloutPercentage"}
        return exposure is None or not needed | self._shown <= config.keys()

    def set_stage(self, percentage: int) -> Exposure:
        """Set a stage, enable a disabled flag, and read both back: 2 requests.

        A disabled flag above the stage is first lowered, and not yet enabled. Amplitude can hold a percentage for an
        approval and enable the flag at once. Then one write of both would give the feature to all users.

        The API has no conditional write. So the history shows afterwards whether another actor changed the same fields
        between the observation and the write. Such a change is restored.

        :returns: the new exposure
        :raises ConflictError: when that change was of the percentage or the enabled field
        """
        observed, version, before = self.config, self.seen.newest_version, self.seen.exposure
        enabled = before.enabled or before.percentage <= percentage
        wanted: EditFields = {**self._fields(percentage), "enabled": enabled}
        self._bring_to(wanted, at_any_time=True)
        if (seconds := self.client.unresolved_write_seconds) > 0:
            # A write without a response in time may be carried out late. It must not come after the next write.
            time.sleep(seconds)
            self.observe(archived=self.seen.archived)
        lost = self._overwritten(observed, version, differing(observed, wanted))
        while lost is not None:  # the write that restores can overwrite a change too
            observed, version = self.config, self.seen.newest_version
            sent = self._restore(lost, percentage)
            lost = self._overwritten(observed, version, differing(observed, sent))
        return Exposure(percentage, enabled)

    def roll_back_to(self, exposure: Exposure) -> None:
        """Roll back, and read the flag back.

        A rollback that disables the flag does not restore a higher percentage of before. Such a write would raise the
        exposure if another actor enabled the flag at that time.
        """
        observed, version = self.config, self.seen.newest_version
        percentage = min(exposure.percentage, self.seen.exposure.percentage)
        wanted: EditFields = {**self._fields_to_lower(percentage, exposure), "enabled": exposure.enabled}
        self._bring_to(wanted)
        lost = self._overwritten(observed, version, differing(observed, wanted))
        if lost is not None:
            self._restore_after_rollback(lost)

    def _restore_after_rollback(self, lost: OverwrittenEdit) -> None:
        """Restore what another actor changed during a rollback, except a higher exposure."""
        by, had = actor_name(lost.version.get("createdBy")), exposure_of(lost.config, self.segment)
        now = self.seen.exposure
        if lost.moved and had is not None and had.effective_percentage < now.effective_percentage:
            self._bring_to(self._fields_to_restore_exposure(lost))
            self.notes.append(f"{by} lowered it further, to {had}, during the rollback; that was restored.")
            return
        if lost.moved and had is not None and had.effective_percentage > now.effective_percentage:
            self.notes.append(f"{by} changed it to {had} during the rollback; the rollback overwrote that.")
        if self.segment is not None and not lost.is_superseded and lost.is_restorable:
            self._restore_other_segments(lost.config, by)

    def _restore_other_segments(self, config: FlagConfig, by: str) -> None:
        try:
            wanted = self._fields_to_restore(config, self.seen.exposure.percentage)
            if differing(self.config, wanted):
                self._bring_to(wanted)
                self.notes.append(f"{by} edited the segments during the rollback; that edit was restored.")
        except EnsureError as error:
            self.notes.append(
                f"{by} edited the segments during the rollback. That edit was overwritten and NOT restored: {error} "
                "Check the flag in Amplitude now."
            )

    def switch_off_sticky(self) -> None:
        """Disable sticky bucketing, and read the flag back: 2 requests."""
        self._bring_to({"stickyBucketing": False})

    def _overwritten(self, observed: FlagConfig, newest: int, sent: Mapping[str, Any]) -> OverwrittenEdit | None:
        return find_overwritten_edit(self._versions, newest, observed, sent, self.segment)

    def _restore(self, lost: OverwrittenEdit, percentage: int) -> EditFields:
        config = lost.config
        who, had = actor_name(lost.version.get("createdBy")), exposure_of(config, self.segment)
        if not lost.is_restorable or (lost.is_superseded and not lost.moved):
            what = f"changed it to {had}" if lost.moved else "edited the segments"
            why = "another edit came after the raise" if lost.is_superseded else "it is not known which came last"
            raise ConflictError(
                f"Conflict on {self.target}: {author_of(lost.version)} {what} during the raise to {percentage} %. That "
                f"change was NOT restored, because {why}. The flag is at {self.seen.exposure}. The rollout stopped. "
                "Check the flag in Amplitude. To continue, start a new run."
            )
        if not lost.moved:
            # The ramped exposure was not changed: the other segments are restored, and the stage stays.
            try:
                wanted = self._fields_to_restore(config, percentage)
            except EnsureError as error:
                raise ConflictError(
                    f"Conflict on {self.target}: {who} edited the segments during the raise to {percentage} %. That "
                    f"edit was overwritten and NOT restored: {error} Check the flag in Amplitude now."
                ) from None
            self._bring_to(wanted)
            self.notes.append(f"{who} edited the segments during the raise; that edit was restored.")
            return wanted
        done = "That change was restored"
        try:
            self._bring_to(self._fields_to_restore_exposure(lost))
        except (EnsureError, ManagementApiError) as error:
            done = f"That change was overwritten and NOT restored: {error} Check the flag in Amplitude now"
        raise ConflictError(
            f"Conflict on {self.target}: {who} changed it to {had} during the raise to {percentage} % (version "
            f"{lost.version.get('version')}, {lost.version.get('createdAt')}). {done}. The rollout stopped. "
            "To continue, start a new run."
        )

    def _fields_to_restore_exposure(self, lost: OverwrittenEdit) -> EditFields:
        """Return the fields of the overwritten exposure; with the present segments, if another edit came after it."""
        exposure = exposure_of(lost.config, self.segment)
        segments = self.config if lost.is_superseded else lost.config
        fields = self._fields_to_restore(segments, exposure.percentage) if exposure else {}
        return {**fields, "enabled": bool(lost.config.get("enabled"))}

    def _fields_to_restore(self, config: FlagConfig, percentage: float) -> EditFields:
        """Return the fields that another actor wrote, with this percentage."""
        if self.segment is not None:
            refuse_cohorts(config.get("key"), config.get("targetSegments") or (), catch_all=self.catch_all)
        return percentage_fields(config, percentage, self.segment, self.catch_all)

    def _fields(self, percentage: float) -> EditFields:
        return percentage_fields(self.config, percentage, self.segment, self.catch_all)

    def _fields_to_lower(self, percentage: float, exposure: Exposure) -> EditFields:
        """Return the fields of a rollback; none if the segments cannot be sent back and the flag gets disabled."""
        try:
            return self._fields(percentage)
        except WrongStateError:
            if exposure.enabled:
                raise
            return {}

    def _bring_to(self, wanted: EditFields, *, at_any_time: bool = False) -> None:
        """Write the fields, and read the flag back.

        :param at_any_time: a version with the fields confirms the write, also if another actor has changed them since
        """
        newest = self.seen.newest_version

        def read() -> FlagConfig:
            self.observe(archived=self.seen.archived)
            return self._as_written(newest, wanted) if at_any_time else self.config

        retry_while_refused(lambda: write_fields(self.client, self.target, self.config, wanted, read=read))

    def _as_written(self, newest: int, wanted: EditFields) -> FlagConfig:
        """Return the flag of the first new version with these fields; without one, the present flag."""
        new = (config_of(version) for version in reversed(self._versions) if version_number(version) > newest)
        written = next((config for config in new if not differing(config, wanted)), None)
        return self.config if written is None else cast("FlagConfig", {**self.config, **written})

    def _see(self, config: FlagConfig, versions: list[Version], *, archived: bool) -> None:
        self.config = cast("FlagConfig", {**config, "id": self.id})
        self._versions = versions
        tags = tags_of(config) or ()
        exposure = self._exposure(config, versions)
        history = read_history(versions, self.segment, exposure)
        self.seen = FlagSnapshot(exposure, archived, history, tags, AudienceFields.of(config, self.segment))

    def _read_versions(self) -> list[Version]:
        versions = retry_while_refused(lambda: self.target.endpoints(self.client).versions(self.id))
        return sorted(versions, key=version_number, reverse=True)

    def _exposure(self, config: FlagConfig, versions: list[Version]) -> Exposure:
        if self.segment is not None:
            try:
                find_segment(config, self.segment)
            except WrongStateError:
                if (changed := what_became_of(self.segment, versions)) is None:
                    raise
                raise SegmentLostError(
                    f"Rollout stopped: {changed}. {who_still_gets_it(config)} Nothing was written. Restore "
                    "the segment in Amplitude, or name the present one as segment=, then clear the task."
                ) from None
        exposure = exposure_of(config, self.segment)
        if exposure is None:
            raise MissingFieldError(
                f"Amplitude does not show whether {self.target} is enabled, or its percentage. Nothing was changed."
            )
        return exposure
