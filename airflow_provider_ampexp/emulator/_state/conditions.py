"""The conditions of a target segment, on the properties of a user."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

User = Mapping[str, Any]

_ORDERS = {
    "less": lambda value, other: value < other,
    "less or equal": lambda value, other: value <= other,
    "greater": lambda value, other: value > other,
    "greater or equal": lambda value, other: value >= other,
}
# Each negative operator with the positive one that it negates.
_NEGATIVE = {
    "is not": "is",
    "does not contain": "contains",
    "glob does not match": "glob match",
    "set is not": "set is",
    "set does not contain": "set contains",
}


def property_of(user: User, name: str) -> Any:
    """Return a property: ``gp:plan`` is a custom property, and ``city`` is a property that Amplitude defines."""
    if name.startswith("gp:"):
        return user.get("user_properties", {}).get(name.removeprefix("gp:"))
    return user.get(name)


def text_of(value: Any) -> str | None:
    """Return the text of a value as the service compares and hashes it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def meets(user: User, condition: Mapping[str, Any]) -> bool:
    """Return true if the user meets a condition. A condition on a cohort is never met: there are no cohorts."""
    if condition.get("type", "property") != "property":
        return False
    value, op, wanted = property_of(user, condition["prop"]), condition["op"], condition["values"]
    positive = _NEGATIVE.get(op, op)
    if value is None:
        # A null is "(none)". A null does not meet "set is not".
        return op != "set is not" and ("(none)" in wanted) is (positive == op)
    elements = _list_of(value)
    if positive.startswith("set "):
        return bool(elements) and _set_meets(positive, elements or [], wanted) is (positive == op)
    texts = elements if elements is not None else [str(text_of(value))]
    return any(_meets(positive, text, wanted) is (positive == op) for text in texts)


def _list_of(value: Any) -> list[str] | None:
    """Return a list, or a list as JSON in a text, as texts."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return [str(text_of(element)) for element in value if element is not None] if isinstance(value, list) else None


def _set_meets(op: str, elements: list[str], wanted: list[str]) -> bool:
    if op == "set is":
        return set(elements) == set(wanted)
    return len(elements) >= len(wanted) and all(_meets("is", wanted_value, elements) for wanted_value in wanted)


def _meets(op: str, text: str, wanted: list[str]) -> bool:
    if op == "is":
        booleans = {wanted_value.lower() for wanted_value in wanted} & {"true", "false"}
        return text.lower() in booleans if booleans and text.lower() in ("true", "false") else text in wanted
    if op == "contains":
        return any(part.lower() in text.lower() for part in wanted)
    if op == "glob match":
        return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text, re.DOTALL) for pattern in wanted)
    number, numbers = _number(text), [parsed for parsed in map(_number, wanted) if parsed is not None]
    compared: Any = (text, wanted) if number is None or not numbers else (number, numbers)
    return any(_ORDERS[op](compared[0], bound) for bound in compared[1])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
