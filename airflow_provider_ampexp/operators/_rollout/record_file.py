"""The record of one task as a file of JSON lines on an object store, where it outlives Airflow's own retention.

Object stores cannot append. So each task has a file of its own, which it reads, completes by the lines that are
missing, and replaces as a whole: a file has one writer, and a line that was not written is written with the next one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import quote

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import _time_limit as time_limit
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._atomic_file import atomic_write

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.guardrails._time_limit import LimitedCall
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout._record import RecordLine

LIMIT = 5.0
"""For how many seconds a write is waited for before a wait and at the end of a task."""

_log = logging.getLogger(__name__)


class Origin(TypedDict):
    """Where a line comes from. Each line of a file says it, so that files can be queried together."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    kind: str
    key: str | None
    object_id: str
    segment: str | None


class RecordFile:
    """The file of one task. Nothing here raises, and only :meth:`finish` waits: a rollback comes first.

    :param path: of the file, for ``ObjectStoragePath``
    :param origin: what every line says besides
    """

    def __init__(self, path: str, origin: Origin) -> None:
        self.path = path
        self._origin = origin
        self._written: set[str] = set()
        self._call: LimitedCall[None] | None = None

    @classmethod
    def of(cls, context: Context, record_path: object, flag: ManagedFlag) -> RecordFile | None:
        """The file of this task; ``None`` where no folder is given, or none that is one, and outside of a task."""
        ti = context.get("ti")
        if ti is None or record_path is None:
            return None
        try:
            folder = arguments.folder("record_path", record_path)
        except InvalidInputError as error:
            _log.warning("The record is written to no file: %s.", error)
            return None
        index = -1 if ti.map_index is None else ti.map_index
        task = _file_name(ti.task_id) + (f"+{index}" if index >= 0 else "")
        path = f"{folder.rstrip('/')}/{_file_name(ti.dag_id)}/{_file_name(ti.run_id)}/{task}.jsonl"
        origin: Origin = {
            "dag_id": ti.dag_id,
            "run_id": ti.run_id,
            "task_id": ti.task_id,
            "map_index": index,
            "try_number": ti.try_number,
            "kind": flag.target.kind,
            "key": flag.config.get("key"),
            "object_id": flag.id,
            "segment": flag.segment,
        }
        return cls(path, origin)

    def begin(self, record: Iterable[RecordLine]) -> None:
        """Begin to write the lines that are missing. While an earlier write goes on, they wait for the next call."""
        missing = self._missing(record)
        if missing and (self._call is None or not self._call.is_running):
            self._call = time_limit.begin(lambda: self._write(missing), "write the record of the rollout")

    def finish(self, record: Iterable[RecordLine]) -> None:
        """Wait for the write, for 5 seconds at most; what failed is tried once more. What is missing is logged."""
        lines = list(record)
        error = self._error()
        if self._call is None or not self._call.is_running:
            self.begin(lines)
            error = self._error()
        if error is not None and (missing := self._missing(lines)):
            _log.warning(
                "Writing the record to %s failed: %s: %s. The rollout goes on. The lines are written with the next "
                "one: %s",
                self.path,
                type(error).__name__,
                error,
                json.dumps(missing, default=str),
            )

    def _error(self) -> Exception | None:
        """Why the last write failed, or that it is not over in time."""
        if self._call is None:
            return None
        try:
            self._call.result(LIMIT)
        except Exception as error:
            return error
        return None

    def _missing(self, record: Iterable[RecordLine]) -> list[RecordLine]:
        return [line for line in record if line["id"] not in self._written]

    def _write(self, lines: list[RecordLine]) -> None:
        from airflow.sdk import ObjectStoragePath

        try:
            before = ObjectStoragePath(self.path).read_bytes()
        except FileNotFoundError:
            before = b""
        there = {_id_of(text) for text in before.splitlines()}
        new = [line for line in lines if line["id"] not in there]
        if new:
            with atomic_write(self.path) as file:
                file.write(before if before.endswith(b"\n") or not before else before + b"\n")
                for line in new:
                    file.write(json.dumps({**self._origin, **line}, default=str).encode() + b"\n")
        self._written |= {line["id"] for line in lines}


def _id_of(text: bytes) -> object:
    """The id of a line; ``None`` for one that is not ours. It stays in the file as it is."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line.get("id") if isinstance(line, dict) else None


def _file_name(name: str) -> str:
    """An id of Airflow as one part of a path. Two ids are never the same part."""
    quoted = quote(name, safe="+:=@")
    return quoted.replace(".", "%2E") if set(quoted) == {"."} else quoted
