"""Validate input before it is sent. Each error names the field."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

REGIONS = {
    "us": "https://experiment.amplitude.com",
    "eu": "https://experiment.eu.amplitude.com",
}
MAX_INCLUSIONS = 2000
# The result of a template without its Param or XCom.
MISSING = ("None", "null", "undefined")
_Sized = TypeVar("_Sized", bound=Sized)
_LONGEST_SECONDS = 3650 * 86400.0
_LABEL = re.compile(r"[A-Za-z0-9_-]+")
_KEY_CHARACTERS = re.compile(r"[\x21-\x7e]+")


class InvalidInputError(ValueError):
    """Invalid input. Nothing was sent. ``field`` names the invalid field."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem

    def __reduce__(self) -> tuple[type[InvalidInputError], tuple[str, str]]:
        # The default pickles only the message, from which the exception cannot be created again.
        return type(self), (self.field, self.problem)


def nearest(given: object, known: Iterable[str]) -> str:
    """Return ``"; is 'hold' meant?"`` for the nearest known word, or an empty text."""
    from difflib import get_close_matches  # only for a mistake

    near = get_close_matches(str(given), list(known), n=1)
    return f"; is {near[0]!r} meant?" if near else ""


def key_problem(key: object) -> str | None:
    """Return the problem of a key without the key. It does not raise, because a traceback would show the key."""
    if not isinstance(key, str) or not key:
        return "the management API key is empty"
    if not _KEY_CHARACTERS.fullmatch(key):
        return "the management API key contains spaces, line ends or other invalid characters"
    if key.startswith(("client-", "server-")):
        return "this is a deployment key; the Management API needs a management key (it begins with ampex_)"
    return None


def base_url_problem(value: object) -> str | None:
    """Return the problem of an address without the address, which may contain a password. It does not raise."""
    parts = _address(value)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "not an address such as https://experiment.amplitude.com"
    if re.search(r"[@?#\s]", str(value)):
        return "must not contain a user, password, query, fragment or space"
    if found := re.search(r"/api(/\d+)?(/|$)", parts.path):
        return f"must end before {found[0].rstrip('/')!r}, because the client adds /api/1 itself"
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        return "must use https, because http would expose the key (http is for loopback only)"
    return None


def region(value: object) -> str:
    """Return the address of a region."""
    return REGIONS[choice("region", value, tuple(REGIONS))]


def _address(value: object) -> SplitResult | None:
    if not isinstance(value, str):
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port  # the property raises for an invalid port
    except ValueError:
        return None
    return parts


def is_loopback(host: str) -> bool:
    """Return true if the host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def seconds(field: str, value: object) -> float:
    """Return a duration in seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_SECONDS:
        raise InvalidInputError(field, f"expected a number of seconds from 0 to 10 years, got {value!r}")
    return float(value)


def timeout(field: str, value: object) -> float:
    """Return a duration in seconds, more than 0."""
    if seconds(field, value) == 0:
        raise InvalidInputError(field, "must be greater than 0")
    return seconds(field, value)


def percentage(field: str, value: object) -> int:
    """Return a percentage, a whole number from 0 to 100, because Amplitude buckets users in steps of 1 %."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InvalidInputError(field, f"{value!r} is not a percentage (a whole number from 0 to 100)")
    if not 0 <= value <= 100:
        raise InvalidInputError(field, f"{value!r} is outside 0 to 100")
    if value != int(value):
        raise InvalidInputError(field, f"{value!r} is not whole: Amplitude buckets users in steps of 1 %")
    return int(value)


def weight(field: str, value: object) -> int | float:
    """Return a variant's weight: a number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InvalidInputError(field, f"{value!r} is not a weight (a number, 0 or more)")
    return value


