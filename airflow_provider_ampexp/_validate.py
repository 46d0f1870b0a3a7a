"""Validate input before it is sent. Each error names the field."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

REGIONS = {
    "us": "https://experiment.amplitude.com",
    "eu": "https://experiment.eu.amplitude.com",
}
MAX_INCLUSIONS = 2000
_OF_SEGMENT = ("name", "conditions", "percentage", "rolloutWeights")
# The result of a template without its Param or XCom.
_MISSING = ("None", "null", "undefined")
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


def _share(field: str, value: object) -> int | float:
    """Return a percentage that was read, from 0 to 100, perhaps a fraction."""
    if isinstance(value, float) and 0 < value < 100 and value != int(value):
        return value
    return percentage(field, value)


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


def refuse_missing(field: str, value: object) -> None:
    """Refuse the result of a template without its Param or XCom."""
    if value in _MISSING:
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


def names(field: str, values: object) -> list[str]:
    """Return user, device or deployment ids, each once, in the given order."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidInputError(field, f"expected a list of strings, got {type(values).__name__}")
    return list(dict.fromkeys(name(f"{field}[{place}]", value) for place, value in enumerate(values)))


def label(field: str, value: object) -> str:
    """Validate a deployment's label (contract: *Create deployment*)."""
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
        raise InvalidInputError(field, f"{value!r} is neither true nor false")


def json_element(field: str, value: object) -> None:
    """Validate a JSON value. ``NaN`` and infinite numbers are not JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(field, f"not JSON: {error}") from None


def variant_fields(fields: Mapping[str, Any], field: str = "") -> dict[str, Any]:
    """Validate the body of a variant's create or edit."""
    checked = mapping(field or "fields", fields)
    prefix = f"{field}." if field else ""
    if "key" in checked:
        name(f"{prefix}key", checked["key"])
    if "payload" in checked:
        json_element(f"{prefix}payload", checked["payload"])
    if "rolloutWeight" in checked:
        weight(f"{prefix}rolloutWeight", checked["rolloutWeight"])
    json_element(field or "fields", checked)
    return checked


def flag_fields(fields: Mapping[str, Any], *, patched: bool = False, as_read: bool = False) -> dict[str, Any]:
    """Validate the body of a flag's or experiment's create or edit.

    :param patched: true for an edit, for which a target segment needs all its fields
    :param as_read: true if the body has values that were read: percentages may be fractions, segments are unchanged
    """
    share = _share if as_read else percentage
    checked = mapping("fields", fields)
    for required in ("projectId", "key"):
        if required in checked:
            checked[required] = name(required, checked[required])
    if "rolloutPercentage" in checked:
        checked["rolloutPercentage"] = share("rolloutPercentage", checked["rolloutPercentage"])
    for field in ("enabled", "archive", "stickyBucketing"):
        if field in checked:
            switch(field, checked[field])
    if "deployments" in checked:
        checked["deployments"] = names("deployments", checked["deployments"])
    if "rolloutWeights" in checked:
        for key, value in mapping("rolloutWeights", checked["rolloutWeights"]).items():
            weight(f"rolloutWeights.{key}", value)
    for many, parse_item in (("variants", variant_fields), ("targetSegments", partial(_segment, share))):
        if many in checked:
            if isinstance(checked[many], str | bytes | Mapping) or not isinstance(checked[many], Iterable):
                raise InvalidInputError(many, f"expected a list, got {type(checked[many]).__name__}")
            checked[many] = [parse_item(item, f"{many}[{place}]") for place, item in enumerate(checked[many])]
    for place, variant in enumerate(checked.get("variants", ())):
        require(f"variants[{place}]", variant, ("key",))
    if not as_read:
        _whole_segments(checked.get("targetSegments", ()), _OF_SEGMENT if patched else ("conditions",))
    json_element("fields", checked)
    return checked


def _segment(share: Callable[[str, object], float], fields: Mapping[str, Any], field: str) -> dict[str, Any]:
    checked = mapping(field, fields)
    if "percentage" in checked:
        checked["percentage"] = share(f"{field}.percentage", checked["percentage"])
    return checked


def _whole_segments(segments: Iterable[Mapping[str, Any]], required: Iterable[str]) -> None:
    for place, segment in enumerate(segments):
        field = f"targetSegments[{place}]"
        require(field, segment, required)
        conditions = segment["conditions"]
        if isinstance(conditions, str | bytes | Mapping) or not isinstance(conditions, Iterable):
            raise InvalidInputError(f"{field}.conditions", f"expected a list, got {type(conditions).__name__}")
        for number, condition in enumerate(conditions):
            _condition(f"{field}.conditions[{number}]", condition)


def _condition(field: str, value: object) -> None:
    condition = mapping(field, value)
    require(field, condition, ("type", "prop", "op", "values"))
    if condition["type"] != "property":
        raise InvalidInputError(
            f"{field}.type", f"expected 'property', got {condition['type']!r} (the API takes no conditions on cohorts)"
        )
    values = condition["values"]
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise InvalidInputError(f"{field}.values", f"expected a list of strings, got {values!r}")


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
