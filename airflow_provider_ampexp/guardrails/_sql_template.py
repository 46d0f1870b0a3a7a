"""Render values into SQL.

A value in a query could end a string and inject SQL. So the value of ``{{ ... }}`` becomes a whole SQL literal with its
quotes. Bound parameters would be an alternative, but their syntax depends on the driver.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from airflow_provider_ampexp._validate import InvalidInputError

if TYPE_CHECKING:
    from jinja2 import Template

# These enclose each literal until the whole query is rendered. A query or a value cannot contain them.
_BEGIN, _END = "\x00", "\x01"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A string, a quoted name or a comment, up to its end or the end of the query.
_ENCLOSED = re.compile(
    r"""'(?:[^']|'')*(?:'|$) | "(?:[^"]|"")*(?:"|$) | `[^`]*(?:`|$) | --[^\n]* | /\*.*?(?:\*/|$)""",
    re.VERBOSE | re.DOTALL,
)
_LITERAL = re.compile(f"{_BEGIN}([^{_END}]*){_END}")


def rendered(field: str, sql: str, values: Mapping[str, object]) -> str:
    """Render the values, each as a whole SQL literal.

    ``{{ flag_key }}`` becomes ``'new-checkout'``, ``{{ percentage }}`` becomes ``5``, a time becomes its UTC as
    ``'2026-03-01 12:00:00+00:00'`` and a missing value becomes ``NULL``. Expressions come before quoting:
    ``{{ flag_key ~ '%' }}`` becomes ``'new-checkout%'``.

    :raises InvalidInputError: when a template is invalid, uses an unknown name or puts a value within quotes or a
        comment; and when a value cannot be a literal
    """
    from jinja2 import TemplateError

    if not isinstance(sql, str) or not sql.strip():
        raise InvalidInputError(field, "expected a query, got none")
    if _BEGIN in sql or _END in sql:
        raise InvalidInputError(field, "must not contain control characters")
    try:
        text = _template(sql).render(dict(values)).strip().rstrip(";")
    except TemplateError as error:
        raise InvalidInputError(field, f"{error}. Expected one of {', '.join(values)}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InvalidInputError(field, str(error)) from None
    for enclosed in _ENCLOSED.findall(_LITERAL.sub(_BEGIN, text)):
        if _BEGIN in enclosed:
            where = enclosed.replace(_BEGIN, "{{ ... }}")
            raise InvalidInputError(
                field, f"remove the quotes or the comment around the value in {where!r}: the value has its own quotes"
            )
    return _LITERAL.sub(r"\1", text)


def _template(sql: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined, finalize=lambda value: f"{_BEGIN}{_literal(value)}{_END}", keep_trailing_newline=True
    )
    return environment.from_string(sql)


def _literal(value: object) -> str:
    from jinja2 import Undefined

    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"expected a finite number, got {value!r}")
        plain = repr(int(value) if value == int(value) else value)
        return f"({plain})" if value < 0 else plain  # two minus signs would begin a comment
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return f"'{value.astimezone(timezone.utc).isoformat(' ', 'seconds')}'"
    if isinstance(value, str):
        return _text_literal(value)
    if isinstance(value, Undefined):
        str(value)  # raises, and names the missing value
    raise TypeError(f"expected a text, a number, a time or None, got {value!r}")


def _text_literal(value: str) -> str:
    # A backslash begins an escape in the strings of some databases but not of others, so no quoting is safe in all.
    if "\\" in value or _CONTROL.search(value):
        raise ValueError(f"{value!r} has a backslash or a control character, which has no safe quoting")
    doubled = str.replace(value, "'", "''")  # not the method of a subclass, such as the result of the filter `safe`
    return f"'{doubled}'"


def names_in(sql: str) -> set[str]:
    """Return the names of the values that a query uses."""
    from jinja2 import meta
    from jinja2.sandbox import SandboxedEnvironment

    return meta.find_undeclared_variables(SandboxedEnvironment().parse(sql))
