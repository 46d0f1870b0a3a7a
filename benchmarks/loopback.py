"""A bare server on the loopback, in its own process. It answers at once, so the measured cost is that of the callers.

It serves a page of flags, a flag, and a variant ``go``, which is a 404 until the flag changes. A sensor of this
provider waits for a percentage of the flag. `HttpSensor` waits for the variant.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

import requests

PAGE = 1000
KEY = "ampex_bench"
FIRST_ID = 100000

_FLAG = {
    "id": "100000",
    "projectId": "100001",
    "key": "flag-100000",
    "name": "A feature of some sort",
    "description": "What it does, who asked for it, and when it goes.\nA second line.",
    "enabled": True,
    "deleted": False,
    "evaluationMode": "remote",
    "bucketingKey": "amplitude_id",
    "bucketingSalt": "sAlT1234",
    "bucketingUnit": "User",
    "rolloutPercentage": 1,
    "deployments": ["5001", "5002"],
    "variants": [{"key": "on", "name": "on", "payload": {"colour": "green", "size": 3}}, {"key": "control"}],
    "rolledOutVariant": None,
    "targetSegments": [
        {
            "name": "Beta",
            "percentage": 100,
            "bucketingKey": "amplitude_id",
            "conditions": [{"prop": "gp:plan", "op": "is", "type": "property", "values": ["beta", "staff"]}],
            "rolloutWeights": {"on": 1, "control": 0},
        }
    ],
    "tags": ["release", "search"],
    "createdAt": "2026-01-02T03:04:05.000Z",
    "lastModifiedAt": "2026-11-02T03:04:05.000Z",
}


class Loopback:
    """Start, query and stop the server. A context manager.

    :param flags: the number of flags
    """

    def __init__(self, flags: int) -> None:
        self._flags = flags
        self.base_url = ""

    def __enter__(self) -> Loopback:
        command = [sys.executable, "-m", "benchmarks.loopback", str(self._flags)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.base_url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def requests(self, since: float) -> list[float]:
        """Return the time of each request since a time, in seconds since 1970."""
        found: list[float] = self._ask("POST", "requests", since)
        return found

    def change(self, id: str) -> float:
        """Roll a flag out, and return the time of the change, in seconds since 1970."""
        at: float = self._ask("POST", "change", id)
        return at

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{self.base_url}/_bench/{path}", json=body, timeout=30).json()


class _Flags:
    """The state of the server: its flags, the changed flags, and the times of the requests."""

    def __init__(self, count: int) -> None:
        self.ids = range(FIRST_ID, FIRST_ID + count)
        self.changed: dict[str, float] = {}
        self.arrivals: list[float] = []
        self._plain = json.dumps(_FLAG).encode().split(b"100000")
        self._rolled_out = json.dumps({**_FLAG, "rolloutPercentage": 100}).encode().split(b"100000")

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        match path.strip("/").split("/"):
            case ["_bench", "requests"]:
                since = json.loads(body)
                return 200, json.dumps([arrival for arrival in self.arrivals if arrival >= since]).encode()
            case ["_bench", "change"]:
                at = self.changed[json.loads(body)] = time.time()
                return 200, json.dumps(at).encode()
        self.arrivals.append(time.time())
        match path.strip("/").split("/"):
            case ["api", "1", "flags"]:
                return 200, self._page(int(query.get("cursor", 0)), min(int(query.get("limit", 100)), PAGE))
            case ["api", "1", "flags", id]:
                return 200, self._flag(id)
            case ["api", "1", "flags", id, "variants", "go"] if id in self.changed:
                return 200, b'{"key": "go"}'
        return 404, b'{"error": "not found"}'

    def _flag(self, id: str) -> bytes:
        return id.encode().join(self._rolled_out if id in self.changed else self._plain)

    def _page(self, start: int, size: int) -> bytes:
        ids = self.ids[start : start + size]
        more = b', "nextCursor": "%d"' % (start + size) if start + size < len(self.ids) else b""
        return b'{"flags": [' + b", ".join(self._flag(str(id)) for id in ids) + b"]" + more + b"}"


class _Connection(asyncio.Protocol):
    """A connection, with the part of HTTP/1.1 that the callers use."""

    def __init__(self, answer: Callable[[str, str, dict[str, str], bytes], tuple[int, bytes]]) -> None:
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].decode("latin-1")
            length = next(
                (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
            )
            if len(self._received) < end + 4 + length:
                return
            body, self._received = self._received[end + 4 : end + 4 + length], self._received[end + 4 + length :]
            method, target, _ = head.split("\r\n", 1)[0].split()
            path, _, query = target.partition("?")
            status, content = self._answer(method, path, dict(parse_qsl(query)), body)
            self._transport.write(
                f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n"
                f"Date: {formatdate(usegmt=True)}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                + content
            )


async def _serve(flags: int) -> None:
    known = _Flags(flags)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(known.answer), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
