"""Poll all flags or experiments of a connection for asset watchers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_ampexp.client._errors import NotFoundError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.exceptions import is_retryable
from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig
    from airflow_provider_ampexp.hooks._connection import ConnectionFields

_log = logging.getLogger(__name__)
_PAUSE_AFTER_REFUSAL = 60.0


@dataclass(frozen=True)
class PollResult:
    """The result of one poll of a connection."""

    project_id: str | None
    """The connection's project, for keys without their own project."""
    configs: tuple[FlagConfig, ...]

    def config_of(self, target: FlagRef) -> FlagConfig:
        """Return the configuration of a flag or experiment.

        :raises LookupError: when no object or several objects match
        """
        project = target.project_id or self.project_id
        if target.id is not None:
            named = [one for one in self.configs if one["id"] == target.id]
        else:
            named = [one for one in self.configs if one.get("key") == target.key]
        found = [one for one in named if project is None or one.get("projectId") in (None, project)]
        if len(found) == 1:
            return found[0]
        raise LookupError(f"expected one object, got {len(found)}. Check the key, the project_id and the connection.")


class _Look:
    """Poll a connection over one kept session. It is called in a thread, because HTTP may block."""

    def __init__(self, amplitude_conn_id: str, kind: Kind, only: FlagRef | None) -> None:
        self._amplitude_conn_id = amplitude_conn_id
        self._of_kind = FlagRef(kind, id="any")
        self._only = only
        self._client: ManagementClient | None = None
        self._fields: ConnectionFields | None = None

    def __call__(self) -> PollResult:
        fields = AmplitudeExperimentHook(self._amplitude_conn_id).fields
        if self._client is None or fields != self._fields:  # the connection was edited
            self.close()
            self._client, self._fields = fields.connect(retry_for=0), fields
        endpoints = self._of_kind.endpoints(self._client)
        if self._only is None:
            found = list(endpoints.list(include_archived=True))
        elif self._only.key is not None:
            project_id = self._only.project_id or fields.project_id
            found = list(endpoints.list(key=self._only.key, project_id=project_id, include_archived=True))
        else:
            try:
                found = [endpoints.get(str(self._only.id))]
            except NotFoundError:
                found = []
        return PollResult(fields.project_id, tuple(found))

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


async def poll_forever(
    amplitude_conn_id: str, kind: Kind, poll_interval: float, *, only: FlagRef | None = None
) -> AsyncIterator[PollResult]:
    """Poll until the caller ends the generator. It never raises."""
    look = _Look(amplitude_conn_id, kind, only)
    complained = None
    try:
        while True:
            pause = poll_interval
            try:
                found = await asyncio.to_thread(look)
            except Exception as error:
                look.close()  # a person may have fixed the connection
                pause = max(pause, getattr(error, "retry_after", None) or 0.0)
                if not is_retryable(error):
                    pause = max(pause, _PAUSE_AFTER_REFUSAL)
                text = f"{type(error).__name__}: {error}"
                if text != complained:
                    _log.error("Polling with connection %r failed; will keep retrying. %s", amplitude_conn_id, text)
                complained = text
            else:
                complained = None
                yield found
            await asyncio.sleep(pause)
    finally:
        look.close()
