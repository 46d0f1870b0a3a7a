"""Read the arguments of operators, which come from the DAG file, from a template or from another task.

A template is rendered to a text, unless the DAG has ``render_template_as_native_obj=True``. So ``"25"`` is accepted as
``25``, and ``"['ana', 'bob']"`` as the list. A text without Jinja has the same meaning in both modes. The error for a
wrong value names the argument.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.client import _request_body as request_body
from airflow_provider_ampexp.rollout import _duration as duration

if TYPE_CHECKING:
    from jinja2 import Environment

    from airflow_provider_ampexp.client.types import EditFields, Json, TargetSegment, VariantFields
    from airflow_provider_ampexp.ensure._variants import IfExists

_T = TypeVar("_T")
_TEXTS = ("bucketingKey", "bucketingSalt", "bucketingUnit", "experimentType", "startDate", "decision", "decisionReason")
_TEMPLATE_MARKS = ("{{", "{%", "{#")


def check_literal(field: str, value: object, read: Callable[[str, object], object]) -> None:
    """Refuse a wrong value when Airflow parses the DAG, unless the value is known only when the task runs.

    :raises InvalidInputError: names the argument
    """
    if is_literal(value):
        read(field, value)


def is_literal(value: object) -> bool:
    """Return true if the value has no template and does not come from another task."""
    try:
        return _has_no_template(value)
    except RecursionError:
        return True  # the check of the value refuses that many levels


def _has_no_template(value: object) -> bool:
    if isinstance(value, str):
        return not any(mark in value for mark in _TEMPLATE_MARKS)
    if isinstance(value, Mapping):
        return all(_has_no_template(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return all(_has_no_template(item) for item in value)
    return not hasattr(value, "resolve")  # Airflow resolves an XComArg and similar objects when the task runs


def has_no_jinja(content: str, environment: Environment | None) -> bool:
    """Return true if a text has no Jinja marks. A DAG can set other marks (``jinja_environment_kwargs``)."""
    if environment is None:
        return is_literal(content)
    marks = (
        environment.variable_start_string,
        environment.block_start_string,
        environment.comment_start_string,
        environment.line_statement_prefix,
        environment.line_comment_prefix,
    )
    return not any(mark and mark in content for mark in marks)


def text(field: str, value: object) -> str:
    """Read a name, a key or an id. A number becomes its text, because native rendering makes a number of an id."""
    return validate.text(field, value)


def identifier(field: str, value: object) -> str:
    """Read a key or an id without spaces around it and without line ends."""
    return validate.identifier(field, value)


def percentage(field: str, value: object) -> int:
    """Read a percentage: a whole number from 0 to 100, or a text of it."""
    return validate.percentage(field, _number(value))


def switch(field: str, value: object) -> bool:
    """Read a boolean, or a text of it."""
    known = {"true": True, "false": False}
    found = known.get(value.strip().lower(), value) if isinstance(value, str) else value
    validate.switch(field, found)
    return bool(found)


def texts(field: str, value: object) -> list[str]:
    """Read user, device or deployment ids: a list, or a text of a list."""
    return validate.names(
        field, [text(f"{field}[{place}]", item) for place, item in enumerate(json_list(field, value))]
    )


def identifiers(field: str, value: object) -> list[str]:
    """Read a list of ids, without spaces around them and without line ends."""
    return [identifier(f"{field}[{place}]", item) for place, item in enumerate(texts(field, value))]


def field_names(field: str, value: object) -> list[str] | None:
    """Read the names of fields; ``None`` if not given. An empty list is an error, because it does not mean all."""
    return None if value is None else validate.some(field, texts(field, value), "at least one field")


def interval(field: str, value: object) -> float:
    """Read the time between two polls, in seconds."""
    return duration.interval(field, value)


def one_of(*known: str) -> Callable[[str, object], str]:
    """Return a reader that accepts only these words."""
    return lambda field, value: validate.choice(field, value, known)


if_exists = cast("Callable[[str, object], IfExists]", one_of("skip", "update", "fail"))


def optional(read: Callable[[str, object], _T]) -> Callable[[str, object], _T | None]:
    """Return a reader that also accepts ``None``, for a value that is not given."""
    return lambda field, value: None if value is None else read(field, value)


def words(field: str, value: object) -> str:
    """Read a text that may be empty, such as a description."""
    if not isinstance(value, str):
        raise InvalidInputError(field, f"expected a text, got {value!r}")
    validate.refuse_missing(field, value)
    return value


def json_element(field: str, value: object) -> Json:
    """Read a JSON value."""
    validate.json_element(field, value)
    return cast("Json", value)


def mapping(field: str, value: object) -> dict[str, Any]:
    """Read fields with their values: a mapping, or a text of a mapping."""
    found = _parsed(value)
    if not isinstance(found, Mapping):
        raise InvalidInputError(field, f"expected fields with their values, got {found!r}")
    return {str(key): item for key, item in found.items()}


def weights(field: str, value: object) -> dict[str, int]:
    """Read variant keys with their weights, for at least one variant."""
    return validate.some(field, _weights(field, value), "at least one variant")


def _weights(field: str, value: object) -> dict[str, int]:
    return {key: weight(f"{field}.{key}", item) for key, item in mapping(field, value).items()}


def weight(field: str, value: object) -> int:
    """Read a variant's weight: a number, 0 or more."""
    return cast("int", validate.weight(field, _number(value)))


