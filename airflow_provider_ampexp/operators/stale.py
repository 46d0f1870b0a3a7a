"""Find flags and experiments that are no longer of use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_ampexp._keys import STALE_XCOM
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._atomic_file import atomic_write
from airflow_provider_ampexp.operators._base import AmplitudeOperator
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators.inventory import ListXCom

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import FlagEndpoints
    from airflow_provider_ampexp.client.types import FlagConfig

__all__ = ["AmplitudeStaleFlagsOperator", "StaleFlag"]

_NOT_EVALUATED = "not evaluated"


class StaleFlag(TypedDict):
    """A row of the result."""

    kind: str
    id: str
    key: str | None
    name: str | None
    reasons: dict[str, str]
    """Each reason with a time (ISO 8601, UTC). The reason has been true since that time, or since an earlier time."""
    created_by: str
    last_modified_by: str
    tags: list[str]
    depended_on_by: list[str]
    """The flags and experiments in use that depend on this one."""
    url: str


class AmplitudeStaleFlagsOperator(AmplitudeOperator):
    """List the flags and experiments that are no longer of use (contract: *List*, *List versions*). Change nothing.

    A flag or experiment is stale when one of these is true for ``days`` days:

    * ``at 100 %``: enabled, each percentage is 100, also in each target segment, and all users get one variant
    * ``at 0 %``: enabled, and each percentage is 0
    * ``disabled``
    * ``no deployment``: assigned to no deployment
    * ``decided``: an experiment with the decision to roll out or to roll back
    * ``not evaluated``: the query ``evaluations_sql`` counts no evaluation

    The task sends 1 request for each 1,000 flags and each 1,000 experiments. It also reads the history of each stale
    candidate that was edited in the last ``days`` days, with 1 request: after an edit of the description, a flag is
    still stale. Archived objects are omitted.

    The task returns a list of rows (:class:`StaleFlag`). With ``path``, it writes a file with one JSON object per line,
    and returns ``{"path", "count"}``. The task logs a line for each row. The Rollouts page shows the latest list. All
    arguments except ``max_items`` are templated.

    :param days: the number of days, 1 or more (default: 30)
    :param project_id: list only objects of this project; default: the project of the connection
    :param exclude_tags: omit objects with one of these tags, such as ``["permanent"]``
    :param conn_id: the connection of the warehouse, whose hook is a ``DbApiHook``
    :param evaluations_sql: returns rows of a key and its number of evaluations in the last days; the numbers of several
        rows of a key are added. A key without a row has no evaluation. A query without rows is an error. Objects
        that are younger than ``days`` do not count as not evaluated. (a file ``*.sql`` too)
    :param path: the file to write, in the form of ``ObjectStoragePath``; the task replaces the whole file
    :param max_items: the largest number of rows for XCom; with more rows the task fails (default: 1,000)
    """

    template_fields: Sequence[str] = (
        *AmplitudeOperator.template_fields,
        *("days", "exclude_tags", "conn_id", "evaluations_sql", "path"),
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"evaluations_sql": "sql"}  # noqa: RUF012  # as Airflow declares it

    def __init__(
        self,
        *,
        days: int | str = 30,
        exclude_tags: Sequence[str] | str = (),
        conn_id: str | None = None,
        evaluations_sql: str | None = None,
        path: str | None = None,
        max_items: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.days = days
        self.exclude_tags = exclude_tags
        self.conn_id = conn_id
        self.evaluations_sql = evaluations_sql
        self.path = path
        self.max_items = max_items
        arguments.check_literal("days", days, _days)
        arguments.check_literal("exclude_tags", exclude_tags, arguments.texts)
        arguments.check_literal("conn_id", conn_id, arguments.optional(arguments.text))
        arguments.check_literal("evaluations_sql", evaluations_sql, arguments.optional(arguments.text))
        arguments.check_literal("path", path, arguments.optional(arguments.text))
        if (conn_id is None) != (evaluations_sql is None):
            raise InvalidInputError("conn_id/evaluations_sql", "expected both or none")

    def execute(self, context: Context) -> list[StaleFlag] | ListXCom:
        """List the stale flags and experiments.

        :raises AirflowFailException: when there are more than ``max_items`` rows and no ``path``, or a retry cannot fix
            the error
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        with error_context("list stale flags"), self.hook() as hook:
            rows = list(self._rows(hook.client, self.project_of(hook)))
            for row in rows:
                self.log.info("%s", _line(row))
            self.log.info("Found %d stale flags and experiments.", len(rows))
            result: list[StaleFlag] | ListXCom = rows
            if self.path is not None:
                path = arguments.text("path", self.path)
                with atomic_write(path) as file:
                    for row in rows:
                        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                result = {"path": path, "count": len(rows)}
            elif len(rows) > self.max_items:
                raise InvalidInputError(
                    "max_items", f"more than {self.max_items} results; set path to write them to a file"
                )
            self._show(context, hook.amplitude_conn_id)
            return result

    def _show(self, context: Context, amplitude_conn_id: str) -> None:
        """Push the connection and the days to XCom, for the Rollouts page. Outside of a task, do nothing."""
        if (ti := context.get("ti")) is not None:
            days = _days("days", self.days)
            ti.xcom_push(key=STALE_XCOM, value={"amplitude_conn_id": amplitude_conn_id, "days": days})

    def _rows(self, client: ManagementClient, project_id: str | None) -> Iterator[StaleFlag]:
        from airflow_provider_ampexp.ensure._dependencies import described
        from airflow_provider_ampexp.ensure._parents import parents_of

        excluded = arguments.texts("exclude_tags", self.exclude_tags)
        evaluations = self._evaluations()
        listed = [
            (config, endpoints)
            for endpoints in (client.flags, client.experiments)
            for config in endpoints.list(project_id=project_id)
        ]
        before = (client.date or datetime.now(timezone.utc)) - timedelta(days=_days("days", self.days))
        dependents: dict[str, list[str]] = {}
        for config, endpoints in listed:
            for parent in parents_of(config):
                dependents.setdefault(parent, []).append(described(config, endpoints.kind))
        for config, endpoints in listed:
            if set(config.get("tags") or ()) & set(excluded):
                continue
            reasons = _reasons(config, endpoints, before)
            if evaluations is not None and not evaluations.get(str(config.get("key"))) and _is_older(config, before):
                reasons[_NOT_EVALUATED] = _shown(before)
            if reasons:
                yield _row(client, config, endpoints, reasons, dependents.get(config["id"], []))

    def _evaluations(self) -> dict[str, float] | None:
        """Read the number of evaluations by key; ``None`` without a query."""
        if self.evaluations_sql is None:
            return None
        from airflow_provider_ampexp.guardrails._warehouse import as_number, sql_hook

        rows = sql_hook(arguments.text("conn_id", self.conn_id)).get_records(
            arguments.text("evaluations_sql", self.evaluations_sql)
        )
        try:
            counts = [(str(key), as_number(f"the evaluations of {key!r}", count)) for key, count in rows or ()]
        except ValueError as error:
            raise InvalidInputError("evaluations_sql", f"expected rows of a key and a number: {error}") from None
        if not counts:
            raise InvalidInputError(
                "evaluations_sql", "expected rows of a key and a number, got no row: every flag would be stale"
            )
        found: dict[str, float] = {}
        for key, count in counts:
            found[key] = found.get(key, 0) + count
        return found


