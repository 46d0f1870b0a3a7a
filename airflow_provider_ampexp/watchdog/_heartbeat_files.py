"""Read the heartbeats of a folder, without Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from airflow_provider_ampexp.rollout._heartbeat import Heartbeat, HeartbeatError

_FILES = "**/*.json"


class FolderError(Exception):
    """The folder cannot be read."""


def read_heartbeats(folder: str) -> Iterator[tuple[str, Heartbeat | HeartbeatError]]:
    """Yield each file with its heartbeat, or with the reason why the file has none.

    :param folder: a local folder, or a folder of a store that fsspec supports
    :raises FolderError: when the folder cannot be read
    """
    try:
        files = list(_local_files(folder) if _is_local(folder) else _remote_files(folder))
    except Exception as error:
        raise FolderError(f"{type(error).__name__}: {error}") from None
    for name, text in files:
        if isinstance(text, Exception):
            yield name, HeartbeatError(f"{type(text).__name__}: {text}")
            continue
        try:
            yield name, Heartbeat.from_json(text)
        except HeartbeatError as error:
            yield name, error


def _is_local(folder: str) -> bool:
    return urlsplit(folder).scheme in ("", "file")


def _local_files(folder: str) -> Iterator[tuple[str, bytes | Exception]]:
    path = Path(folder.removeprefix("file://"))
    if not path.is_dir():
        raise NotADirectoryError(str(path))
    for file in sorted(path.glob(_FILES)):
        try:
            if not file.is_file():  # a read of a pipe would wait without end
                raise OSError("not a file")
            yield str(file), file.read_bytes()
        except OSError as error:
            yield str(file), error


def _remote_files(folder: str) -> Iterator[tuple[str, bytes | Exception]]:
    """Read the files of another store. Its credentials are those of the environment, not of an Airflow connection."""
    import fsspec  # type: ignore[import-untyped]

    store, path = fsspec.core.url_to_fs(folder)
    store.invalidate_cache()
    if not store.isdir(path):
        raise NotADirectoryError(folder)
    for name in sorted(store.glob(f"{path.rstrip('/')}/{_FILES}")):
        try:
            yield name, store.cat_file(name)
        except Exception as error:  # each store has its own errors
            yield name, error
