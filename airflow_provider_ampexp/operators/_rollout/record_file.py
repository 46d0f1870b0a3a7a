"""The record of one task as a file of JSON lines on an object store, beyond Airflow's own retention.

Object stores cannot append. So each task has its own file. The task reads it, adds the missing lines, and replaces the
whole file. A line that was not written is written with the next line.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import quote

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._atomic_file import atomic_write

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp._limited_call import LimitedCall
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout._record import RecordLine

LIMIT = 5.0
"""The time limit in seconds of a write before a wait and at the end of a task."""

_log = logging.getLogger(__name__)


class Origin(TypedDict):
    """The origin of a line. Each line of a file has it, so that a query can read many files."""

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
    :param origin: of each line
    """

    def __init__(self, path: str, origin: Origin) -> None:
        self.path = path
        self._origin = origin
        self._written: set[str] = set()
        self._call: LimitedCall[None] | None = None

    @classmethod
    def of(cls, context: Context, record_path: object, flag: ManagedFlag) -> RecordFile | None:
        """Return the file of this task; ``None`` without a valid folder, and outside of a task."""
        ti = context.get("ti")
        if ti is None or record_path is None:
            return None
        try:
            folder = arguments.folder("record_path", record_path)
        except InvalidInputError as error:
            _log.warning("Writing the record to a file failed: %s. The record is in XCom only.", error)
            return None
        index = -1 if ti.map_index is None else ti.map_index
        task = file_name(ti.task_id) + (f"+{index}" if index >= 0 else "")
        path = f"{folder.rstrip('/')}/{file_name(ti.dag_id)}/{file_name(ti.run_id)}/{task}.jsonl"
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
        """Begin to write the missing lines. During an earlier write, the lines wait for the next call."""
        missing = self._missing(record)
        if missing and (self._call is None or not self._call.is_running):
            self._call = limited_call.begin(lambda: self._write(missing), "write the record of the rollout")

    def finish(self, record: Iterable[RecordLine]) -> None:
        """Wait at most 5 seconds for the write, and again for one repetition. Log the missing lines."""
        lines = list(record)
        error = self._error()
        if self._call is None or not self._call.is_running:
            self.begin(lines)
            error = self._error()
        if error is not None and (missing := self._missing(lines)):
            _log.warning(
                "Writing the record to %s failed: %s: %s. The rollout continues. The next write has these lines: %s",
                self.path,
                type(error).__name__,
                error,
                json.dumps(missing, default=str),
            )

    def _error(self) -> Exception | None:
        """Return the error of the last write, also one for a write that takes too long."""
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
    """Return the id of a line; ``None`` for a line of another writer, which stays as it is."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line.get("id") if isinstance(line, dict) else None


def file_name(name: str) -> str:
    """Return an id of Airflow as one part of a path. Different ids give different parts."""
    quoted = quote(name, safe="+:=@")
    return quoted.replace(".", "%2E") if set(quoted) == {"."} else quoted
