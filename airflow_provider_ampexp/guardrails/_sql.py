"""A guardrail that compares a number from your warehouse with bounds."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, number
from airflow_provider_ampexp.guardrails._warehouse import QueryGuardrail, as_number
from airflow_provider_ampexp.rollout._vocabulary import Verdict

_SAMPLE = "sample"


@dataclass(frozen=True)
class SqlGuardrail(QueryGuardrail):
    """Run a query for one row, and compare its value with bounds.

    The first column is the value. A column named ``sample``, otherwise the second column, is the sample size.

    :param conn_id: a connection whose hook is a ``DbApiHook``
    :param sql: the query. ``{{ flag_key }}``, ``{{ percentage }}``, ``{{ stage_started_at }}``, ``{{ now }}``,
        ``{{ variant }}`` and ``{{ segment }}`` become whole SQL literals with their quotes: write
        ``flag = {{ flag_key }}``. The guardrail replaces them when it runs.
    :param name: the name in logs
    :param at_most: the highest value that passes
    :param at_least: the lowest value that passes
    :param baseline_sql: a query of the same form for the value to compare with, such as the control's
    :param at_most_of_baseline: the highest value that passes, as a multiple of the baseline; 1.05 is 5 % more
    :param at_least_of_baseline: the lowest such ratio
    :param min_sample: inconclusive with a smaller sample, in the query or in the baseline
    :param variant: the value of ``{{ variant }}``; default: the variant of the rollout, or ``NULL``
    :param no_data: the meaning of no row or ``NULL``: ``"rollback"``, ``"hold"`` or ``"pass"``
    :param no_data_grace: the time after the start of the stage during which no data and too small a sample do not count
        towards a limit: a ``timedelta``, or a text such as ``"2h"``; default: none
    :param loaded_at_sql: a query for the time up to which the data are complete. Then ``{{ loaded_until }}`` is in the
        query, and a pass needs data of the whole soak. A query without ``{{ loaded_until }}`` waits for them.
    :param load_timeout: how long after the soak the data may be late, before the result is an error
    :param effect: ``"rollback"``, or ``"hold"`` to stop raising until the guardrail passes
    :param dry_run: only report, without an effect
    :param failure_limit: the number of consecutive fails before the effect
    :param inconclusive_limit: the number of consecutive inconclusive results before the effect
    :param error_limit: the number of consecutive errors before the effect
    :param timeout: the time limit: a ``timedelta`` or a text such as ``"5m"``. After it the result is an error.
    :raises InvalidInputError: when an argument is invalid; the error names the argument
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
            raise InvalidInputError("at_most", "no bound: set at_most, at_least or a bound of the baseline")
        for highest, lowest in (("at_most", "at_least"), ("at_most_of_baseline", "at_least_of_baseline")):
            above, below = getattr(self, highest), getattr(self, lowest)
            if above is not None and below is not None and below > above:
                raise InvalidInputError(lowest, f"{below} is more than {highest}, {above}: no value can pass")
        if relative != (self.baseline_sql is not None):
            raise InvalidInputError("baseline_sql", "set it together with at_most_of_baseline or at_least_of_baseline")
        if self.baseline_sql is not None:
            self._check_query("baseline_sql", self.baseline_sql)

    def _judge(self, moment: CheckContext) -> CheckResult:
        """Run the query and the baseline's query, and compare.

        :raises ValueError: when there is more than one row, no number, or no sample size with ``min_sample``
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
        """Return the row; ``None`` for no data."""
        columns, rows = self._rows(field, sql, moment)
        if len(rows) > 1:
            raise ValueError(f"{field} expected one row, got {len(rows)}")
        row = list(rows[0]) if rows else [None]
        has_sample = len(row) > 1
        sample = row.pop(columns.index(_SAMPLE) if _SAMPLE in columns else 1) if has_sample else None
        if row[0] is None:
            return None
        if self.min_sample and not has_sample:
            raise ValueError(f"min_sample needs the sample size in a second column of {field}")
        return _Measured(
            field,
            as_number(f"the value of {field}", row[0]),
            as_number(f"the sample of {field}", 0 if sample is None else sample) if has_sample else None,
        )

    def _too_few(self, moment: CheckContext, measured: _Measured, side: _Measured) -> CheckResult | None:
        if side.sample is None or side.sample >= self.min_sample:
            return None
        why = f"the sample of {side.field} is {number(side.sample)}, fewer than {number(self.min_sample)}"
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
        missed = [bound for bound in bounds if not bound.allows(value)]
        on = "" if measured.sample is None else f", measured on {number(measured.sample)}"
        if missed:
            sides = [f"{'more' if bound.side == 'most' else 'less'} than {bound.words}" for bound in missed]
            return CheckResult(Verdict.FAIL, f"{number(value)} is {' and '.join(sides)}{on}", value)
        kept = [f"at {bound.side} {bound.words}" for bound in bounds]
        return CheckResult(Verdict.PASS, f"{number(value)} is {' and '.join(kept)}{on}", value)


@dataclass(frozen=True)
class _Measured:
    """A row. ``sample`` is ``None`` if the query has no sample size."""

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
        raise InvalidInputError(field, f"expected a number{', 0 or more' if lowest == 0 else ''}, got {given!r}")
