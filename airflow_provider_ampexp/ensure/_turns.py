"""Let tasks on one machine take turns at a list that the API changes by place.

The tasks use a lock file. Other machines and people do not see the lock, so it only reduces conflicts. A task must
still check the result of its change. Without a usable file system the task continues without a lock.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LONGEST_WAIT = 120.0
_BETWEEN_TRIES = 0.02


@contextmanager
def in_turn(*names: str) -> Iterator[None]:
    """Hold the lock of these names. After two minutes the task continues without the lock."""
    descriptor = _open(names)
    try:
        if descriptor is not None:
            _wait(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)  # this releases the lock; the end of the process does too


def _open(names: tuple[str, ...]) -> int | None:
    name = hashlib.sha256("\n".join(names).encode()).hexdigest()[:32]
    folder = os.path.join(tempfile.gettempdir(), f"airflow_provider_ampexp-{os.getuid()}")
    with suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if os.lstat(folder).st_uid == os.getuid():
            return os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return None


def _wait(descriptor: int) -> None:
    import fcntl

    give_up = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < give_up:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES)
        except OSError:  # the file system has no locks
            return
