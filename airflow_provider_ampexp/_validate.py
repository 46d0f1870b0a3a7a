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


DEEPEST_PAYLOAD = 64
"""The largest number of levels of a payload. The client reads no response of 100 levels or more."""
DEEPEST_BODY = DEEPEST_PAYLOAD + 4
"""The same for a body: a payload is in a variant, in the list of variants, in the fields."""
_LARGEST_WEIGHT = 1_000_000_000
_LONGEST_SHOWN = 200


class InvalidInputError(ValueError):
    """Invalid input. Nothing was sent. ``field`` names the invalid field."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem

    def __reduce__(self) -> tuple[type[InvalidInputError], tuple[str, str]]:
        # The default pickles only the message, from which the exception cannot be created again.
        return type(self), (self.field, self.problem)


def shown(value: object) -> str:
    """Return a value for an error, in at most 200 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python formats no whole number of more than 4,300 digits
        return f"a {type(value).__name__} with too many digits"
    except RecursionError:
        return f"a {type(value).__name__} of too many levels"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


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
        raise InvalidInputError(field, f"expected a number of seconds from 0 to 10 years, got {shown(value)}")
    return float(value)


def timeout(field: str, value: object) -> float:
    """Return a duration in seconds, more than 0."""
    if seconds(field, value) == 0:
        raise InvalidInputError(field, "must be greater than 0")
    return seconds(field, value)


def percentage(field: str, value: object) -> int:
    """Return a percentage, a whole number from 0 to 100, because Amplitude buckets users in steps of 1 %."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InvalidInputError(field, f"{shown(value)} is not a percentage (a whole number from 0 to 100)")
    if not 0 <= value <= 100:
        raise InvalidInputError(field, f"{shown(value)} is outside 0 to 100")
    if value != int(value):
        raise InvalidInputError(field, f"{shown(value)} is not whole: Amplitude buckets users in steps of 1 %")
    return int(value)


def weight(field: str, value: object) -> int | float:
    """Return a variant's weight: a number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidInputError(field, f"{shown(value)} is not a weight (a number, 0 or more)")
    if value > _LARGEST_WEIGHT:
        raise InvalidInputError(field, f"expected a weight of at most {_LARGEST_WEIGHT:,}, got {shown(value)}")
    return value


def name(field: str, value: object) -> str:
    """Return a key or an id: a non-empty string."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(field, f"expected a non-empty string, got {shown(value)}")
    if not value.isprintable() and not _is_unicode(value):
        raise InvalidInputError(field, f"{shown(value)} contains an invalid Unicode character")
    return value


def text(field: str, value: object) -> str:
    """Return a name, a key or an id. A number becomes its text, because native rendering makes a number of an id."""
    refuse_missing(field, value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            value = str(value)
        except ValueError:
            raise InvalidInputError(field, f"expected a key or an id, got {shown(value)}") from None
    return name(field, value)


def identifier(field: str, value: object) -> str:
    """Return a key or an id without spaces around it and without line ends, which come from a file or a YAML block."""
    found = text(field, value)
    if found != found.strip() or len(found.splitlines()) > 1:
        raise InvalidInputError(
            field, f"expected a text without spaces around it and without line ends, got {shown(found)}"
        )
    return found


def refuse_missing(field: str, value: object) -> None:
    """Refuse the result of a template without its Param or XCom."""
    if value in MISSING:
        raise InvalidInputError(field, f"expected a text, got {shown(value)}: a Param or an XCom is missing")


def choice(field: str, value: object, words: Sequence[str], more: str = "") -> str:
    """Return one of some words.

    :param more: other accepted values, for the error: ``"or a percentage"``
    """
    if isinstance(value, str) and value in words:
        return value
    *most, last = map(repr, words)
    expected = f"{', '.join((*most, last))} {more}" if more else f"{', '.join(most)} or {last}"
    raise InvalidInputError(field, f"expected {expected}, got {shown(value)}{nearest(value, words)}")


def path_name(field: str, value: object) -> str:
    """Return a key or an id in a path. ``.`` and ``..`` would be another path, also if they are encoded."""
    if value in (".", ".."):
        raise InvalidInputError(field, f"{shown(value)} is not possible in a path")
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
        raise InvalidInputError(field, f"{shown(value)} is not a place in a list (0, 1, 2, ...)")
    return value


def items(field: str, values: object, expected: str = "a list") -> list[Any]:
    """Return the items of a list. A text or a mapping is none."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInputError(field, f"expected {expected}, got {shown(values)}")
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
            field, f"{shown(value)} may have letters, digits, '_' and '-' only, and at least one of them"
        )
    return value


def deployment_type(field: str, value: object) -> str:
    """Validate a deployment's type (contract: *Create deployment*)."""
    if value not in ("client", "server"):
        raise InvalidInputError(field, f"{shown(value)} is neither 'client' nor 'server'")
    return str(value)


def switch(field: str, value: object) -> None:
    """Validate a boolean."""
    if not isinstance(value, bool):
        raise InvalidInputError(field, f"expected true or false, got {shown(value)}")


def json_element(field: str, value: object, levels: int = DEEPEST_PAYLOAD) -> None:
    """Validate a JSON value. ``NaN``, infinite numbers, and keys that are no text, are not JSON.

    :param levels: the largest number of levels of lists and objects
    """
    too_deep = f"expected at most {levels} levels of lists and objects, got more"
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidInputError(field, too_deep) from None
    except (TypeError, ValueError) as error:
        raise InvalidInputError(field, f"not JSON: {error}") from None
    level: list[Any] = [value] if isinstance(value, Mapping | list | tuple) else []
    for _ in range(levels):
        keys = (key for item in level if isinstance(item, Mapping) for key in item)
        for key in (key for key in keys if not isinstance(key, str)):
            raise InvalidInputError(field, f"not JSON: expected a text as key, got {shown(key)}")
        level = [inner for item in level for inner in (item.values() if isinstance(item, Mapping) else item)]
        level = [item for item in level if isinstance(item, Mapping | list | tuple)]
    if level:
        raise InvalidInputError(field, too_deep)


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
