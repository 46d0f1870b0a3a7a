"""History as a table: what changed in an interval, as a file that an analyst can join."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from importlib import import_module
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import NotFoundError, UnexpectedResponseError
from airflow_provider_ampexp.client._optional_fields import config_of
from airflow_provider_ampexp.client._timestamps import format_timestamp, parse_timestamp
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.history._field_changes import COLUMNS, Row, in_order, rows_of, within
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._atomic_file import atomic_write
from airflow_provider_ampexp.operators._base import AmplitudeOperator
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators.inventory import ListXCom

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig, Json

__all__ = ["AmplitudeExportVersionsOperator"]

_LONGEST_WAIT = 60.0
_T = TypeVar("_T")
_format = arguments.one_of("jsonl", "parquet")


class AmplitudeExportVersionsOperator(AmplitudeOperator):
    """Write who changed what in the data interval, one row a changed field (contract: *List versions*).

    The file is ``<path>/interval_start=<YYYYMMDDTHHMMSSZ>/changes.jsonl`` (or ``.parquet``), one for each interval,
    also where nothing changed. Run again it has the same bytes, so retries and backfills are safe. Its columns are
    ``at``, ``by``, ``kind``, ``project_id``, ``id``, ``key``, ``version``, ``field``, ``from`` and ``to``, ordered by
    time. The last two are JSON values; in Parquet their text.

    It returns ``{"path", "count"}``. What changed since the interval began it learns from the versions feed where the
    service has it, 1 request for each 1,000 changes, otherwise from the lists of flags and experiments, 1 for each
    1,000 of them. Then it reads the history of each that changed, 1 request each.

    Arguments are templated.

    :param path: the folder, as ``ObjectStoragePath`` takes it (``s3://conn_id@bucket/flag-changes``, ``file:///data``)
    :param format: ``jsonl`` (default), or ``parquet``, which needs the package ``pyarrow`` on the worker
    :param start: where the interval begins, ISO 8601 with a time zone; the run's data interval if not given
    :param end: where it ends, itself not in it; the run's data interval if not given
    :param project_id: only what belongs to this project; if not given, to all projects that the key can see
    :param amplitude_conn_id: the connection
    """

    template_fields: Sequence[str] = (*AmplitudeOperator.template_fields, "path", "format", "start", "end")

    def __init__(
        self, *, path: str, format: str = "jsonl", start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.format = format
        self.start = start
        self.end = end
        arguments.check_literal("path", path, arguments.text)
        arguments.check_literal("format", format, _format)
        arguments.check_literal("start", start, arguments.optional(_moment))
        arguments.check_literal("end", end, arguments.optional(_moment))

    def execute(self, context: Context) -> ListXCom:
        """Read the histories and write the file.

        :raises AirflowFailException: when the run has no data interval, ``pyarrow`` is missing, or a retry cannot fix
            what went wrong
        :raises AmplitudeTaskError: when the interval is not over yet, or a retry may fix the error
        """
        with error_context("export the changes of an interval"):
            start, end = self._interval(context)
            write = _writer(_format("format", self.format))
            project_id = self.named_project()
        with error_context(f"export the changes from {format_timestamp(start)} to {format_timestamp(end)}"):
            with self.hook() as hook:
                changed = _changed(hook.client, start, end, project_id)
                rows = in_order(within(_rows(hook.client, changed), start, end))
            folder = arguments.text("path", self.path).rstrip("/")
            path = f"{folder}/interval_start={start:%Y%m%dT%H%M%SZ}/changes.{self.format}"
            with atomic_write(path) as file:
                write(rows, file)
        self.log.info("Wrote %d changes of %d flags and experiments to %s.", len(rows), len(changed), path)
        return {"path": path, "count": len(rows)}

    def _interval(self, context: Context) -> tuple[datetime, datetime]:
        found = []
        for field, given in (("start", self.start), ("end", self.end)):
            value: Any = context.get(f"data_interval_{field}") if given is None else given
            if value is None:
                raise InvalidInputError(field, "this run has no data interval: name start and end")
            found.append(_moment(field, value))
        start, end = found
        if start >= end:
            raise InvalidInputError(
                "start",
                f"{start} is not before {end}. A cron text as schedule gives intervals without length in Airflow 3: "
                "use schedule=CronDataIntervalTimetable(...) of airflow.sdk, or name start and end",
            )
        return start, end


def _moment(field: str, value: object) -> datetime:
    found = value if isinstance(value, datetime) else parse_timestamp(value)
    if found is None or found.tzinfo is None:
        raise InvalidInputError(field, f"expected a time in ISO 8601 with a time zone, got {value!r}")
    return found.astimezone(timezone.utc)


def _changed(
    client: ManagementClient, start: datetime, end: datetime, project_id: str | None
) -> list[tuple[Kind, str]]:
    """The kind and id of everything that may have changed in the interval."""
    try:
        feed = _after(end, client, partial(client.feed.versions, start, end))
        configs: list[FlagConfig] = [config_of(version) for version in feed]
        if all("id" in config for config in configs):
            meant = [
                found_config
                for found_config in configs
                if project_id is None or found_config.get("projectId") in (None, project_id)
            ]
            return sorted({(_kind(config), config["id"]) for config in meant})
    except (NotFoundError, UnexpectedResponseError):
        pass  # this server has no feed
    found: set[tuple[Kind, str]] = set()
    for endpoints in (client.flags, client.experiments):
        read = partial(endpoints.list, project_id=project_id, include_archived=True)
        for config in _after(end, client, read):
            last = parse_timestamp(config.get("lastModifiedAt"))
            if last is None or last >= start:
                found.add((endpoints.kind, config["id"]))
    return sorted(found)


def _after(end: datetime, client: ManagementClient, read: Callable[[], Iterator[_T]]) -> list[_T]:
    """Read when the interval is over on the service's clock: what is read before may not be all."""
    while True:
        items = read()
        first = list(islice(items, 1))
        left = (end - (client.date or datetime.now(timezone.utc))).total_seconds()
        if left <= 0:
            return [*first, *items]
        if left > _LONGEST_WAIT:
            raise AmplitudeTaskError(
                f"Exporting the changes until {end} failed: the interval ends in {left:.0f} s on Amplitude's clock. "
                "Nothing was written. Run the task again after that."
            )
        time.sleep(left)


def _kind(config: FlagConfig) -> Kind:
    return "experiments" if "state" in config or "experimentType" in config else "flags"


def _rows(client: ManagementClient, changed: list[tuple[Kind, str]]) -> Iterator[Row]:
    for kind, id in changed:
        endpoints = client.flags if kind == "flags" else client.experiments
        try:
            versions = endpoints.versions(id)
        except NotFoundError:
            # A version that shows neither of an experiment's fields looks like a flag's; others may have shown them.
            if kind == "experiments":
                raise
            if ("experiments", id) not in changed:
                yield from rows_of("experiments", id, client.experiments.versions(id))
        else:
            yield from rows_of(kind, id, versions)


def _writer(format: str) -> Callable[[list[Row], IO[bytes]], None]:
    """What writes rows in this format.

    :raises InvalidInputError: when a package for it is missing
    """
    if format == "jsonl":
        return _write_json_lines
    try:
        return partial(_write_parquet, import_module("pyarrow"), import_module("pyarrow.parquet"))
    except ImportError:
        raise InvalidInputError(
            "format", "parquet needs the package pyarrow on the worker, where it is not installed; or take 'jsonl'"
        ) from None


def _write_json_lines(rows: list[Row], file: IO[bytes]) -> None:
    for row in rows:
        # The service may name the fields of an object in any order; the bytes are to be the same.
        line = {**row, "from": json.loads(_text(row["from"])), "to": json.loads(_text(row["to"]))}
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _write_parquet(pyarrow: Any, parquet: Any, rows: list[Row], file: IO[bytes]) -> None:
    # A text, because Parquet has no type for JSON.
    columns = {
        name: [_text(row[name]) if name in ("from", "to") else row[name] for row in rows]  # type: ignore[literal-required]
        for name in COLUMNS
    }
    types = {name: pyarrow.int64() if name == "version" else pyarrow.string() for name in COLUMNS}
    parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(types.items())), file)


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