def variant_fields(field: str, value: object) -> VariantFields:
    """Read the fields of a variant, in the API's spelling (contract: *Edit variant*)."""
    from airflow_provider_ampexp.client.types import VariantFields

    reads = {"key": identifier, "name": words, "description": words, "rolloutWeight": weight}
    found = _converted(field, value, reads)
    validate.known_names(field, found, VariantFields.__annotations__)
    return cast("VariantFields", request_body.variant_fields(found, field))


def variants(field: str, value: object) -> list[VariantFields]:
    """Read a list of variants (contract: *variants*). Each variant needs a key."""
    found = [variant_fields(f"{field}[{place}]", item) for place, item in enumerate(json_list(field, value))]
    for place, variant in enumerate(found):
        validate.require(f"{field}[{place}]", variant, ("key",))
    return found


def segments(field: str, value: object) -> list[TargetSegment]:
    """Read a list of target segments (contract: *targetSegments*)."""
    reads = {"percentage": percentage, "rolloutWeights": _weights}
    return [
        cast("TargetSegment", _converted(f"{field}[{place}]", item, reads))
        for place, item in enumerate(json_list(field, value))
    ]


def edit_fields(field: str, value: object) -> EditFields:
    """Read the fields of a flag or experiment, in the API's spelling (contract: *Edit*)."""
    from airflow_provider_ampexp.client.types import EditFields

    reads: dict[str, Callable[[str, object], object]] = {
        "rolloutPercentage": percentage,
        "enabled": switch,
        "archive": switch,
        "stickyBucketing": switch,
        "targetSegments": segments,
        "name": text,
        "description": words,
        "tags": identifiers,
        **dict.fromkeys(_TEXTS, text),
    }
    found = _converted(field, value, reads)
    if not found:
        raise InvalidInputError(field, "expected at least one field to change, got none")
    validate.known_names(field, found, EditFields.__annotations__)
    return cast("EditFields", request_body.flag_fields(found, patched=True))


def _converted(field: str, value: object, reads: Mapping[str, Callable[[str, object], object]]) -> dict[str, Any]:
    return {
        name: reads[name](f"{field}.{name}", item) if name in reads else item
        for name, item in mapping(field, value).items()
    }


def json_list(field: str, value: object) -> list[object]:
    """Read a list, or a text of a list."""
    found = _parsed(value)
    # An iterator is refused: the check at the parse of the DAG reads it, and it would be empty when the task runs.
    return validate.items(field, None if isinstance(found, Iterator) else found)


def _number(value: object) -> object:
    """Return the number of a text. Any other value is returned unchanged, and a later check refuses it."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _parsed(value: object) -> object:
    """Return the value of a text in JSON or of a Python literal. Any other value is returned unchanged."""
    if isinstance(value, str):
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(value)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue
    return value


def missing_parts(field: str, given: object, rendered: object) -> Iterator[tuple[str, object]]:
    """Yield the path and the result of each template in a JSON value that was rendered to ``None`` or its text."""
    if isinstance(given, str):
        if not is_literal(given) and (rendered is None or rendered in validate.MISSING):
            yield field, rendered
    elif isinstance(given, Mapping) and isinstance(rendered, Mapping):
        for name, part in given.items():
            yield from missing_parts(f"{field}.{name}", part, rendered.get(name))
    elif isinstance(given, list | tuple) and isinstance(rendered, list | tuple):
        for place, (part, found) in enumerate(zip(given, rendered, strict=False)):
            yield from missing_parts(f"{field}[{place}]", part, found)


def folder(field: str, value: object) -> str:
    """Read a folder of an object store.

    :raises InvalidInputError: names the field
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(field, f"expected a folder such as 's3://conn_id@bucket/rollouts', got {value!r}")
    validate.refuse_missing(field, value.strip())
    return value


def approvers(field: str, value: object) -> list[str]:
    """Read the ids of users who may answer an approval. An empty list is an error, because it would mean all users.

    :raises InvalidInputError: names the field
    """
    return validate.some(field, texts(field, value), "at least one user")


ArgumentTable = Mapping[str, tuple[str, Callable[[str, object], Any]]]
"""The optional arguments of an operator. Each argument has its field in the API, and its reader."""


def check_table(operator: object, table: ArgumentTable) -> None:
    """Check the arguments of a table that are known when Airflow parses the DAG."""
    for argument, (_, read) in table.items():
        check_literal(argument, getattr(operator, argument), optional(read))


def given_fields(operator: object, table: ArgumentTable) -> dict[str, Any]:
    """Return the API fields of the given arguments, with their values."""
    return {
        field: read(argument, value)
        for argument, (field, read) in table.items()
        if (value := getattr(operator, argument)) is not None
    }
