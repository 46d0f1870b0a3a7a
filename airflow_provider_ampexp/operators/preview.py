"""Preview a raise: the users who enter at the new percentage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeTargetOperator
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.rollout._preview import RolloutPreview, refused_values

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["AmplitudePreviewRolloutOperator", "PreviewXCom"]


class PreviewXCom(TypedDict):
    """The result of :class:`AmplitudePreviewRolloutOperator`, without ids, unless ``names`` is a column of ids."""

    text: str
    """The result in words."""
    percentage_before: float | None
    """``None`` for a disabled flag."""
    percentage: float
    users: int
    """The number of rows that were read."""
    enter: int
    """The number of users who do not have the feature now, and get the feature at the new percentage."""
    unknown: dict[str, int]
    """The number of users for whom the data show no result, by reason. These users may enter, too."""
    groups: dict[str, dict[str, int]]
    """The number of users who enter, by column and value."""
    sums: dict[str, float]
    """The sum over the users who enter, by column."""
    names: list[str]
    """The values of the column of names, at most 20."""
    cohorts: list[str]
    """The included cohorts, whose users get the feature at any percentage."""
    percentage_of_all_users: float | None
    """The new percentage of an experiment in groups, as a percentage of all users; ``None`` if it is in no group."""
    refused: dict[str, int]
    """The number of users who enter, or may enter, and are refused, by column."""


class AmplitudePreviewRolloutOperator(AmplitudeTargetOperator):
    """Show which users enter if a percentage is raised (contract: *Get details*, *List inclusions*). Change nothing.

    A query returns one row for each user. The operator evaluates each row as Amplitude does, at the present percentage
    and at the new one, and counts the users who enter: ``25 % -> 50 %: 4,812 of 20,000 users enter; tier: free 4,700,
    enterprise 112; revenue: 91,200``. The operator streams the rows.

    The task returns the counts (:class:`PreviewXCom`), and no ids unless ``names`` is a column of ids. The count is "at
    most" if the data do not show the result for some users: because of sticky bucketing, dependencies on other flags,
    cohorts, groups of experiments, or a column that the query does not return. A raise of a disabled flag also gives
    the feature to all users of the included cohorts. The count is then "at least", or "about" for an experiment in
    groups.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param percentage: the percentage to preview, 0 to 100 (templated)
    :param segment: the target segment to raise; if not given, all users outside of the target segments (templated)
    :param conn_id: the connection of the warehouse, whose hook is a ``DbApiHook`` (templated)
    :param sql: returns one row for each user: the bucketing key of the flag, such as ``amplitude_id``, the columns of
        the segments' conditions, and the columns of the other arguments. For inclusions also ``user_id`` and
        ``device_id``. (templated; a file ``*.sql`` too)
    :param group_by: columns whose values are counted, such as ``["country", "tier"]`` (templated)
    :param sums: columns of numbers that are summed, such as ``["revenue"]`` (templated)
    :param names: a column whose values are listed, at most 20 of them, such as the name of an account (templated)
    :param refuse_if: for a column, the values that must not enter, such as ``{"tier": ["enterprise"]}``. The task fails
        if a user with such a value enters, or may enter because the data do not show the result. Capital letters and
        spaces do not count. The task also fails for a value that no row has. (templated)
    :param catch_all: the name of the segment that has no conditions on purpose (templated). Any other segment without
        conditions may be for a cohort.
    """

    template_fields: Sequence[str] = (
        *AmplitudeTargetOperator.template_fields,
        *("percentage", "segment", "conn_id", "sql", "group_by", "sums", "names", "refuse_if", "catch_all"),
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql"}  # noqa: RUF012  # as Airflow declares it

    def __init__(
        self,
        *,
        percentage: int | str,
        conn_id: str,
        sql: str,
        segment: str | None = None,
        group_by: Sequence[str] | str = (),
        sums: Sequence[str] | str = (),
        names: str | None = None,
        refuse_if: Mapping[str, Sequence[str] | str] | str | None = None,
        catch_all: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.percentage = percentage
        self.segment = segment
        self.conn_id = conn_id
        self.sql = sql
        self.group_by = group_by
        self.sums = sums
        self.names = names
        self.refuse_if = refuse_if
        self.catch_all = catch_all
        arguments.check_literal("percentage", percentage, arguments.percentage)
        arguments.check_literal("segment", segment, arguments.optional(arguments.text))
        arguments.check_literal("conn_id", conn_id, arguments.text)
        arguments.check_literal("sql", sql, arguments.text)
        arguments.check_literal("group_by", group_by, arguments.texts)
        arguments.check_literal("sums", sums, arguments.texts)
        arguments.check_literal("names", names, arguments.optional(arguments.text))
        arguments.check_literal("refuse_if", refuse_if, arguments.optional(_refusals))
        arguments.check_literal("catch_all", catch_all, arguments.optional(arguments.text))

    def execute(self, context: Context) -> PreviewXCom:
        """Read the flag and the rows, and count the users who enter.

        :raises AirflowFailException: when a refused user enters or may enter, the flag or a column does not exist, or a
            retry cannot fix the error
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        from airflow_provider_ampexp.operators._preview import begin_preview, count_entrants, refusal_of

        with error_context(f"preview {self.described()}"):
            percentage = arguments.percentage("percentage", self.percentage)
            segment = arguments.optional(arguments.text)("segment", self.segment)
            catch_all = arguments.optional(arguments.text)("catch_all", self.catch_all)
            preview = self._preview()
            with self.hook() as hook:
                target = self.target(self.project_of(hook))
                entrants = begin_preview(hook.client, target, preview, percentage, segment=segment, catch_all=catch_all)
            result = count_entrants(entrants, percentage, segment)
        self.log.info("Preview of %s: %s.", self.described(), result["text"])
        if refused := refusal_of(result):
            raise AirflowFailException(
                f"Preview of {self.described()} refused {percentage} %: {refused}. Nothing was changed. Choose a lower "
                "percentage, or exclude these users by a target segment."
            )
        return result

    def _preview(self) -> RolloutPreview:
        """Return the preview, from the rendered arguments."""
        return RolloutPreview(
            arguments.text("conn_id", self.conn_id),
            arguments.text("sql", self.sql),
            group_by=arguments.texts("group_by", self.group_by),
            sums=arguments.texts("sums", self.sums),
            names=arguments.optional(arguments.text)("names", self.names),
            refuse_if=arguments.optional(_refusals)("refuse_if", self.refuse_if) or {},
        )


def _refusals(field: str, value: object) -> dict[str, tuple[str, ...]]:
    """Return the refused values of each column."""
    found = refused_values(field, arguments.mapping(field, value))
    if not found:
        raise InvalidInputError(field, f"expected columns with their refused values, got {value!r}")
    return found
