"""Replace a whole file, on any store of ``ObjectStoragePath``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


@contextmanager
def atomic_write(path: str) -> Iterator[IO[bytes]]:
    """Open a file that gets its name after all is written. After an error, the old file stays.

    An object store shows a file when the file is closed, also after an error. So the data are written under another
    name in the same folder. Missing folders are created.
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
