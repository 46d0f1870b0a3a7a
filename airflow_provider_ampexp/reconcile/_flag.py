"""A flag while it is being rolled out: how it is looked at, raised and lowered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._optional_fields import config_of, tags_of, version_number
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, TargetSegment, Version
from airflow_provider_ampexp.ensure._errors import (
    ConflictError,
    EnsureError,
    MissingFieldError,
    SegmentLostError,
    WrongStateError,
)
from airflow_provider_ampexp.ensure._fields import apply_fields, differing
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._refusals import retry_while_refused
from airflow_provider_ampexp.ensure._rollout_percentage import percentage_fields
from airflow_provider_ampexp.ensure._segments import find_segment, refuse_cohorts
from airflow_provider_ampexp.reconcile._overwritten_edit import OverwrittenEdit, find_overwritten_edit
from airflow_provider_ampexp.rollout import Exposure, FlagSnapshot, RolloutState, exposure_of, read_history
from airflow_provider_ampexp.rollout._audience import Audience
from airflow_provider_ampexp.rollout._history import since
from airflow_provider_ampexp.rollout._lost_segment import what_became_of, who_still_gets_it

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


class ManagedFlag:
    """A flag or experiment under a rollout, as it was looked at last: ``seen``, and ``now`` on the service's clock."""

    def __init__(
        self, client: ManagementClient, target: FlagRef, segment: str | None, catch_all: str | None = None
    ) -> None:
        self.client = client
        self.target = target
        self.segment = segment
        self.catch_all = catch_all
        self.config: FlagConfig = {}
        self.seen: FlagSnapshot
        self.notes: list[str] = []
        self.known_clock_error: float | None = None
        self.said_if_interrupted = ""
        self._versions: list[Version] = []

    @classmethod
    def find(
        cls, client: ManagementClient, target: FlagRef, segment: str | None, catch_all: str | None = None
    ) -> ManagedFlag:
        """Look for the first time: 2 requests."""
        config = target.read(client)
        flag = cls(client, FlagRef(target.kind, id=config["id"]), segment, catch_all)
        flag.look(archived=bool(config.get("deleted")))
        return flag

    @contextmanager
    def last_words(self, words: str) -> Iterator[None]:
        """Set what is said of the flag when the task is ended within. The innermost words stay, when it is."""
        before, self.said_if_interrupted = self.said_if_interrupted, words
        try:
            yield
        except Exception:
            self.said_if_interrupted = before
            raise
        self.said_if_interrupted = before

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.target.id)

    @property
    def now(self) -> datetime:
        """The service's clock; this machine's if the service does not tell the time."""
        return self.client.date_given(self.known_clock_error) or datetime.now(timezone.utc)

    @property
    def local_clock_error(self) -> float | None:
        """By how many seconds a worker's clock was seen to be ahead of the service's."""
        seen_here = self.client.local_clock_error
        return self.known_clock_error if seen_here is None else seen_here

    @property
    def weights(self) -> Mapping[str, float]:
        """How those who get it are shared out among its variants."""
        named: FlagConfig | TargetSegment = self.config
        if self.segment is not None:
            named = find_segment(self.config, self.segment)
        return named.get("rolloutWeights") or {}

    def since(self, state: RolloutState) -> datetime:
        """Since when it stands where it stands."""
        entry = since(self.seen)
        return (entry.at if entry else None) or state.first_seen_at or self.now

    def look(self, *, archived: bool = False) -> None:
        """Look again: 1 request, since the newest version holds the whole flag; 3 where it leaves out what is needed.

        :param archived: what was seen of that last, for a version that does not tell
        """
        versions = self._read_versions()
        config = config_of(versions[0]) if versions else FlagConfig()
        while self._is_thin(config):
            newest, config = versions[:1], retry_while_refused(lambda: self.target.read(self.client))
            versions = self._read_versions()
            if versions[:1] == newest:  # else it may have been changed between the two
                break
        self._see(config, versions, archived=bool(config.get("deleted", archived)))

    def _is_thin(self, config: FlagConfig) -> bool:
        """Whether a version leaves out what is needed. Before a flag is enabled, that is all that lets users in."""
        position = exposure_of(config, self.segment)
        needed = {"tags"} if position is None or position.enabled else {"tags", "targetSegments", "rolloutPercentage"}
        return position is None or not needed <= config.keys()

    def set_stage(self, percentage: int) -> Exposure:
        """Set a stage, enabling the flag where it is not, and read it back: 2 requests.

        A disabled flag that says more than the stage is lowered first, and not yet enabled: where percentages wait for
        an approval and the switch does not, one write of both would let everybody in.

        There is no way to write only if nobody else has. So it is looked up afterwards whether somebody changed what
        was written between our look and our write; what they had set is put back.

        :returns: what was set
        :raises ConflictError: when that was the very percentage or switch
        """
        looked_at, version, stood = self.config, self.seen.newest_version, self.seen.position
        enabled = stood.enabled or stood.percentage <= percentage
        wanted: EditFields = {**self._fields(percentage), "enabled": enabled}
        self._bring_to(wanted)
        if (seconds := self.client.unresolved_write_seconds) > 0:
            # What got no answer in time may be carried out late. It must not come after the next write.
            time.sleep(seconds)
            self.look(archived=self.seen.archived)
        lost = self._overwritten(looked_at, version, differing(looked_at, wanted))
        while lost is not None:  # what puts it back is a write like any other
            looked_at, version = self.config, self.seen.newest_version
            sent = self._put_back(lost, percentage)
            lost = self._overwritten(looked_at, version, differing(looked_at, sent))
        return Exposure(percentage, enabled)

    def roll_back_to(self, position: Exposure) -> None:
        """Roll back, and read it back.

        Where the flag is to be disabled it may have stood at a higher percentage before. That is not restored: a write
        that raises the percentage of a flag that is off would raise exposure if somebody enabled it at that moment.
        """
        looked_at, version = self.config, self.seen.newest_version
        percentage = min(position.percentage, self.seen.position.percentage)
        wanted: EditFields = {**self._fields_to_lower(percentage, position), "enabled": position.enabled}
        self._bring_to(wanted)
        lost = self._overwritten(looked_at, version, differing(looked_at, wanted))
        had = exposure_of(lost.config, self.segment) if lost is not None else None
        if lost is not None and had is not None and had.exposure < self.seen.position.exposure:
            self._bring_to(self._fields_of(lost.config))
            by = actor_name(lost.version.get("createdBy"))
            self.notes.append(f"{by} had lowered it further, to {had}; that was put back.")

    def switch_off_sticky(self) -> None:
        """Switch sticky bucketing off, and read it back: 2 requests."""
        self._bring_to({"stickyBucketing": False})

    def _overwritten(self, looked_at: FlagConfig, newest: int, sent: Mapping[str, Any]) -> OverwrittenEdit | None:
        return find_overwritten_edit(self._versions, newest, looked_at, sent, self.segment)

    def _put_back(self, lost: OverwrittenEdit, percentage: int) -> EditFields:
        theirs, config = lost.version, lost.config
        who, had = actor_name(theirs.get("createdBy")), exposure_of(config, self.segment)
        if not lost.moved:
            # They left alone what is ramped: their other segments come back, and the stage stands.
            try:
                wanted = self._fields_to_put_back(config, percentage)
            except EnsureError as error:
                raise ConflictError(
                    f"{who} edited the segments of {self.target} at the moment of the raise to {percentage} %. "
                    f"That was written over, and could NOT be put back, so look at it in Amplitude now: {error}"
                ) from None
            self._bring_to(wanted)
            self.notes.append(f"{who} edited the segments at the moment of the raise; that was put back.")
            return wanted
        done = "That was put back"
        try:
            self._bring_to(self._fields_of(config))
        except (EnsureError, ManagementApiError) as error:
            done = f"That was written over, and could NOT be put back, so look at it in Amplitude now: {error}"
        raise ConflictError(
            f"{who} changed {self.target} to {had} at the moment at which it was to be raised to {percentage} % "
            f"(version {theirs.get('version')}, {theirs.get('createdAt')}). {done}; the rollout has stopped."
        )

    def _fields_of(self, config: FlagConfig) -> EditFields:
        """What to write for the flag to stand as in this configuration."""
        position = exposure_of(config, self.segment)
        fields = self._fields_to_put_back(config, position.percentage) if position else {}
        return {**fields, "enabled": bool(config.get("enabled"))}

    def _fields_to_put_back(self, config: FlagConfig, percentage: float) -> EditFields:
        """What a person had written, with this percentage: it is sent at any percentage."""
        if self.segment is not None:
            refuse_cohorts(config.get("key"), config.get("targetSegments") or (), catch_all=self.catch_all)
        return percentage_fields(config, percentage, self.segment, self.catch_all)

    def _fields(self, percentage: float) -> EditFields:
        return percentage_fields(self.config, percentage, self.segment, self.catch_all)

    def _fields_to_lower(self, percentage: float, position: Exposure) -> EditFields:
        """The same; none where the segments cannot be sent back, and the flag is disabled, which takes it from all."""
        try:
            return self._fields(percentage)
        except WrongStateError:
            if position.enabled:
                raise
            return {}

    def _bring_to(self, wanted: EditFields) -> None:
        def read() -> FlagConfig:
            self.look(archived=self.seen.archived)
            return self.config

        retry_while_refused(lambda: apply_fields(self.client, self.target, self.config, wanted, read=read))

    def _see(self, config: FlagConfig, versions: list[Version], *, archived: bool) -> None:
        self.config = cast("FlagConfig", {**config, "id": self.id})
        self._versions = versions
        tags = tags_of(config) or ()
        position = self._position(config, versions)
        history = read_history(versions, self.segment, position)
        self.seen = FlagSnapshot(position, archived, history, tags, Audience.of(config, self.segment))

    def _read_versions(self) -> list[Version]:
        versions = retry_while_refused(lambda: self.target.endpoints(self.client).versions(self.id))
        return sorted(versions, key=_number, reverse=True)

    def _position(self, config: FlagConfig, versions: list[Version]) -> Exposure:
        if self.segment is not None:
            try:
                find_segment(config, self.segment)
            except WrongStateError:
                if (changed := what_became_of(self.segment, versions)) is None:
                    raise
                raise SegmentLostError(
                    f"The rollout has stopped: {changed}. {who_still_gets_it(config)} Nothing was written. Restore "
                    "the segment in Amplitude, or name the present one as segment=, then clear the task."
                ) from None
        position = exposure_of(config, self.segment)
        if position is None:
            raise MissingFieldError(
                f"Amplitude does not show whether {self.target} is enabled, or its percentage. Nothing was changed."
            )
        return position


def _number(version: Version) -> int:
    return version_number(version)
