"""An undocumented endpoint: the versions of all flags and experiments."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from airflow_provider_ampexp.client import _responses as responses
from airflow_provider_ampexp.client._pagination import pages, version_of
from airflow_provider_ampexp.client._transport import Transport
from airflow_provider_ampexp.client.types import Version


class VersionsFeed:
    """The versions of all projects that the key can see. Not every server has this endpoint."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __repr__(self) -> str:
        return f"<versions of {self._transport.http.base_url}>"

    def versions(self, start: datetime, end: datetime | None = None) -> Iterator[Version]:
        """Iterate over the versions from ``start`` until before ``end``, newest first.

        :raises NotFoundError: when the server has no such endpoint
        """
        query = {"start": _iso(start)} | ({} if end is None else {"end": _iso(end)})
        for page in pages(self._transport, "versions", query, responses.version, identity=version_of):
            yield from page


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
