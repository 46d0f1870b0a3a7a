"""Count the users who enter a flag when its percentage is raised, by group and with sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.bucketing import Audience, Unknown
from airflow_provider_ampexp.bucketing._conditions import column_of
from airflow_provider_ampexp.ensure._cohorts import named_cohorts
from airflow_provider_ampexp.guardrails._warehouse import as_number
from airflow_provider_ampexp.operators._unique_users import UniqueUsers
from airflow_provider_ampexp.rollout._preview import RolloutPreview

if TYPE_CHECKING:
    from airflow_provider_ampexp.bucketing._group_share import GroupShare
    from airflow_provider_ampexp.client.types import FlagConfig
    from airflow_provider_ampexp.operators.preview import PreviewXCom

_MOST_GROUPS = 20
"""The largest number of values of a column that are named. The other values are counted together."""
_MOST_NAMES = 20


@dataclass
class Entrants:
    """The users who enter, counted row by row. The rows are not stored.

    :param before: the audience now
    :param after: the audience at the new percentage
    :param preview: the columns that are counted, summed and listed, and the values that must not enter
    :param cohorts: the included cohorts of the flag, whose users get the flag at any percentage
    :param share: the groups of the experiment. Only a part of the counted users gets the experiment.
    """

    before: Audience
    after: Audience
    preview: RolloutPreview
    cohorts: Sequence[str] = ()
    share: GroupShare | None = None
    users: int = 0
    count: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    groups: dict[str, Counter[str]] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    named: dict[str, None] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    included: int = 0

    def __post_init__(self) -> None:
        if self.share:  # an experiment may show its groups among the flags that it depends on
            ids = self.share.ids
            self.before, self.after = (_without_parents(audience, ids) for audience in (self.before, self.after))
        self._unique = UniqueUsers()
        # The raise enables the flag, so all users of the included cohorts enter.
        self._cohorts_enter = bool(self.cohorts) and not self.before.is_enabled
        self._refused = {column: frozenset(map(_plain, values)) for column, values in self.preview.refuse_if.items()}
        self._absent = {column: set(values) for column, values in self._refused.items()}
        self._present: dict[str, dict[str, None]] = {column: {} for column in self._refused}

    def add(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Count some rows.

        :raises ValueError: when a named column is not in the rows, a value to sum is not a number, a bucketing value
            has a decimal point, or a user has several rows
        """
        columns = self._as_named(columns)
        if missing := [name for name in self.preview.columns if name not in columns]:
            raise ValueError(f"expected the columns {missing} in the query, got {list(columns)}")
        if self.before.inclusions and "user_id" not in columns:
            self.included = sum(map(len, self.before.inclusions.values()))
            self.before, self.after = (replace(audience, inclusions={}) for audience in (self.before, self.after))
        keys = self._bucketing_columns(columns)
        identity = [name for name in columns if name in keys or name == "user_id"]
        for values in rows:
            row = {"device_id": None, **dict(zip(columns, values, strict=True))}
            for key in keys:
                row[key] = _bucketing_value(key, row[key])
            user = tuple(None if row[name] is None else str(row[name]) for name in identity)
            if any(user) and not self._unique.is_new(user):
                raise ValueError(
                    f"expected one row for each user, got several rows with the same {' and '.join(identity)}: group "
                    "the query by user"
                )
            self._add(row)

    def _as_named(self, columns: Sequence[str]) -> list[str]:
        """Return the names of the columns as in the arguments and the flag. Some warehouses return upper case."""
        props = ["user_id", "device_id", *self.before.columns]
        named: dict[str, set[str]] = {}
        for name in [*self.preview.columns, *props, *(prop.removeprefix("gp:") for prop in props)]:
            named.setdefault(name.upper(), set()).add(name)
        return [
            next(iter(names)) if len(names := named.get(column, set())) == 1 and not names & set(columns) else column
            for column in columns
        ]

    def _bucketing_columns(self, columns: Sequence[str]) -> set[str]:
        keys = set()
        for segment in (None, *self.before.segments):
            with suppress(ValueError):  # the flag does not show the key, so the result is unknown
                keys.add(column_of(dict.fromkeys(columns), self.before.allocation_of(segment).key))
        return {key for key in keys if key is not None}

    def _add(self, row: Mapping[str, object]) -> None:
        self.users += 1
        refused = [column for column in self._refused if self._is_refused(column, row[column])]
        after = self.after.evaluate(row)
        if after is None:
            if self._cohorts_enter:
                self.refused.update(refused)  # the user may be in a cohort
            return
        before = self.before.evaluate(row)
        for answer in (before, after):
            if isinstance(answer, Unknown):
                self.unknown[answer.reason] += 1
                self.refused.update(refused)
                return
        if before is not None:
            return
        self.count += 1
        for column in self.preview.group_by:
            self.groups.setdefault(column, Counter())[_shown(row[column])] += 1
        for column in self.preview.sums:
            if row[column] is not None:
                self.totals[column] = self.totals.get(column, 0.0) + as_number(f"column {column!r}", row[column])
        self.refused.update(refused)
        if self.preview.names and len(self.named) < _MOST_NAMES:
            self.named[_shown(row[self.preview.names])] = None

    def _is_refused(self, column: str, value: object) -> bool:
        present, plain = self._present[column], _plain(value)
        if len(present) < _MOST_NAMES:
            present[_shown(value)] = None
        self._absent[column].discard(plain)
        return plain in self._refused[column]

    @property
    def is_exact(self) -> bool:
        """True if exactly the counted users enter."""
        return not (self.unknown or self.included or self.cohorts or self.share)

    def check(self) -> None:
        """Check the rows after the last one.

        :raises InvalidInputError: when there is no row, or when a refused value is in no row
        """
        if not self.users:
            raise InvalidInputError("sql", "expected a row for each user, got no row")
        for column, absent in self._absent.items():
            if absent:
                raise InvalidInputError(
                    f"refuse_if.{column}",
                    f"expected values of the column, got {', '.join(map(repr, sorted(absent)))}; the column has "
                    f"{', '.join(map(repr, self._present[column]))}",
                )

    def as_xcom(self, percentage_before: float | None, percentage: float) -> PreviewXCom:
        """Return the result."""
        preview = self.preview
        return {
            "text": self._text(percentage_before, percentage),
            "percentage_before": percentage_before,
            "percentage": percentage,
            "users": self.users,
            "enter": self.count,
            "unknown": dict(self.unknown.most_common(_MOST_GROUPS)),
            "groups": {column: _most_common(self.groups.get(column, Counter())) for column in preview.group_by},
            "sums": {column: self.totals.get(column, 0.0) for column in preview.sums},
            "names": list(self.named),
            "cohorts": list(self.cohorts),
            "percentage_of_all_users": self.share.of_all(percentage) if self.share else None,
            "refused": {column: count for column, count in self.refused.items() if count},
        }

    def _text(self, before: float | None, after: float) -> str:
        """Return the result in words: ``25 % -> 50 %: 4,812 of 20,000 users enter; tier: free 4,700, pro 112``."""
        enter = self.count + sum(self.unknown.values())
        about = "" if self.is_exact else "at most "
        if self._cohorts_enter:
            enter, about = self.count, "about " if self.share else "at least "
        now = "disabled" if before is None else f"{before:g} %"
        parts = [f"{now} -> {after:g} %: {about}{enter:,} of {self.users:,} users enter"]
        for column in self.preview.group_by:
            counts = _most_common(self.groups.get(column, Counter()))
            parts.append(f"{column}: {', '.join(f'{value} {count:,}' for value, count in counts.items()) or 'none'}")
        parts += [f"{column}: {self.totals.get(column, 0.0):,.6g}" for column in self.preview.sums]
        if self.named:
            parts.append(f"{self.preview.names}: {', '.join(self.named)}")
        if self.unknown:
            reason, count = self.unknown.most_common(1)[0]
            parts.append(f"for {sum(self.unknown.values()):,} users it is not known, for example {count:,}: {reason}")
        if self.included:
            parts.append(f"up to {self.included:,} of them have it already by an inclusion")
        if self.cohorts:
            get = "get it too" if self._cohorts_enter else "have it already"
            parts.append(f"all users of {named_cohorts(self.cohorts)} {get}, at any percentage")
        if self.share:
            parts.append(f"the experiment is {self.share.describe([after])}")
        return "; ".join(parts)


