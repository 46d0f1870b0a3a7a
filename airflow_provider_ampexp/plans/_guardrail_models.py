"""The guardrails of a plan file, with the arguments of those in ``airflow_provider_ampexp/guardrails/``."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator
from typing_extensions import Self

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import (
    CallableGuardrail,
    Guardrail,
    HoldbackGuardrail,
    SampleRatioGuardrail,
    SqlGuardrail,
)
from airflow_provider_ampexp.plans._types import Duration, StrictModel, Text, obey

Limit = Annotated[int, Field(ge=1)]


class GuardrailFields(StrictModel):
    """The fields of all kinds. A missing field has the guardrail's default."""

    _made: Guardrail = PrivateAttr()

    effect: Literal["rollback", "hold"] = Field(
        "rollback", description="Roll back, or hold until the guardrail passes."
    )
    dry_run: bool = Field(False, description="Only report, without an effect.")
    failure_limit: Limit = Field(1, description="The number of consecutive fails before the effect.")
    inconclusive_limit: Limit = Field(
        5, description="The number of consecutive inconclusive results before the effect."
    )
    error_limit: Limit = Field(5, description="The number of consecutive errors before the effect.")
    timeout: Duration | None = Field(None, description="The time limit of a check. After it the result is an error.")

    @model_validator(mode="after")
    def _make(self) -> Self:
        def make() -> None:
            given = {name: getattr(self, name) for name in self.model_fields_set - {"kind"}}
            self._made = self._guardrail(**{name: value for name, value in given.items() if value is not None})

        obey(make)
        return self

    @property
    def made(self) -> Guardrail:
        """Return the guardrail of these fields."""
        return self._made

    @abstractmethod
    def _guardrail(self, **arguments: Any) -> Guardrail:
        """Create the guardrail from the arguments of the file."""


class _WarehouseFields(GuardrailFields):
    conn_id: Text = Field(description="A connection whose hook is a DbApiHook: Snowflake, BigQuery, PostgreSQL, ...")
    no_data: Literal["rollback", "hold", "pass"] = Field(description="The meaning of no row or NULL.")
    no_data_grace: Duration | None = Field(
        None, description="The time after the start of the stage during which no data does not count. Default: 0."
    )
    loaded_at_sql: str | None = Field(
        None, description="A query for the time up to which the data are complete, {{ loaded_until }}."
    )
    load_timeout: Duration | None = Field(
        None, description="How long after the soak the data may be late, before the result is an error. Default: 12h."
    )
    variant: Text | None = Field(None, description="The value of {{ variant }} in the query.")


class SqlFields(_WarehouseFields):
    """One number of a query, compared with bounds."""

    kind: Literal["sql"]
    name: Text = Field(description="The name in logs.")
    sql: str = Field(description="The query: its first column is the value, its second the sample size.")
    at_most: float | None = Field(None, description="The highest value that passes.")
    at_least: float | None = Field(None, description="The lowest value that passes.")
    baseline_sql: str | None = Field(None, description="A query for the value to compare with.")
    at_most_of_baseline: float | None = Field(
        None, description="The highest that passes, as a multiple: 1.05 is 5 % more."
    )
    at_least_of_baseline: float | None = Field(None, description="The lowest such ratio that passes.")
    min_sample: float = Field(0, description="Inconclusive with a smaller sample.")

    def _guardrail(self, **arguments: Any) -> Guardrail:
        return SqlGuardrail(**arguments)


class SampleRatioFields(_WarehouseFields):
    """Exposures by variant, compared with the variants' weights."""

    kind: Literal["sample_ratio"]
    name: Text = Field("sample ratio", description="The name in logs.")
    sql: str = Field(
        description="The query: a row for each variant, with its key and the number of different exposed users."
    )
    alpha: float = Field(0.01, description="The probability of a false alarm over all looks of a stage.")
    min_per_variant: Limit = Field(8, description="Inconclusive until each variant should have this many.")

    def _guardrail(self, **arguments: Any) -> Guardrail:
        return SampleRatioGuardrail(**arguments)


class HoldbackFields(_WarehouseFields):
    """A metric of the users with the feature, compared with the users who do not have it yet."""

    kind: Literal["holdback"]
    name: Text = Field(description="The name of the metric in logs, such as: orders per user.")
    sql: str = Field(
        description="The query: a row for each user, with the bucketing value, the metric and optionally exposed."
    )
    worse: Literal["lower", "higher"] = Field(description="The side on which the metric is worse.")
    alpha: float = Field(0.01, description="The probability of a false alarm over all looks of a stage.")
    at_most_worse: float | None = Field(
        None, description="The acceptable harm: 0.02 is 2 %. Inconclusive until more harm is ruled out."
    )
    detect: float = Field(0.05, description="The size of harm that is found first.")
    min_users: Limit = Field(100, description="Inconclusive until each group should have this many users.")
    min_nonzero: Limit = Field(
        25, description="Inconclusive until each group should have this many users with a metric other than 0."
    )
    cap: float | None = Field(None, description="A metric above it counts as this value.")
    lookback: Duration | None = Field(
        None, description="The control had no feature within this time. Default: 30 days."
    )

    def _guardrail(self, **arguments: Any) -> Guardrail:
        return HoldbackGuardrail(**arguments)


class CallableFields(GuardrailFields):
    """Your own function."""

    kind: Literal["callable"]
    function: Text = Field(
        pattern=r"^[\w.]+:[\w.]+$",
        description="module:function. It takes a CheckContext and returns True, False or None.",
    )
    name: Text | None = Field(None, description="The name in logs; default: the function's name.")

    def _guardrail(self, **arguments: Any) -> Guardrail:
        return CallableGuardrail(imported("function", arguments.pop("function")), **arguments)


AnyGuardrail = Annotated[SqlFields | SampleRatioFields | HoldbackFields | CallableFields, Field(discriminator="kind")]


def imported(field: str, named: str) -> Any:
    """Import ``module:function``, so that a wrong name is an error when the file is read.

    :raises InvalidInputError: when the import fails; the error names the field
    """
    module, _, path = named.partition(":")
    try:
        found: Any = reduce(getattr, path.split("."), importlib.import_module(module))
    except AttributeError:
        raise InvalidInputError(field, f"the module {module!r} has no {path!r}") from None
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        raise InvalidInputError(field, f"cannot import {module!r} (is it on the PYTHONPATH?): {why}") from None
    if not callable(found) or isinstance(found, type):
        raise InvalidInputError(field, f"expected a function, got {named!r}")
    return found
