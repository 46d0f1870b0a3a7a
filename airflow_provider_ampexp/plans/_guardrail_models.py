"""The guardrails of a plan file: the arguments of those in ``airflow_provider_ampexp/guardrails/``, by their names."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from functools import reduce
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator
from typing_extensions import Self

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import CallableGuardrail, Guardrail, SampleRatioGuardrail, SqlGuardrail
from airflow_provider_ampexp.plans._types import Duration, StrictModel, Text, obey

Limit = Annotated[int, Field(ge=1)]


class GuardrailFields(StrictModel):
    """What every kind takes. What is left out has the guardrail's own default."""

    _made: Guardrail = PrivateAttr()

    effect: Literal["rollback", "hold"] = Field(
        "rollback", description="Take the flag down, or only stop raising until it recovers."
    )
    dry_run: bool = Field(False, description="Report and never act, so that a new guardrail earns trust first.")
    failure_limit: Limit = Field(1, description="This many fails in a row have the effect.")
    inconclusive_limit: Limit = Field(5, description="So do this many inconclusive answers in a row.")
    error_limit: Limit = Field(5, description="So does failing to look this many times in a row.")
    timeout: Duration | None = Field(None, description="How long a check may take. Past it, it failed to look.")

    @model_validator(mode="after")
    def _make(self) -> Self:
        def make() -> None:
            given = {name: getattr(self, name) for name in self.model_fields_set - {"kind"}}
            self._made = self._guardrail(**{name: value for name, value in given.items() if value is not None})

        obey(make)
        return self

    @property
    def made(self) -> Guardrail:
        """The guardrail that the fields describe."""
        return self._made

    @abstractmethod
    def _guardrail(self, **arguments: Any) -> Guardrail:
        """Make it of the arguments that the file gives."""


class _WarehouseFields(GuardrailFields):
    conn_id: Text = Field(description="A connection whose hook is a DbApiHook: Snowflake, BigQuery, PostgreSQL, ...")
    no_data: Literal["rollback", "hold", "pass"] = Field(description="What no row and NULL mean.")
    no_data_grace: Duration | None = Field(
        None, description="How long after the stage began that is not asked. Default: 0."
    )
    variant: Text | None = Field(None, description="What {{ variant }} is in the query.")


class SqlFields(_WarehouseFields):
    """One number of a query, compared with bounds."""

    kind: Literal["sql"]
    name: Text = Field(description="What logs call it.")
    sql: str = Field(description="The query: its first column is the value, its second the sample size.")
    at_most: float | None = Field(None, description="The highest value that passes.")
    at_least: float | None = Field(None, description="The lowest value that passes.")
    baseline_sql: str | None = Field(None, description="A query for the value to compare with.")
    at_most_of_baseline: float | None = Field(
        None, description="The highest that passes, as a multiple: 1.05 is 5 % more."
    )
    at_least_of_baseline: float | None = Field(None, description="The lowest such ratio that passes.")
    min_sample: float = Field(0, description="With fewer than this it is inconclusive.")

    def _guardrail(self, **arguments: Any) -> Guardrail:
        return SqlGuardrail(**arguments)


class SampleRatioFields(_WarehouseFields):
    """Exposures by variant, compared with the variants' weights."""

    kind: Literal["sample_ratio"]
    name: Text = Field("sample ratio", description="What logs call it.")
    sql: str = Field(
        description="The query: a row for each variant, its key and how many different users were exposed."
    )
    alpha: float = Field(0.01, description="How likely a false alarm may be, over all looks of a stage.")
    min_per_variant: Limit = Field(8, description="It is inconclusive until each variant should have this many.")

    def _guardrail(self, **arguments: Any) -> Guardrail:
        return SampleRatioGuardrail(**arguments)


class CallableFields(GuardrailFields):
    """A function of your own."""

    kind: Literal["callable"]
    function: Text = Field(
        pattern=r"^[\w.]+:[\w.]+$", description="module:function. It gets a Moment and returns true, false or None."
    )
    name: Text | None = Field(None, description="What logs call it; if left out, the function's own name.")

    def _guardrail(self, **arguments: Any) -> Guardrail:
        return CallableGuardrail(imported("function", arguments.pop("function")), **arguments)


AnyGuardrail = Annotated[SqlFields | SampleRatioFields | CallableFields, Field(discriminator="kind")]


def imported(field: str, named: str) -> Any:
    """Import ``module:function``, so that a wrong name is found when the file is read and not at night.

    :raises InvalidInputError: names the field
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
        raise InvalidInputError(field, f"{named!r} is not a function")
    return found
