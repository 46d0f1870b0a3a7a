"""A small HTTP server on the loopback. Unlike the emulator, it sends exactly the bytes that a test sets."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Asked:
    """A request, as the server received it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True, strict_parsing=True))


class Last(bytes):
    """Bytes after which the connection is closed."""


CUT = Last(b"")


def reply(body: Any = b"OK", status: int = 200, **headers: str) -> bytes:
    """Return a response. A body that is not bytes becomes JSON; ``Retry_After`` is the header ``Retry-After``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass
class BareServer:
    """Answer each request with the result of ``answer``, and record the requests and the number of connections."""

    answer: Callable[[Asked], bytes] = lambda asked: reply()
    tls: ssl.SSLContext | None = None
    port: int = 0
    # Not in the repr, because tests search tracebacks for secrets, and the server is a local variable there.
    asked: list[Asked] = field(default_factory=list, repr=False)
    connections: int = 0

    def __post_init__(self) -> None:
        self.closing = threading.Event()
        self._closed = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def base_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def never(self, asked: Asked) -> bytes:
        """Send no response while the server runs. For use as ``answer``."""
        self.closing.wait(10)
        return CUT

    def __enter__(self) -> BareServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        for connection in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        # A caller that closes the connection, or does not trust the certificate, is not an error of the server.
        with contextlib.suppress(OSError, ValueError):
            stream = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with stream, stream.makefile("rb") as incoming:
                while asked := _read(incoming):
                    self.asked.append(asked)
                    said = self.answer(asked)
                    stream.sendall(said)
                    if isinstance(said, Last):
                        break
        self._closed.release()

    def wait_for_a_close(self) -> None:
        """Return when the server has closed one more connection."""
        assert self._closed.acquire(timeout=10)


def _read(incoming: Any) -> Asked | None:
    first = incoming.readline().decode().split()
    if not first:
        return None
    headers = {}
    while line := incoming.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(first[0], first[1], headers, incoming.read(int(headers.get("content-length", 0))))