def raised_to(audience: Audience, percentage: float, segment: str | None) -> Audience:
    """Return the audience after a raise, which also enables the flag.

    :raises ValueError: when the segment does not exist
    """
    return replace(audience, config={**audience.config, "enabled": True}).at(percentage, segment)


def _without_parents(audience: Audience, ids: Collection[str]) -> Audience:
    config: dict[str, Any] = {**audience.config}
    shown = config.get("parentDependencies") or {}
    flags = {id: variants for id, variants in (shown.get("flags") or {}).items() if str(id) not in ids}
    return replace(audience, config=cast("FlagConfig", {**config, "parentDependencies": {**shown, "flags": flags}}))


def _most_common(counts: Counter[str]) -> dict[str, int]:
    found = dict(counts.most_common(_MOST_GROUPS))
    rest = counts.total() - sum(found.values())
    return {**found, **({"(others)": rest} if rest else {})}


def _shown(value: object) -> str:
    return "(none)" if value is None else str(value)


def _plain(value: object) -> str:
    """Return a value for a comparison that ignores capital letters and spaces."""
    return " ".join(_shown(value).split()).casefold()


def _bucketing_value(column: str, value: object) -> object:
    """Return a whole number without its decimal point: the service hashes text, and 1.0 is not the text 1."""
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    if isinstance(value, float | Decimal) and value == value:  # NaN is a null
        raise ValueError(f"expected a text or a whole number in column {column!r}, got {value!r}: cast it in the query")
    return value
