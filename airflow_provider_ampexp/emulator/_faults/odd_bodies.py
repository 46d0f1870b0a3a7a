"""Bodies that can harm a client: slow, oversized, or small only while packed."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable

from starlette.types import Send

from airflow_provider_ampexp.emulator._faults.rules import Fault

_MEGABYTE = b" " * 1_000_000


def odd_headers(fault: Fault) -> list[tuple[bytes, bytes]]:
    """Return the headers of a body that is sent in chunks, without a length."""
    kind = [(b"content-type", b"application/json")]
    return [*kind, (b"content-encoding", b"gzip")] if fault.kind == "zip_bomb" else kind


async def send_odd_body(fault: Fault, body: bytes, send: Send, wait: Callable[[float], Awaitable[None]]) -> None:
    """Send the body of a fault.

    :param body: the real body, for the fault ``trickle``
    :param wait: waits some seconds, unless the server stops
    """

    async def part(some: bytes) -> None:
        await send({"type": "http.response.body", "body": some, "more_body": True})

    if fault.kind == "trickle":
        for place in range(len(body)):
            await part(body[place : place + 1])
            await wait(fault.seconds)
    elif fault.kind == "oversized":
        for _ in range(fault.megabytes):
            await part(_MEGABYTE)
    else:
        packing = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        for _ in range(fault.megabytes):
            await part(packing.compress(_MEGABYTE))
        await part(packing.flush())
    await send({"type": "http.response.body", "body": b"", "more_body": False})
