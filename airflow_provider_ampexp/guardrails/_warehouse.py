"""The base of guardrails that query a database."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, GuardrailOptions
from airflow_provider_ampexp.guardrails._data_time import check_with_complete_data, load_time
from airflow_provider_ampexp.guardrails._sql_template import rendered
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_duration, parse_positive_duration
from airflow_provider_ampexp.rollout._vocabulary import Verdict

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

NoData: TypeAlias = Literal["rollback", "hold", "pass"]
Row: TypeAlias = Sequence[object]

_BATCH = 10_000

_LOADED_AT = "loaded_at_sql"
_SOME_TIME = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class QueryGuardrail(GuardrailOptions):
    """A query over any connection whose hook is a ``DbApiHook``.

    See :class:`~airflow_provider_ampexp.guardrails.SqlGuardrail` for the arguments.
    """

    conn_id: str
    sql: str = field(repr=False)
    _: KW_ONLY
    name: str
    no_data: NoData
    no_data_grace: DurationLike = timedelta(0)
    variant: str | None = None
    loaded_at_sql: str | None = field(default=None, repr=False)
    load_timeout: DurationLike = timedelta(hours=12)

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.name("conn_id", self.conn_id)
        validate.name("name", self.name)
        if self.no_data not in get_args(NoData):
            raise InvalidInputError("no_data", f"expected one of {', '.join(get_args(NoData))}, got {self.no_data!r}")
        object.__setattr__(self, "no_data_grace", parse_duration("no_data_grace", self.no_data_grace))
        if self.variant is not None:
            validate.name("variant", self.variant)
        object.__setattr__(self, "load_timeout", parse_positive_duration("load_timeout", self.load_timeout))
        if self.loaded_at_sql is not None:
            self._check_query("loaded_at_sql", self.loaded_at_sql)
        self._check_query("sql", self.sql)

    def check(self, moment: CheckContext) -> CheckResult:
        """Run the query and judge its result. With ``loaded_at_sql``, judge only data that are complete.

        :raises TimeoutError: when the data are later than ``load_timeout``
        :raises ValueError: when a query returns something unexpected
        """
        if self.loaded_at_sql is None:
            return self._judge(moment)
        _, rows = self._rows(_LOADED_AT, self.loaded_at_sql, moment)
        limit = parse_positive_duration("load_timeout", self.load_timeout)
        return check_with_complete_data(
            self._judge, moment, load_time(rows), limit, is_bounded="loaded_until" in self.sql
        )

    def check_query(self, moment: CheckContext) -> None:
        """Run the query, and check only what needs no configuration of the flag, because the flag may not exist yet.

        :raises Exception: when the guardrail cannot work
        """
        self.check(moment)

    @abstractmethod
    def _judge(self, moment: CheckContext) -> CheckResult:
        """Run the query and judge its result."""

    def _check_query(self, field: str, sql: str) -> None:
        """Render the query once, so that a mistake is an error when Airflow parses the DAG."""
        some = CheckContext("flag", 1, _SOME_TIME, _SOME_TIME, segment="segment", variant="variant")
        rendered(field, sql, self._values(field, some))

    def _rows(self, field: str, sql: str, moment: CheckContext) -> tuple[list[str], list[Row]]:
        """Return the names of the columns in lower case, if the driver has them, and the rows."""
        query = rendered(field, sql, self._values(field, moment))
        hook = sql_hook(self.conn_id)
        rows: Iterable[Row] = hook.get_records(query) or ()
        columns = [str(column[0]).lower() for column in hook.last_description or ()]
        return columns, list(rows)

    def _stream(self, field: str, sql: str, moment: CheckContext, take: Callable[[Sequence[Row]], None]) -> int:
        """Call a function with the rows of a query, some thousands at a time, and return the number of columns."""
        query = rendered(field, sql, self._values(field, moment))
        return stream_rows(self.conn_id, query, lambda columns, rows: take(rows))

    def _values(self, field: str, moment: CheckContext) -> dict[str, object]:
        loaded = self.loaded_at_sql is not None and field != _LOADED_AT
        return {
            "flag_key": moment.flag_key,
            "percentage": moment.percentage,
            "stage_started_at": moment.stage_started_at,
            "now": moment.now,
            **({"loaded_until": moment.loaded_until} if loaded else {}),
            "variant": self.variant or moment.variant,
            "segment": moment.segment,
        }

    def _without_data(self, moment: CheckContext, why: str) -> CheckResult:
        """Return the result for no data: inconclusive within the grace, and then the result that ``no_data`` names."""
        if self._is_early(moment):
            return self._too_little(moment, why, None)
        if self.no_data == "pass":
            return CheckResult(Verdict.PASS, f"{why}, and no_data is 'pass'")
        return CheckResult(Verdict.FAIL, why, effect=self.no_data)

    def _too_little(self, moment: CheckContext, why: str, value: float | None) -> CheckResult:
        """Return an inconclusive result, which does not count towards a limit within the grace."""
        if self._is_early(moment):
            ends = moment.stage_started_at + self._grace
            return CheckResult(Verdict.INCONCLUSIVE, f"{why}, which does not count before {_wall(ends)}", value, "wait")
        return CheckResult(Verdict.INCONCLUSIVE, why, value)

    def _is_early(self, moment: CheckContext) -> bool:
        return moment.now < moment.stage_started_at + self._grace

    @property
    def _grace(self) -> timedelta:
        return parse_duration("no_data_grace", self.no_data_grace)


def as_number(what: str, given: object) -> float:
    """Return a driver's value as a number.

    :raises ValueError: when the value is not a number. A text is not parsed: cast it in the query.
    """
    if hasattr(given, "item"):
        given = given.item()  # some drivers return numpy's numbers
    if isinstance(given, bool) or not isinstance(given, int | float | Decimal) or not math.isfinite(given):
        raise ValueError(f"expected a number as {what}, got {given!r}")
    return float(given)


def stream_rows(conn_id: str, query: str, take: Callable[[list[str], Sequence[Row]], None]) -> int:
    """Call a function with the columns and the rows of a query, some thousands of rows at a time.

    :returns: the number of columns
    """

    def read(cursor: Any) -> list[Row]:
        columns = [str(column[0]) for column in cursor.description or ()]
        while rows := cursor.fetchmany(_BATCH):
            take(columns, rows)
        return []

    hook = sql_hook(conn_id)
    hook.run(query, handler=read)
    return len(hook.last_description or ())


def sql_hook(conn_id: str) -> DbApiHook:
    """Return the hook of a connection.

    :raises TypeError: when the connection has no hook for SQL
    """
    # Airflow needs neither of these to parse a DAG.
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException

    connection = BaseHook.get_connection(conn_id)
    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call]  # Airflow's
    except (AirflowException, ImportError, AttributeError) as error:  # an unknown type, a missing driver, no hook
        raise TypeError(f"{_no_sql_hook(conn_id, connection.conn_type)} ({error})") from error
    if not isinstance(hook, DbApiHook):
        raise TypeError(_no_sql_hook(conn_id, connection.conn_type))
    return hook


def _no_sql_hook(conn_id: str, conn_type: str | None) -> str:
    return f"connection {conn_id!r} has type {conn_type!r}, which has no SQL hook: install its provider"


def _wall(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
