"""The middleware of all requests: it logs requests and applies faults."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_ampexp.emulator._api.path_params import RouteNames, route_on_raw_path
from airflow_provider_ampexp.emulator._faults.odd_bodies import odd_headers, send_odd_body
from airflow_provider_ampexp.emulator._faults.request_log import Entry
from airflow_provider_ampexp.emulator._faults.rules import Fault
from airflow_provider_ampexp.emulator._faults.tcp_connections import TcpConnections
from airflow_provider_ampexp.emulator._state.service import Service

Headers = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    """A complete response before it is sent."""

    status: int
    headers: Headers
    body: bytes


class FaultMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service, connections: TcpConnections, names: RouteNames) -> None:
        self.app = app
        self.service = service
        self.connections = connections
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = route_on_raw_path(scope)
        # Read the whole body first, so that a fault applies after the caller has sent the whole request, and a caller
        # that disconnects later does not stop the work.
        body = await _read_body(receive)
        if body is None:
            return
        if path.startswith("/_emulator"):
            await self._send(await self._work(scope, receive, body), send)
            return
        entry, fault = self._arrive(scope, path)
        answer = await self._answer(scope, receive, body, fault)
        if answer is None:
            await self._cut(scope, receive, flush=False)
            return
        entry["status"] = answer.status
        if fault is not None and fault.kind == "cut_body":
            await self._send(answer, send, half=True)
            await self._cut(scope, receive, flush=True)
            return
        if fault is not None and fault.kind in ("trickle", "oversized", "zip_bomb"):
            await self._start(answer, send)
            await send_odd_body(fault, answer.body, send, self._wait)
            return
        wrong_by = fault.offset if fault is not None and fault.kind == "wrong_date" else 0.0
        await self._send(answer, send, wrong_by=wrong_by)

    def _arrive(self, scope: Scope, path: str) -> tuple[Entry, Fault | None]:
        service = self.service
        method = scope["method"]
        route = self.names.find(method, path)
        with service.lock:
            key = service.keys.bearer(_header(scope, b"authorization"))
            fault = service.faults.strike(method, f"{method} {route}" if route else None)
            entry = service.log.arrive(
                at=service.clock.stamp(),
                method=method,
                path=service.keys.hide(path),
                query=service.keys.hide(scope["query_string"].decode("ascii", "replace")),
                route=route,
                person=key.person if key else None,
                fault=fault.kind if fault else None,
            )
        return entry, fault

    async def _answer(self, scope: Scope, receive: Receive, body: bytes, fault: Fault | None) -> Answer | None:
        """Return the response to send, or None."""
        if fault is None:
            return await self._work(scope, receive, body)
        if fault.kind == "slow":
            await self._wait(fault.seconds)
        answer = await self._work(scope, receive, body) if fault.does_work() else None
        if fault.kind == "slow_after":
            await self._wait(fault.seconds)
        if fault.kind in ("status", "html", "redirect", "garbage"):
            return _spoilt(fault)
        if fault.kind in ("oversized", "zip_bomb") and answer is not None:
            answer.headers = odd_headers(fault)
        return None if fault.kind == "cut_after" else answer

    async def _wait(self, seconds: float) -> None:
        """Wait in steps, so that a server that stops does not wait too."""
        end = time.monotonic() + seconds
        while not self.service.stopping and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.05))

    async def _work(self, scope: Scope, receive: Receive, body: bytes) -> Answer:
        """Run the application, and return its response."""
        answer = Answer(500, [], b"")
        waiting = [body]

        async def replay() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return await receive()

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        await self.app(scope, replay, keep)
        return answer

    async def _send(self, answer: Answer, send: Send, *, half: bool = False, wrong_by: float = 0.0) -> None:
        await self._start(answer, send, wrong_by)
        body = answer.body[: len(answer.body) // 2] if half else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": half})

    async def _start(self, answer: Answer, send: Send, wrong_by: float = 0.0) -> None:
        clock = self.service.clock
        # The server's own Date header is disabled. This one follows the emulator's clock.
        headers = [*answer.headers, (b"date", clock.http_date(wrong_by).encode("ascii"))]
        if clock.is_moved:
            # This header shows a caller that the clock was moved on purpose.
            headers.append((b"x-emulator-clock-offset", f"{clock.offset:.3f}".encode("ascii")))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})

    async def _cut(self, scope: Scope, receive: Receive, *, flush: bool) -> None:
        self.connections.cut(scope["client"], flush=flush)
        # If this returned before the server noticed the disconnect, the server would send its own 500.
        while (await receive())["type"] != "http.disconnect":
            pass


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if the caller disconnected before it was sent."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _header(scope: Scope, wanted: bytes) -> str | None:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return None


def _spoilt(fault: Fault) -> Answer:
    """Return the response of a fault, which replaces the application's."""
    if fault.kind == "redirect":
        return _made(fault.status or 307, "text/plain", b"", {"Location": fault.location, **fault.headers})
    if fault.kind == "html":
        page: Any = "<html><body><h1>502 Bad Gateway</h1></body></html>" if fault.body is None else fault.body
        return _made(fault.status or 502, "text/html", str(page).encode(), fault.headers)
    if fault.kind == "garbage":
        text = '{"flags": [}' if fault.body is None else str(fault.body)
        return _made(fault.status or 200, "application/json", text.encode(), fault.headers)
    body = {"error": f"The emulator injects the status {fault.status}."} if fault.body is None else fault.body
    if isinstance(body, str):
        return _made(fault.status or 500, "text/plain", body.encode(), fault.headers)
    return _made(fault.status or 500, "application/json", json.dumps(body).encode(), fault.headers)


def _made(status: int, content_type: str, body: bytes, headers: dict[str, str]) -> Answer:
    all_headers = {"content-type": content_type, "content-length": str(len(body))}
    all_headers.update({name.lower(): value for name, value in headers.items()})
    return Answer(status, [(name.encode(), value.encode()) for name, value in all_headers.items()], body)
