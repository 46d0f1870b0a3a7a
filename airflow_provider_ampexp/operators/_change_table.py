"""Find the flags and experiments that changed in an interval, read their changes, and write a table of the changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from importlib import import_module
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import NotFoundError, UnexpectedResponseError
from airflow_provider_ampexp.client._optional_fields import config_of
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.history._field_changes import COLUMNS, Row, in_order, rows_of, within

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig, Json

_LONGEST_WAIT = 60.0
_T = TypeVar("_T")


def find_changed(
    client: ManagementClient, start: datetime, end: datetime, project_id: str | None
) -> list[tuple[Kind, str]]:
    """Return the kind and id of each flag or experiment that may have changed in the interval."""
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
        pass  # this server has no versions feed
    found: set[tuple[Kind, str]] = set()
    for endpoints in (client.flags, client.experiments):
        read = partial(endpoints.list, project_id=project_id, include_archived=True)
        for config in _after(end, client, read):
            last = parse_timestamp(config.get("lastModifiedAt"))
            if last is None or last >= start:
                found.add((endpoints.kind, config["id"]))
    return sorted(found)


def _after(end: datetime, client: ManagementClient, read: Callable[[], Iterator[_T]]) -> list[_T]:
    """Read the items after the end of the interval on the service's clock, because an earlier read can miss changes.

    :raises AmplitudeTaskError: when the interval ends in more than 60 seconds
    """
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


def read_changes(
    client: ManagementClient, changed: list[tuple[Kind, str]], start: datetime, end: datetime
) -> list[Row]:
    """Return the changes of these flags and experiments in the interval, ordered by time."""
    return in_order(within(_rows(client, changed), start, end))


def _rows(client: ManagementClient, changed: list[tuple[Kind, str]]) -> Iterator[Row]:
    for kind, id in changed:
        endpoints = client.flags if kind == "flags" else client.experiments
        try:
            versions = endpoints.versions(id)
        except NotFoundError:
            # A version of an experiment may omit the fields that only experiments have. Such a version looks like a
            # version of a flag. Another version of the same experiment may have the fields.
            if kind == "experiments":
                raise
            if ("experiments", id) not in changed:
                yield from rows_of("experiments", id, client.experiments.versions(id))
        else:
            yield from rows_of(kind, id, versions)


def row_writer(format: str) -> Callable[[list[Row], IO[bytes]], None]:
    """Return the function that writes rows in this format.

    :raises InvalidInputError: when the package for the format is missing
    """
    if format == "jsonl":
        return _write_json_lines
    try:
        return partial(_write_parquet, import_module("pyarrow"), import_module("pyarrow.parquet"))
    except ImportError:
        raise InvalidInputError(
            "format",
            "parquet needs the package pyarrow, which is not installed on the worker. Install pyarrow, or set "
            "format='jsonl'",
        ) from None


def _write_json_lines(rows: list[Row], file: IO[bytes]) -> None:
    for row in rows:
        # The service may return the fields of an object in any order. Sorted fields make the same bytes.
        line = {**row, "from": json.loads(_text(row["from"])), "to": json.loads(_text(row["to"]))}
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _write_parquet(pyarrow: Any, parquet: Any, rows: list[Row], file: IO[bytes]) -> None:
    # `from` and `to` are texts, because Parquet has no type for JSON.
    columns = {
        name: [_text(row[name]) if name in ("from", "to") else row[name] for row in rows]  # type: ignore[literal-required]
        for name in COLUMNS
    }
    types = {name: pyarrow.int64() if name == "version" else pyarrow.string() for name in COLUMNS}
    parquet.write_table(pyarrow.table(columns, schema=pyarrow.schema(types.items())), file)


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
