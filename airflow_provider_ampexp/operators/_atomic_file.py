"""A file that is replaced as a whole, on any store of ``ObjectStoragePath``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


@contextmanager
def atomic_write(path: str) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when all is written; after a failure the old one is still there.

    An object store shows a file when it is closed, also when that was because of an error. So it is written under
    another name in the same folder. Missing folders are made.
    """
    from airflow.sdk import ObjectStoragePath

    target = ObjectStoragePath(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished: ObjectStoragePath = target.parent / f".{target.name}.{uuid.uuid4().hex}.unfinished"
    try:
        with unfinished.open("wb") as file:  # type: ignore[no-untyped-call]
            yield file
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
