"""Count the users who enter a flag when its percentage is raised: how many, from which groups, with which sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_ampexp.bucketing import Audience, Unknown
from airflow_provider_ampexp.bucketing._conditions import column_of
from airflow_provider_ampexp.guardrails._warehouse import as_number

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators.preview import PreviewXCom

_MOST_GROUPS = 20
"""So many values of a column are named. The rest is counted together."""
_MOST_NAMES = 20


@dataclass
class Entrants:
    """The users who enter, counted row by row in flat memory.

    :param before: the audience now
    :param after: the audience at the new percentage
    :param group_by: the columns whose values are counted
    :param sums: the columns that are summed
    :param names: the column whose values are listed, if any
    :param refuse_if: for a column, the values that must not enter
    """

    before: Audience
    after: Audience
    group_by: Sequence[str] = ()
    sums: Sequence[str] = ()
    names: str | None = None
    refuse_if: Mapping[str, Collection[str]] = field(default_factory=dict)
    users: int = 0
    count: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Counter[str]] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    named: dict[str, None] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    included: int = 0

    def add(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Count some rows.

        :raises ValueError: when a named column is not in the rows, a value to sum is not a number, or a bucketing value
            has a decimal point
        """
        columns = self._as_named(columns)
        wanted = [*self.group_by, *self.sums, *self.refuse_if, *([self.names] if self.names else [])]
        if missing := [name for name in wanted if name not in columns]:
            raise ValueError(f"expected the columns {missing} in the query, got {list(columns)}")
        if self.before.inclusions and "user_id" not in columns:
            self.included = sum(map(len, self.before.inclusions.values()))
            self.before, self.after = (replace(each, inclusions={}) for each in (self.before, self.after))
        keys = self._bucketing_columns(columns)
        for values in rows:
            row = {"device_id": None, **dict(zip(columns, values, strict=True))}
            for key in keys:
                row[key] = _bucketing_value(key, row[key])
            self._add(row)

    def _as_named(self, columns: Sequence[str]) -> list[str]:
        """Return the columns as the arguments and the flag name them. Some warehouses return names in upper case."""
        given = [*self.group_by, *self.sums, *self.refuse_if, *([self.names] if self.names else [])]
        props = ["user_id", "device_id", *self.before.columns]
        named: dict[str, set[str]] = {}
        for name in [*given, *props, *(prop.removeprefix("gp:") for prop in props)]:
            named.setdefault(name.upper(), set()).add(name)
        return [
            next(iter(names)) if len(names := named.get(column, set())) == 1 and not names & set(columns) else column
            for column in columns
        ]

    def _bucketing_columns(self, columns: Sequence[str]) -> set[str]:
        keys = set()
        for segment in (None, *self.before.segments):
            with suppress(ValueError):  # not shown, so the answer is unknown
                keys.add(column_of(dict.fromkeys(columns), self.before.allocation_of(segment).key))
        return {key for key in keys if key is not None}

    def _add(self, row: Mapping[str, object]) -> None:
        self.users += 1
        after = self.after.evaluate(row)
        if after is None:
            return
        before = self.before.evaluate(row)
        for answer in (before, after):
            if isinstance(answer, Unknown):
                self.unknown[answer.reason] += 1
                self._refuse(row)
                return
        if before is not None:
            return
        self.count += 1
        for column in self.group_by:
            self.groups.setdefault(column, Counter())[_shown(row[column])] += 1
        for column in self.sums:
            if row[column] is not None:
                self.totals[column] = self.totals.get(column, 0.0) + as_number(f"column {column!r}", row[column])
        self._refuse(row)
        if self.names and len(self.named) < _MOST_NAMES:
            self.named[_shown(row[self.names])] = None

    def _refuse(self, row: Mapping[str, object]) -> None:
        for column, values in self.refuse_if.items():
            self.refused[column] += _shown(row[column]) in values

    def as_xcom(self, percentage_before: float | None, percentage: float) -> PreviewXCom:
        """Return the result."""
        return {
            "text": self._text(percentage_before, percentage),
            "percentage_before": percentage_before,
            "percentage": percentage,
            "users": self.users,
            "enter": self.count,
            "unknown": dict(self.unknown.most_common(_MOST_GROUPS)),
            "groups": {column: _most_common(self.groups.get(column, Counter())) for column in self.group_by},
            "sums": {column: self.totals.get(column, 0.0) for column in self.sums},
            "names": list(self.named),
            "refused": {column: count for column, count in self.refused.items() if count},
        }

    def _text(self, before: float | None, after: float) -> str:
        """Return such as ``25 % -> 50 %: 4,812 of 20,000 users enter; tier: free 4,700, pro 112; revenue: 91,200``."""
        at_most = "at most " if self.unknown or self.included else ""
        enter = self.count + sum(self.unknown.values())
        now = "disabled" if before is None else f"{before:g} %"
        parts = [f"{now} -> {after:g} %: {at_most}{enter:,} of {self.users:,} users enter"]
        for column in self.group_by:
            counts = _most_common(self.groups.get(column, Counter()))
            parts.append(f"{column}: {', '.join(f'{value} {count:,}' for value, count in counts.items()) or 'none'}")
        parts += [f"{column}: {self.totals.get(column, 0.0):,.6g}" for column in self.sums]
        if self.named:
            parts.append(f"{self.names}: {', '.join(self.named)}")
        if self.unknown:
            reason, count = self.unknown.most_common(1)[0]
            parts.append(f"for {sum(self.unknown.values()):,} of them it is not known, for example {count:,}: {reason}")
        if self.included:
            parts.append(f"up to {self.included:,} of them have it already by an inclusion")
        return "; ".join(parts)


def raised_to(audience: Audience, percentage: float, segment: str | None) -> Audience:
    """Return the audience after a raise, which also enables the flag.

    :raises ValueError: when the segment does not exist
    """
    return replace(audience, config={**audience.config, "enabled": True}).at(percentage, segment)


def _most_common(counts: Counter[str]) -> dict[str, int]:
    found = dict(counts.most_common(_MOST_GROUPS))
    rest = counts.total() - sum(found.values())
    return {**found, **({"(others)": rest} if rest else {})}


def _shown(value: object) -> str:
    return "(none)" if value is None else str(value)


def _bucketing_value(column: str, value: object) -> object:
    """Return a whole number without its decimal point: the service hashes text, and 1.0 is another text than 1."""
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    if isinstance(value, float | Decimal) and value == value:  # NaN is a null
        raise ValueError(f"expected a text or a whole number in column {column!r}, got {value!r}: cast it in the query")
    return value
