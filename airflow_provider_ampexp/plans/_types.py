"""The types of values in a plan file, and the errors of values that break a rule of the rollout."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError, ValidationError

from airflow_provider_ampexp._validate import MISSING, InvalidInputError, identifier
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.rollout._duration import interval, parse_duration

_TEMPLATE_MARKS = ("{{", "{%", "{#")
_SPAN = r"^\s*(\d+(\.\d+)?\s*[dhmsDHMS]\s*)+$"
_MOMENT = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?$"


class StrictModel(BaseModel):
    """A part of a file with exactly these fields and types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def wrong(problem: str) -> PydanticCustomError:
    """Return the error of an invalid value."""
    return PydanticCustomError("wrong", "{problem}", {"problem": problem})


def obey(*rules: Callable[[], object]) -> None:
    """Apply all rules of the rollout, and report field and problem of each failed rule to pydantic."""
    refused = []
    for rule in rules:
        try:
            rule()
        except InvalidInputError as error:
            if (error.field, error.problem) not in refused:
                refused.append((error.field, error.problem))
    if refused:
        raise PydanticCustomError("refused", "refused by the rules of a rollout", {"refused": refused})


def or_else(problem: str) -> WrapValidator:
    """Report one error for a value of several possible types, where pydantic would report one for each."""

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise wrong(f"expected {problem}, got {shown(value)}") from None

    return WrapValidator(validate)


def shown(value: object) -> str:
    """Format a value as in YAML, shortened, because an alias can make it infinite."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a group of fields" if value else "an empty group of fields"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...'"


def _said(value: str) -> str:
    if not value.strip():
        raise wrong("must not be empty")
    if value in MISSING:
        raise wrong(f"expected a text, got {value!r}; remove it, or give it a value")
    if any(mark in value for mark in _TEMPLATE_MARKS):
        raise wrong(f"{shown(value)} is a template; a plan file has no templates, so write this rollout in Python")
    return value


def _span(value: object) -> object:
    is_text = isinstance(value, str)
    if not (is_text and re.match(_SPAN, str(value))) and (
        is_text or isinstance(value, bool | dict | list) or value is None
    ):
        raise wrong(f"expected a duration such as '30m', '2h' or '1d 12h', got {shown(value)}")
    try:
        return parse_duration("", value)
    except InvalidInputError as error:
        raise wrong(error.problem) from None


def _interval(value: object) -> object:
    if isinstance(value, int | float | str | timedelta) and not isinstance(value, bool):
        try:
            return timedelta(seconds=interval("", value))
        except InvalidInputError as error:
            raise wrong(error.problem) from None
    raise wrong(f"expected a duration such as 60 (seconds) or '1m', got {shown(value)}")


def _moment(value: object) -> object:
    if isinstance(value, str) and re.match(_MOMENT, value):
        moment = parse_timestamp(value, default_zone=timezone.utc)
        if moment is not None:
            return moment
    elif isinstance(value, datetime):
        return value
    raise wrong(f"expected a date such as '2026-03-02' or a time such as '2026-03-02T09:00+01:00', got {shown(value)}")


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, Field(min_length=1), AfterValidator(_said)]


def _identified(value: str) -> str:
    try:
        return identifier("", value)
    except InvalidInputError as error:
        raise wrong(error.problem) from None


Id = Annotated[
    Text,
    AfterValidator(_identified),
    BeforeValidator(_number_as_text),
    WithJsonSchema({"type": ["string", "integer"], "minLength": 1}),
]
Percentage = Annotated[int, Field(ge=0, le=100)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_span),
    WithJsonSchema({"type": "string", "pattern": _SPAN, "examples": ["30m", "2h", "1d 12h"]}),
]
Interval = Annotated[
    timedelta,
    BeforeValidator(_interval),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": _SPAN}],
            "examples": ["1m", 60],
        }
    ),
]
DateTime = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "pattern": _MOMENT, "examples": ["2026-03-02", "2026-03-02T09:00+01:00"]}),
]
