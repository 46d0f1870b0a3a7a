"""The preview of a raise: which users enter, and which of them must not. Its declaration and its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError


@dataclass(frozen=True)
class RolloutPreview:
    """Show who enters before each raise of a rollout, in its log, its record and its approvals.

    A query over your warehouse returns one row for each user. The preview evaluates each row as Amplitude does, at the
    present percentage and at the next one.

    :param conn_id: the connection of the warehouse, whose hook is a ``DbApiHook``
    :param sql: returns one row for each user: the bucketing key of the flag, such as ``amplitude_id``, the columns of
        the segments' conditions, and the columns of the other arguments. For inclusions also ``user_id`` and
        ``device_id``.
    :param group_by: columns whose values are counted, such as ``["country", "tier"]``
    :param sums: columns of numbers that are summed, such as ``["revenue"]``
    :param names: a column whose values are listed, at most 20 of them, such as the name of an account
    :param refuse_if: for a column, the values that must not enter, such as ``{"tier": ["enterprise"]}``. Capital
        letters and spaces do not count. A value that no row has is an error. A raise that lets such a user in stops the
        rollout, which leaves the flag as it is.
    :param refuse_below: ``refuse_if`` counts only for raises to a percentage below this one; if not given, for each
    :raises InvalidInputError: names the field
    """

    conn_id: str
    sql: str = field(repr=False)
    group_by: Sequence[str] = ()
    sums: Sequence[str] = ()
    names: str | None = None
    refuse_if: Mapping[str, Sequence[object]] = field(default_factory=dict)
    refuse_below: int | None = None

    def __post_init__(self) -> None:
        validate.name("conn_id", self.conn_id)
        validate.name("sql", self.sql)
        if self.names is not None:
            validate.name("names", self.names)
        object.__setattr__(self, "group_by", tuple(validate.names("group_by", self.group_by)))
        object.__setattr__(self, "sums", tuple(validate.names("sums", self.sums)))
        object.__setattr__(self, "refuse_if", refused_values("refuse_if", self.refuse_if))
        if self.refuse_below is not None:
            if not validate.percentage("refuse_below", self.refuse_below):
                raise InvalidInputError("refuse_below", "expected a percentage from 1 to 100, got 0")
            if not self.refuse_if:
                raise InvalidInputError("refuse_below", "is about refuse_if, which is not given")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the arguments name."""
        return (*self.group_by, *self.sums, *self.refuse_if, *([self.names] if self.names else []))

    def at(self, percentage: float) -> RolloutPreview:
        """Return the preview of a raise to this percentage. From ``refuse_below`` on, it refuses nothing."""
        if self.refuse_below is None or percentage < self.refuse_below:
            return self
        return replace(self, refuse_if={}, refuse_below=None)


@dataclass(frozen=True)
class PreviewResult:
    """The result of a preview.

    :param percentage: the percentage after the raise
    :param text: the sentence for people: who enters, or why that is not known
    :param refusal: the users who must not enter; empty if the raise may continue
    """

    percentage: int
    text: str
    refusal: str = ""


def check_preview(field: str, value: object) -> object:
    """Check the preview of a plan.

    :raises InvalidInputError: when it is none, or its query has a template, which nothing renders
    """
    if value is not None and not isinstance(value, RolloutPreview):
        raise InvalidInputError(field, f"expected a RolloutPreview, got {value!r}")
    if value is not None and any(mark in value.sql for mark in ("{{", "{%", "{#")):
        raise InvalidInputError(f"{field}.sql", "has a template, and the preview of a rollout is not templated")
    return value


def refused_values(field: str, given: object) -> dict[str, tuple[str, ...]]:
    """Return the refused values of each column.

    :raises InvalidInputError: names the column
    """
    found = {}
    for column, values in validate.mapping(field, given).items():
        if not isinstance(column, str) or not column.strip():
            raise InvalidInputError(field, f"expected a column, got {column!r}")
        listed = [values] if isinstance(values, str) else values
        if not isinstance(listed, list | tuple | set | frozenset) or not listed:
            raise InvalidInputError(f"{field}.{column}", f"expected a list of values, got {values!r}")
        for place, value in enumerate(listed):
            if not isinstance(value, str | int | float):
                raise InvalidInputError(f"{field}.{column}[{place}]", f"expected a text or a number, got {value!r}")
        found[column] = tuple(map(str, listed))
    return found
