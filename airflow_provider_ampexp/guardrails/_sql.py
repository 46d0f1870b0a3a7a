"""A guardrail that compares a number from your warehouse with bounds."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, number
from airflow_provider_ampexp.guardrails._warehouse import QueryGuardrail, as_number

_SAMPLE = "sample"


@dataclass(frozen=True)
class SqlGuardrail(QueryGuardrail):
    """Asks a query for one row and compares its value with bounds.

    The first column is the value. A column named ``sample``, otherwise the second one, is how many it was measured on.

    :param conn_id: a connection whose hook is a ``DbApiHook``
    :param sql: the query. ``{{ flag_key }}``, ``{{ percentage }}``, ``{{ stage_started_at }}``, ``{{ variant }}`` and
        ``{{ segment }}`` become whole SQL literals with quotes of their own: write ``flag = {{ flag_key }}``. They are
        filled in when the guardrail is asked.
    :param name: what logs call it
    :param at_most: the highest value that passes
    :param at_least: the lowest value that passes
    :param baseline_sql: a query of the same form for the value to compare with, such as that of the control
    :param at_most_of_baseline: the highest value that passes, as a multiple of the baseline; 1.05 is 5 % more
    :param at_least_of_baseline: the lowest such ratio
    :param min_sample: with fewer than this, in the query or in the baseline, it is inconclusive
    :param variant: what ``{{ variant }}`` is; if not given, the variant that the rollout names, or ``NULL``
    :param no_data: what no row and ``NULL`` mean: ``"rollback"``, ``"hold"`` or ``"pass"``
    :param no_data_grace: how long after the stage began no data and too small a sample are only waited for and count
        towards no limit: a ``timedelta``, or a text such as ``"2h"``; nothing if not given
    :param effect: ``"rollback"``, or ``"hold"`` to only stop raising until it recovers
    :param dry_run: report and never act
    :param failure_limit: this many fails in a row have the effect
    :param inconclusive_limit: so do this many inconclusive answers in a row
    :param error_limit: so does raising this many times in a row
    :param timeout: how long a check may take: a ``timedelta`` or a text such as ``"5m"``. Past it the answer
        is an error.
    :raises InvalidInputError: names the argument that is wrong
    """

    _: KW_ONLY
    at_most: float | None = None
    at_least: float | None = None
    baseline_sql: str | None = field(default=None, repr=False)
    at_most_of_baseline: float | None = None
    at_least_of_baseline: float | None = None
    min_sample: float = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("at_most", "at_least", "at_most_of_baseline", "at_least_of_baseline"):
            _check_number(name, getattr(self, name), lowest=0 if "baseline" in name else -math.inf)
        _check_number("min_sample", self.min_sample, lowest=0)
        absolute = self.at_most is not None or self.at_least is not None
        relative = self.at_most_of_baseline is not None or self.at_least_of_baseline is not None
        if not absolute and not relative:
            raise InvalidInputError("at_most", "there is no bound; give at_most, at_least or one of the baseline's")
        for highest, lowest in (("at_most", "at_least"), ("at_most_of_baseline", "at_least_of_baseline")):
            above, below = getattr(self, highest), getattr(self, lowest)
            if above is not None and below is not None and below > above:
                raise InvalidInputError(lowest, f"{below} is more than {highest}, {above}: nothing could pass")
        if relative != (self.baseline_sql is not None):
            raise InvalidInputError("baseline_sql", "goes together with at_most_of_baseline or at_least_of_baseline")
        if self.baseline_sql is not None:
            self._check_query("baseline_sql", self.baseline_sql)

    def check(self, moment: CheckContext) -> CheckResult:
        """Run the query, and the baseline's, and compare.

        :raises ValueError: when there is more than one row, something else than a number, or no sample where
            ``min_sample`` wants one
        """
        measured = self._measure("sql", self.sql, moment)
        if measured is None:
            return self._without_data(moment, "the query has no data")
        if self.baseline_sql is None:
            return self._too_few(moment, measured, measured) or self._compared(measured, self._bounds())
        baseline = self._measure("baseline_sql", self.baseline_sql, moment)
        if baseline is None:
            return self._without_data(moment, "the query of the baseline has no data")
        return (
            self._too_few(moment, measured, measured)
            or self._too_few(moment, measured, baseline)
            or self._compared(measured, [*self._bounds(), *self._bounds_of(baseline.value)])
        )

    def _measure(self, field: str, sql: str, moment: CheckContext) -> _Measured | None:
        """The one row; ``None`` for no data."""
        columns, rows = self._rows(field, sql, moment)
        if len(rows) > 1:
            raise ValueError(f"{field} expected one row, got {len(rows)}")
        row = list(rows[0]) if rows else [None]
        has_sample = len(row) > 1
        sample = row.pop(columns.index(_SAMPLE) if _SAMPLE in columns else 1) if has_sample else None
        if row[0] is None:
            return None
        if self.min_sample and not has_sample:
            raise ValueError(f"{field} has no second column with the sample size, which min_sample needs")
        return _Measured(
            field,
            as_number(f"the value of {field}", row[0]),
            as_number(f"the sample of {field}", 0 if sample is None else sample) if has_sample else None,
        )

    def _too_few(self, moment: CheckContext, measured: _Measured, one: _Measured) -> CheckResult | None:
        if one.sample is None or one.sample >= self.min_sample:
            return None
        why = f"the sample of {one.field} is {number(one.sample)}, fewer than {number(self.min_sample)}"
        return self._too_little(moment, why, measured.value)

    def _bounds(self) -> list[_Bound]:
        given = (("most", self.at_most), ("least", self.at_least))
        return [_Bound(side, limit, number(limit)) for side, limit in given if limit is not None]

    def _bounds_of(self, baseline: float) -> list[_Bound]:
        if baseline < 0:
            raise ValueError(f"expected a baseline of 0 or more, got {number(baseline)}")
        given = (("most", self.at_most_of_baseline), ("least", self.at_least_of_baseline))
        return [
            _Bound(side, limit * baseline, f"{number(limit)} x the baseline of {number(baseline)}")
            for side, limit in given
            if limit is not None
        ]

    def _compared(self, measured: _Measured, bounds: list[_Bound]) -> CheckResult:
        value = measured.value
        missed = [one for one in bounds if not one.allows(value)]
        on = "" if measured.sample is None else f", measured on {number(measured.sample)}"
        if missed:
            sides = [f"{'more' if one.side == 'most' else 'less'} than {one.words}" for one in missed]
            return CheckResult("fail", f"{number(value)} is {' and '.join(sides)}{on}", value)
        kept = [f"at {one.side} {one.words}" for one in bounds]
        return CheckResult("pass", f"{number(value)} is {' and '.join(kept)}{on}", value)


@dataclass(frozen=True)
class _Measured:
    """One row. ``sample`` is ``None`` when the query does not tell it."""

    field: str
    value: float
    sample: float | None


@dataclass(frozen=True)
class _Bound:
    side: str
    limit: float
    words: str

    def allows(self, value: float) -> bool:
        return value <= self.limit if self.side == "most" else value >= self.limit


def _check_number(field: str, given: object, *, lowest: float) -> None:
    if given is None:
        return
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given) or given < lowest:
        raise InvalidInputError(field, f"{given!r} is not a number{', 0 or more' if lowest == 0 else ''}")
