"""Count the users who enter a flag when its percentage is raised: how many, from which groups, with which sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_provider_ampexp.bucketing import Audience, Unknown
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

        :raises ValueError: when a named column is not in the rows, or a value to sum is not a number
        """
        wanted = [*self.group_by, *self.sums, *self.refuse_if, *([self.names] if self.names else [])]
        if missing := [name for name in wanted if name not in columns]:
            raise ValueError(f"expected the columns {missing} in the query, got {list(columns)}")
        if self.before.inclusions and "user_id" not in columns:
            self.included = sum(map(len, self.before.inclusions.values()))
            self.before, self.after = (replace(each, inclusions={}) for each in (self.before, self.after))
        for values in rows:
            self._add({"device_id": None, **dict(zip(columns, values, strict=True))})

    def _add(self, row: Mapping[str, object]) -> None:
        self.users += 1
        after = self.after.evaluate(row)
        if after is None:
            return
        before = self.before.evaluate(row)
        for answer in (before, after):
            if isinstance(answer, Unknown):
                self.unknown[answer.reason] += 1
                return
        if before is not None:
            return
        self.count += 1
        for column in self.group_by:
            self.groups.setdefault(column, Counter())[_shown(row[column])] += 1
        for column in self.sums:
            if row[column] is not None:
                self.totals[column] = self.totals.get(column, 0.0) + as_number(f"column {column!r}", row[column])
        for column, values in self.refuse_if.items():
            self.refused[column] += _shown(row[column]) in values
        if self.names and len(self.named) < _MOST_NAMES:
            self.named[_shown(row[self.names])] = None

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
