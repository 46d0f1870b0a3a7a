"""The TCP connections of requests, so that a fault can cut one.

An ASGI application cannot close a connection without a response. The server's protocol class knows each transport. It
stores them here by the address of the peer, which the application has in its scope.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class TcpConnections:
    """The open connections by the address of the peer."""

    def __init__(self) -> None:
        self._open: dict[Any, asyncio.Transport] = {}

    def cut(self, client: Any, *, flush: bool) -> None:
        """Close the connection to this peer. With ``flush``, data that was already written is sent."""
        transport = self._open.get(tuple(client or ()))
        if transport is None:
            raise RuntimeError("A connection can only be cut by the emulator's own server.")
        if flush:
            transport.close()
        else:
            transport.abort()

    def protocol(self) -> type[H11Protocol]:
        """Return a protocol class for uvicorn that stores its connections here."""
        kept = self._open

        class KeptConnection(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    kept[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self.client is not None:
                    kept.pop(self.client, None)

        return KeptConnection