def _reasons(config: FlagConfig, endpoints: FlagEndpoints, before: datetime) -> dict[str, str]:
    """Return the reasons that have been true since ``before`` or an earlier time, each with its time."""
    from airflow_provider_ampexp.client._timestamps import parse_timestamp
    from airflow_provider_ampexp.history._stale import RULES, held_since

    true_now = {reason: rule for reason, rule in RULES.items() if rule(config)}
    if not true_now:
        return {}
    edited = parse_timestamp(config.get("lastModifiedAt"))
    if edited is not None and edited <= before:
        return dict.fromkeys(true_now, _shown(edited))
    versions = endpoints.versions(config["id"])
    times = {reason: held_since(versions, rule) for reason, rule in true_now.items()}
    return {reason: _shown(time) for reason, time in times.items() if time is not None and time <= before}


def _row(
    client: ManagementClient,
    config: FlagConfig,
    endpoints: FlagEndpoints,
    reasons: dict[str, str],
    depended_on_by: list[str],
) -> StaleFlag:
    from airflow_provider_ampexp.client._actors import actor_name
    from airflow_provider_ampexp.ensure import flag_url

    return {
        "kind": endpoints.kind,
        "id": config["id"],
        "key": config.get("key"),
        "name": config.get("name"),
        "reasons": reasons,
        "created_by": actor_name(config.get("createdBy"), unknown=""),
        "last_modified_by": actor_name(config.get("lastModifiedBy"), unknown=""),
        "tags": [str(tag) for tag in config.get("tags") or ()],
        "depended_on_by": depended_on_by,
        "url": flag_url(client, config),
    }


def _line(row: StaleFlag) -> str:
    reasons = ", ".join(f"{reason} since {time[:10]}" for reason, time in row["reasons"].items())
    noun = "flag" if row["kind"] == "flags" else "experiment"
    depended = f"; a dependency of {', '.join(row['depended_on_by'])}" if row["depended_on_by"] else ""
    by = f"; created by {row['created_by']}" if row["created_by"] else ""
    return f"{noun} {row['key']!r}: {reasons}{by}{depended}."


def _is_older(config: FlagConfig, before: datetime) -> bool:
    from airflow_provider_ampexp.client._timestamps import parse_timestamp

    created = parse_timestamp(config.get("createdAt"))
    return created is None or created <= before


def _shown(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _days(field: str, value: object) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 36_500:
        raise InvalidInputError(field, f"expected a number of days, 1 or more, got {value!r}")
    return int(text)