def name(field: str, value: object) -> str:
    """Return a key or an id: a non-empty string."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(field, f"expected a non-empty string, got {value!r}")
    if not value.isprintable() and not _is_unicode(value):
        raise InvalidInputError(field, f"{value!r} contains an invalid Unicode character")
    return value


def text(field: str, value: object) -> str:
    """Return a name, a key or an id. A number becomes its text, because native rendering makes a number of an id."""
    refuse_missing(field, value)
    return name(field, str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def identifier(field: str, value: object) -> str:
    """Return a key or an id without spaces around it and without line ends, which come from a file or a YAML block."""
    found = text(field, value)
    if found != found.strip() or len(found.splitlines()) > 1:
        raise InvalidInputError(field, f"expected a text without spaces around it and without line ends, got {found!r}")
    return found


def refuse_missing(field: str, value: object) -> None:
    """Refuse the result of a template without its Param or XCom."""
    if value in MISSING:
        raise InvalidInputError(field, f"expected a text, got {value!r}: a Param or an XCom is missing")


def choice(field: str, value: object, words: Sequence[str], more: str = "") -> str:
    """Return one of some words.

    :param more: other accepted values, for the error: ``"or a percentage"``
    """
    if isinstance(value, str) and value in words:
        return value
    *most, last = map(repr, words)
    expected = f"{', '.join((*most, last))} {more}" if more else f"{', '.join(most)} or {last}"
    raise InvalidInputError(field, f"expected {expected}, got {value!r}{nearest(value, words)}")


def path_name(field: str, value: object) -> str:
    """Return a key or an id in a path. ``.`` and ``..`` would be another path, also if they are encoded."""
    if value in (".", ".."):
        raise InvalidInputError(field, f"{value!r} is not possible in a path")
    return name(field, value)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def index(field: str, value: object) -> int:
    """Return a place in a list, counted from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInputError(field, f"{value!r} is not a place in a list (0, 1, 2, ...)")
    return value


def items(field: str, values: object, expected: str = "a list") -> list[Any]:
    """Return the items of a list. A text or a mapping is none."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInputError(field, f"expected {expected}, got {values!r}")
    return list(values)


def some(field: str, found: _Sized, expected: str) -> _Sized:
    """Return what was found, and refuse nothing.

    :param expected: such as ``at least one field``
    """
    if not found:
        raise InvalidInputError(field, f"expected {expected}, got none")
    return found


def names(field: str, values: object) -> list[str]:
    """Return user, device or deployment ids, each once, in the given order."""
    found = items(field, values, "a list of strings")
    return list(dict.fromkeys(name(f"{field}[{place}]", value) for place, value in enumerate(found)))


def label(field: str, value: object) -> str:
    """Validate a deployment's label (contract: *Create deployment*)."""
    refuse_missing(field, value)
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise InvalidInputError(
            field, f"{value!r} may have letters, digits, '_' and '-' only, and at least one of them"
        )
    return value


def deployment_type(field: str, value: object) -> str:
    """Validate a deployment's type (contract: *Create deployment*)."""
    if value not in ("client", "server"):
        raise InvalidInputError(field, f"{value!r} is neither 'client' nor 'server'")
    return str(value)


def switch(field: str, value: object) -> None:
    """Validate a boolean."""
    if not isinstance(value, bool):
        raise InvalidInputError(field, f"expected true or false, got {value!r}")


def json_element(field: str, value: object) -> None:
    """Validate a JSON value. ``NaN`` and infinite numbers are not JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(field, f"not JSON: {error}") from None


def require(field: str, fields: Mapping[str, Any], required: Iterable[str]) -> None:
    """Refuse fields without a required one."""
    for missing in (name for name in required if fields.get(name) is None):
        raise InvalidInputError(f"{field}.{missing}", f"is required{nearest(missing, set(fields) - set(required))}")


def known_names(field: str, fields: Iterable[str], known: Iterable[str]) -> None:
    """Raise for a field that the API does not have. The error names the nearest known field."""
    known = list(known)
    for name in fields:
        if name not in known:
            meant = nearest(name, known) or f" (expected one of {', '.join(sorted(known))})"
            raise InvalidInputError(f"{field}.{name}", f"is an unknown field of the API{meant}")


def mapping(field: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInputError(field, f"expected fields with their values, got {type(value).__name__}")
    return dict(value)
