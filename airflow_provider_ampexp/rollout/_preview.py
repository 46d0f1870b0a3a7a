"""The declaration of a preview: which users enter with a raise, and which of them must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError


@dataclass(frozen=True)
class RolloutPreview:
    """Show who enters before a raise.

    A query over your warehouse returns one row for each user, with the bucketing key of the flag and the columns of the
    other arguments.

    :param conn_id: the connection of the warehouse, whose hook is a ``DbApiHook``
    :param sql: returns one row for each user: the bucketing key of the flag, such as ``amplitude_id``, the columns of
        the segments' conditions, and the columns of the other arguments. For inclusions also ``user_id`` and
        ``device_id``.
    :param group_by: columns whose values are counted, such as ``["country", "tier"]``
    :param sums: columns of numbers that are summed, such as ``["revenue"]``
    :param names: a column whose values are listed, at most 20 of them, such as the name of an account
    :param refuse_if: for a column, the values that must not enter, such as ``{"tier": ["enterprise"]}``. Capital
        letters and spaces do not count. A value that no row has is an error.
    :raises InvalidInputError: names the field
    """

    conn_id: str
    sql: str = field(repr=False)
    group_by: Sequence[str] = ()
    sums: Sequence[str] = ()
    names: str | None = None
    refuse_if: Mapping[str, Sequence[object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate.name("conn_id", self.conn_id)
        validate.name("sql", self.sql)
        if self.names is not None:
            validate.name("names", self.names)
        object.__setattr__(self, "group_by", tuple(validate.names("group_by", self.group_by)))
        object.__setattr__(self, "sums", tuple(validate.names("sums", self.sums)))
        object.__setattr__(self, "refuse_if", refused_values("refuse_if", self.refuse_if))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the arguments name."""
        return (*self.group_by, *self.sums, *self.refuse_if, *([self.names] if self.names else []))


def refused_values(field: str, given: object) -> dict[str, tuple[str, ...]]:
    """Return the refused values of each column.

    :raises InvalidInputError: names the column
    """
    found = {}
    for column, values in validate.mapping(field, given).items():
        listed = [values] if isinstance(values, str) else values
        if not isinstance(listed, list | tuple | set | frozenset) or not listed:
            raise InvalidInputError(f"{field}.{column}", f"expected a list of values, got {values!r}")
        found[column] = tuple(map(str, listed))
    return found
