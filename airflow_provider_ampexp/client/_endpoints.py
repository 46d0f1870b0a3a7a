"""What the calls for flags, experiments and groups share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from airflow_provider_ampexp.client._transport import ApiResponse, RetrySafety, Transport

_Kind = TypeVar("_Kind", bound=str)


class Endpoints(Generic[_Kind]):
    """The calls for one kind of objects. ``kind`` is the path, such as ``flags``."""

    def __init__(self, transport: Transport, kind: _Kind) -> None:
        self._transport = transport
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind} of {self._transport.http.base_url}>"

    def _call(
        self,
        method: str,
        route: str,
        body: Mapping[str, Any] | None = None,
        repeat: RetrySafety = RetrySafety.SAFE,
        **names: str,
    ) -> ApiResponse:
        return self._transport.call(method, f"/{self.kind}{route}", names, body=body, repeat=repeat)
