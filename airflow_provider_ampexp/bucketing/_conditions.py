"""The conditions of a target segment, on the columns of a row."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, object]
_NONE = "(none)"
_BOOLEANS = frozenset({"true", "false"})


@dataclass(frozen=True)
class Unknown:
    """The result if the data are not sufficient for an evaluation, with the reason."""

    reason: str


def no_column(prop: str) -> Unknown:
    """Return the result for a row without the column of a property."""
    return Unknown(f"the row has no column {prop!r}")


def column_of(row: Row, prop: str) -> str | None:
    """Return the column of a property: its name, or the name without ``gp:``; ``None`` if the row has neither."""
    return next((name for name in (prop, prop.removeprefix("gp:")) if name in row), None)


def matches(condition: Mapping[str, Any], row: Row) -> bool | Unknown:
    """Return whether a row meets a condition, as the vendor's evaluator decides.

    The vendor's evaluators differ on values such as ``False``, ``0`` and ``""``: some treat them as null. If that
    changes the result, the result is unknown.
    """
    kind, prop, op = condition.get("type"), str(condition.get("prop")), condition.get("op")
    if kind not in ("property", None):
        return Unknown(f"a condition is of type {kind!r}")
    if op not in _OPERATORS:
        return Unknown(f"the operator {op!r} of a condition on {prop!r} is not supported")
    column = column_of(row, prop)
    if column is None:
        return no_column(prop)
    value, wanted = row[column], [str(text) for text in condition.get("values") or ()]
    of_null = _OPERATORS[op].of_null
    as_null = False if of_null is None else (_NONE in wanted) is of_null
    if value is None:
        return as_null
    found = _meets(_OPERATORS[op], value, wanted)
    if not value and found is not as_null:
        return Unknown(f"the vendor's evaluators differ on {prop!r} when its value is {value!r}")
    return found


def _meets(op: _Operator, value: object, wanted: Sequence[str]) -> bool:
    elements = _elements(value)
    if op.of_sets is not None:
        return bool(elements) and op.of_sets(elements or [], wanted)
    assert op.of_text is not None
    # A value with several elements meets a condition if any element does, also a negative condition.
    return any(op.of_text(text, wanted) for text in (elements if elements is not None else [_text(value)]))


def _elements(value: object) -> list[str] | None:
    """Return the elements of a list, or of a JSON list in a string; ``None`` for a single value."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return None
    return [_text(element) for element in value if element is not None] if isinstance(value, list) else None


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _is(text: str, wanted: Sequence[str]) -> bool:
    """Compare texts exactly, and booleans without regard to capitals."""
    lower = [wanted_value.lower() for wanted_value in wanted]
    if text.lower() in _BOOLEANS and not _BOOLEANS.isdisjoint(lower):
        return text.lower() in lower
    return text in wanted


def _contains(text: str, wanted: Sequence[str]) -> bool:
    return any(part.lower() in text.lower() for part in wanted)


def _set_is(elements: Sequence[str], wanted: Sequence[str]) -> bool:
    return set(elements) == set(wanted)


def _set_contains(elements: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(elements) >= len(wanted) and all(_is(wanted_value, elements) for wanted_value in wanted)


def _compares(compare: Callable[[Any, Any], bool]) -> Callable[[str, Sequence[str]], bool]:
    """Return a comparison: of numbers if the value and one of the condition's values are numbers, otherwise of text."""

    def compares(text: str, wanted: Sequence[str]) -> bool:
        number = _number(text)
        numbers = [parsed for parsed in map(_number, wanted) if parsed is not None]
        if number is None or not numbers:
            return any(compare(text, wanted_value) for wanted_value in wanted)
        return any(compare(number, bound) for bound in numbers)

    return compares


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


_Test = Callable[[Sequence[str], Sequence[str]], bool]


def _not(test: Callable[[Any, Sequence[str]], bool]) -> Callable[[Any, Sequence[str]], bool]:
    return lambda value, wanted: not test(value, wanted)


@dataclass(frozen=True)
class _Operator:
    """The test of an operator, of a text or of a set.

    :param of_null: if true, a null value meets the operator when the condition has the value "(none)"; if false, when
        the condition does not have that value; if ``None``, never
    """

    of_text: Callable[[str, Sequence[str]], bool] | None = None
    of_sets: _Test | None = None
    of_null: bool | None = True


_OPERATORS: Mapping[object, _Operator] = {
    "is": _Operator(_is),
    "is not": _Operator(_not(_is), of_null=False),
    "contains": _Operator(_contains),
    "does not contain": _Operator(_not(_contains), of_null=False),
    "less": _Operator(_compares(operator.lt)),
    "less or equal": _Operator(_compares(operator.le)),
    "greater": _Operator(_compares(operator.gt)),
    "greater or equal": _Operator(_compares(operator.ge)),
    "set is": _Operator(of_sets=_set_is),
    "set is not": _Operator(of_sets=_not(_set_is), of_null=None),
    "set contains": _Operator(of_sets=_set_contains),
    "set does not contain": _Operator(of_sets=_not(_set_contains), of_null=False),
}
