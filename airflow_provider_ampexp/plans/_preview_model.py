"""The preview of a plan file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PrivateAttr, model_validator
from typing_extensions import Self

from airflow_provider_ampexp.plans._types import Percentage, StrictModel, Text, obey, or_else
from airflow_provider_ampexp.rollout import RolloutPreview

Values = Annotated[list[str | int | float | bool], Field(min_length=1), or_else("a list such as [enterprise]")]


class PreviewFields(StrictModel):
    """The preview: the users who enter, before each raise and in each approval."""

    _made: RolloutPreview = PrivateAttr()

    conn_id: Text = Field(description="A connection whose hook is a DbApiHook: Snowflake, BigQuery, PostgreSQL, ...")
    sql: Text = Field(
        description="The query: one row for each user, with the bucketing key and the columns of the other fields."
    )
    group_by: list[Text] = Field([], description="Columns whose values are counted: [country, tier].")
    sums: list[Text] = Field([], description="Columns of numbers that are summed: [revenue].")
    names: Text | None = Field(None, description="A column of which at most 20 values are listed: account.")
    refuse_if: dict[str, Values] = Field(
        {}, description="By column, the values that must not enter: {tier: [enterprise]}."
    )
    refuse_below: Percentage | None = Field(
        None, description="refuse_if counts for raises to a percentage below this one; default: for each."
    )

    @model_validator(mode="after")
    def _make(self) -> Self:
        def make() -> None:
            self._made = RolloutPreview(**dict(self))

        obey(make)
        return self

    @property
    def made(self) -> RolloutPreview:
        """Return the preview of these fields."""
        return self._made
