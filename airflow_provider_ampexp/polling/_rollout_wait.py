"""The condition of a wait of a rollout: its time is over, or the flag has changed.

The trigger uses it, and a task that waits on its worker does too. No Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from typing_extensions import NotRequired

from airflow_provider_ampexp.client._optional_fields import has_tag, tags_of, without_odd_fields
from airflow_provider_ampexp.ensure import FlagRef
from airflow_provider_ampexp.polling._statuses import SoakStatus
from airflow_provider_ampexp.rollout._audience import AudienceFields, changed_fields
from airflow_provider_ampexp.rollout._history import Exposure, exposure_of

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig

_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


class SoakEvent(TypedDict):
    """The reason for the end of the wait."""

    status: str
    """The value of a :class:`SoakStatus`."""
    archived: bool
    why: str
    audience: NotRequired[dict[str, str]]
    chosen_options: NotRequired[list[str]]
    responded_by_user: NotRequired[dict[str, str] | None]


@dataclass(frozen=True)
class RolloutWait:
    """A flag that must stay at ``exposure``, with or without a tag, until a time on the service's clock.

    :param local_clock_error: the seconds by which the worker's clock is ahead of the service's
    """

    kind: Literal["flags", "experiments"]
    id: str
    segment: str | None
    exposure: Exposure
    until: datetime
    hold_tag: str = ""
    is_held: bool = False
    audience: Mapping[str, str] = field(default_factory=dict)
    """The digest of the accepted audience; empty in a deferral of an earlier release."""
    local_clock_error: float | None = None

    def look(self, client: ManagementClient) -> SoakEvent | None:
        """Read the flag once; ``None`` to continue the wait."""
        return self.judge(FlagRef(self.kind, id=self.id).read(client), self.now(client))

    def judge(self, config: FlagConfig, now: datetime) -> SoakEvent | None:
        """Judge a configuration; ``None`` to continue the wait."""
        config = without_odd_fields(config)
        archived = bool(config.get("deleted"))
        stands = exposure_of(config, self.segment)
        if archived or (stands is not None and stands != self.exposure):
            return {"status": SoakStatus.CHANGED.value, "archived": archived, "why": f"it is now at {stands}"}
        tags = tags_of(config)
        if tags is not None and has_tag(tags, self.hold_tag) is not self.is_held:
            return {
                "status": SoakStatus.CHANGED.value,
                "archived": archived,
                "why": f"the tag {self.hold_tag!r} was added or removed",
            }
        audience = AudienceFields.of(config, self.segment).digest()
        if changed := changed_fields(self.audience, audience):
            why = f"the audience changed: {', '.join(changed)}"
            return {"status": SoakStatus.CHANGED.value, "archived": archived, "why": why, "audience": audience}
        if self.until <= now:
            return {"status": SoakStatus.DUE.value, "archived": archived, "why": "the time of the wait is over"}
        return None

    def seconds_left(self, client: ManagementClient) -> float:
        """Return the seconds until the end of the wait."""
        return (self.until - self.now(client)).total_seconds()

    def now(self, client: ManagementClient) -> datetime:
        """Return the time on the service's clock."""
        return service_now(client, self.local_clock_error)

    def as_plain(self) -> dict[str, Any]:
        """Return JSON values, for a trigger's arguments."""
        return {
            "kind": self.kind,
            "id": self.id,
            "segment": self.segment,
            "percentage": self.exposure.percentage,
            "enabled": self.exposure.enabled,
            "until": self.until.isoformat(),
            "hold_tag": self.hold_tag,
            "is_held": self.is_held,
            "audience": dict(self.audience),
            "local_clock_error": self.local_clock_error,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> RolloutWait:
        """Read the values that :meth:`as_plain` wrote in this or another version.

        Without a time or an exposure, the wait ends at once, and the task reads the flag.
        """
        until = plain.get("until")
        return cls(
            kind=cast("Literal['flags', 'experiments']", plain["kind"]),
            id=plain["id"],
            segment=plain.get("segment"),
            exposure=Exposure(plain.get("percentage", -1), bool(plain.get("enabled"))),
            until=datetime.fromisoformat(until) if until else _LONG_AGO,
            hold_tag=plain.get("hold_tag", ""),
            is_held=bool(plain.get("is_held")),
            audience=plain.get("audience") or {},
            local_clock_error=plain.get("local_clock_error"),
        )


def service_now(client: ManagementClient, local_clock_error: float | None = None) -> datetime:
    """Return the time on the service's clock, or on this machine's clock before the first response.

    :param local_clock_error: the seconds by which this machine's clock is ahead, from an earlier client
    """
    return client.date_given(local_clock_error) or datetime.now(timezone.utc)
