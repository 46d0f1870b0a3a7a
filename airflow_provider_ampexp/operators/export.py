"""Export the version history as a table: the changes of an interval, in a file for queries and joins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._timestamps import format_timestamp, parse_timestamp
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._atomic_file import atomic_write
from airflow_provider_ampexp.operators._base import AmplitudeOperator
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators.inventory import ListXCom

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["AmplitudeExportVersionsOperator"]

_format = arguments.one_of("jsonl", "parquet")


class AmplitudeExportVersionsOperator(AmplitudeOperator):
    """Write the changes of the data interval to a file, with a row for each changed field (contract: *List versions*).

    The file is ``<path>/interval_start=<YYYYMMDDTHHMMSSZ>/changes.jsonl`` (or ``.parquet``). Each interval has its own
    file, also an interval without changes. A second run writes the same bytes, so retries and backfills are safe. The
    columns are ``at``, ``by``, ``kind``, ``project_id``, ``id``, ``key``, ``version``, ``field``, ``from`` and ``to``.
    The rows are ordered by time. ``from`` and ``to`` are JSON values; in Parquet they are texts of JSON.

    The task returns ``{"path", "count"}``. The task first finds the flags and experiments that changed. With the
    service's versions feed, this is 1 request for each 1,000 changes. Without the feed, the task reads the lists of
    flags and experiments: 1 request for each 1,000 objects. Then the task reads the history of each changed flag or
    experiment: 1 request each.

    All arguments are templated.

    :param path: the folder, as a URL for ``ObjectStoragePath`` (``s3://conn_id@bucket/flag-changes``, ``file:///data``)
    :param format: ``jsonl`` (default), or ``parquet``, which needs the package ``pyarrow`` on the worker
    :param start: the start of the interval, ISO 8601 with a time zone (default: the start of the run's data interval)
    :param end: the end of the interval, which is not in the interval (default: the end of the run's data interval)
    :param project_id: only changes of this project (default: all projects that the key can see)
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
            the error
        :raises AmplitudeTaskError: when the interval ends in more than 60 seconds, or a retry may fix the error
        """
        from airflow_provider_ampexp.operators._change_table import find_changed, read_changes, row_writer

        with error_context("export the changes of an interval"):
            start, end = self._interval(context)
            write = row_writer(_format("format", self.format))
            project_id = self.named_project()
        with error_context(f"export the changes from {format_timestamp(start)} to {format_timestamp(end)}"):
            with self.hook() as hook:
                changed = find_changed(hook.client, start, end, project_id)
                rows = read_changes(hook.client, changed, start, end)
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
