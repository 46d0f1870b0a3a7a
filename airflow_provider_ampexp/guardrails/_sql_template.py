"""SQL with values in it.

A template renders text, and text in a query can end a string and begin something else. So a value is never put in as
it is: the value of ``{{ ... }}`` becomes a whole SQL literal, quotes and all, and stands on its own in the query.
Bound parameters would do as well, but each driver spells them in its own way.
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

# They enclose each literal until the whole query is known. Neither can be part of a query or of a value.
_BEGIN, _END = "\x00", "\x01"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A string, a quoted name or a comment, up to its end or that of the query.
_ENCLOSED = re.compile(
    r"""'(?:[^']|'')*(?:'|$) | "(?:[^"]|"")*(?:"|$) | `[^`]*(?:`|$) | --[^\n]* | /\*.*?(?:\*/|$)""",
    re.VERBOSE | re.DOTALL,
)
_LITERAL = re.compile(f"{_BEGIN}([^{_END}]*){_END}")


def rendered(field: str, sql: str, values: Mapping[str, object]) -> str:
    """Fill in the values, each as a whole SQL literal.

    ``{{ flag_key }}`` gives ``'new-checkout'``, ``{{ percentage }}`` gives ``5``, a time gives its UTC as
    ``'2026-03-01 12:00:00+00:00'`` and what is not there gives ``NULL``. Expressions come before quoting:
    ``{{ flag_key ~ '%' }}`` gives ``'new-checkout%'``.

    :raises InvalidInputError: names the field, when a template is wrong, uses an unknown name or puts a value within
        quotes or a comment; and when a value cannot be a literal
    """
    from jinja2 import TemplateError

    if not isinstance(sql, str) or not sql.strip():
        raise InvalidInputError(field, "there is no query")
    if _BEGIN in sql or _END in sql:
        raise InvalidInputError(field, "has control characters in it")
    try:
        text = _template(sql).render(dict(values)).strip().rstrip(";")
    except TemplateError as error:
        raise InvalidInputError(field, f"{error}. Known are {', '.join(values)}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InvalidInputError(field, str(error)) from None
    for enclosed in _ENCLOSED.findall(_LITERAL.sub(_BEGIN, text)):
        if _BEGIN in enclosed:
            where = enclosed.replace(_BEGIN, "{{ ... }}")
            raise InvalidInputError(
                field, f"a value stands within quotes or a comment, in {where!r}; it comes with its own quotes"
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
            raise ValueError(f"{value!r} is not a number that SQL knows")
        plain = repr(int(value) if value == int(value) else value)
        return f"({plain})" if value < 0 else plain  # two minus signs begin a comment
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return f"'{value.astimezone(timezone.utc).isoformat(' ', 'seconds')}'"
    if isinstance(value, str):
        return _text_literal(value)
    if isinstance(value, Undefined):
        str(value)  # raises, and names what is missing
    raise TypeError(f"{value!r} is neither a text, a number, a time nor nothing")


def _text_literal(value: str) -> str:
    # In some databases a backslash begins an escape in a string and in others it does not, so there is no way to
    # write one that is right, and safe, in all of them.
    if "\\" in value or _CONTROL.search(value):
        raise ValueError(f"{value!r} has a backslash or a control character, which cannot be quoted safely")
    doubled = str.replace(value, "'", "''")  # not that of a subclass, such as what the filter `safe` gives
    return f"'{doubled}'"
