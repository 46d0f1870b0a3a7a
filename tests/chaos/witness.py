"""Record, in each task's process, its requests, the versions that it had read, its verdicts and its messages.

The witness changes nothing. It uses Airflow's listeners for the start and the end of a task, and hooks of ``requests``,
but no code of the provider. It writes a line before a request is sent, so a kill cannot hide a request.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FILE = "AMPEXP_CHAOS_WITNESS"  # the environment variable with the file


@dataclass(frozen=True)
class Line:
    """A line of one process. ``try_number`` is the number of the task's try."""

    what: str
    at: float
    run_id: str
    try_number: int
    pid: int
    more: dict[str, Any]


class Witness:
    """Write lines about one try."""

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
        """Record each request of this process from now on."""
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
    """Return all lines, in the order of time."""
    if not file.exists():
        return []
    return sorted((Line(**json.loads(line)) for line in file.read_text().splitlines()), key=lambda line: line.at)


def _newest(response: Any, path: str) -> int | None:
    """Return the newest version in a response that lists versions."""
    if not path.endswith("/versions") or response.status_code != 200:
        return None
    try:
        told = response.json()
    except ValueError:
        return None
    return max(
        (int(version["version"]) for version in (told if isinstance(told, list) else told["versions"])), default=0
    )
