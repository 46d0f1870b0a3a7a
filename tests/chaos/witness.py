"""A witness in each task's process: which try sent what to the service and when, what it had seen, what it said.

It only looks on. It is told by Airflow's own listeners when a task begins and ends, and listens on ``requests``, so it
knows nothing of the provider. A line is in the file before a request is sent: no kill can hide one.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FILE = "AMPEXP_CHAOS_WITNESS"  # the variable of the environment that names it


@dataclass(frozen=True)
class Line:
    """What one process told. ``try_number`` is that of the task's try."""

    what: str
    at: float
    run_id: str
    try_number: int
    pid: int
    more: dict[str, Any]


class Witness:
    """Writes lines about one try."""

    def __init__(self, run_id: str, try_number: int) -> None:
        self._who = {"run_id": run_id, "try_number": try_number, "pid": os.getpid()}
        self._file = os.environ.get(FILE)

    def tell(self, what: str, **more: Any) -> None:
        """Append one line, in one write."""
        if self._file is None:
            return
        line = json.dumps({"what": what, "at": time.time(), **self._who, "more": more})
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    def listen(self) -> None:
        """Tell of every request of this process from now on."""
        import requests

        send = requests.Session.request
        if getattr(send, "is_witnessed", False):
            return

        def witnessed(session: requests.Session, method: str, url: str, *rest: Any, **more: Any) -> requests.Response:
            path = urlsplit(url).path
            self.tell("sent", method=method, path=path, body=more.get("json"))
            response = send(session, method, url, *rest, **more)
            self.tell("answered", method=method, path=path, status=response.status_code, newest=_newest(response, path))
            return response

        witnessed.is_witnessed = True  # type: ignore[attr-defined]
        requests.Session.request = witnessed  # type: ignore[method-assign, assignment]


def read(file: Path) -> list[Line]:
    """All lines, in the order of time."""
    if not file.exists():
        return []
    return sorted((Line(**json.loads(line)) for line in file.read_text().splitlines()), key=lambda line: line.at)


def _newest(response: Any, path: str) -> int | None:
    """The newest version in an answer that lists versions."""
    if not path.endswith("/versions") or response.status_code != 200:
        return None
    try:
        told = response.json()
    except ValueError:
        return None
    return max(
        (int(version["version"]) for version in (told if isinstance(told, list) else told["versions"])), default=0
    )
