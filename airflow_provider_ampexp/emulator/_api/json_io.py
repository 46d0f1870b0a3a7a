"""Read JSON strictly, and write responses."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from airflow_provider_ampexp.emulator._state.errors import bad_request
from airflow_provider_ampexp.emulator._state.settings import Settings

# Above this a float is not exact, so it stays a float.
_EXACT = 2**53


def _number(text: str) -> int | float:
    """Convert a number of JSON: ``25.0`` becomes ``25``."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is too large")
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def parse_json(raw: bytes) -> Any:
    """Return the value of a request's body, or raise a 400."""
    try:
        value = json.loads(raw.decode("utf-8"), parse_float=_number, parse_constant=_no_constant)
        # JSON can contain half a surrogate pair, but UTF-8 cannot.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise bad_request(f"The body is not valid JSON: {error}") from None
    return value


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a request's body, or raise a 400."""
    value = parse_json(raw)
    if not isinstance(value, dict):
        raise bad_request("The body must be a JSON object.")
    return value


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response. Text is sent as UTF-8, not escaped."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    return Response(body, status, headers, media_type="application/json")


def error_response(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response: ``{"error": "..."}``."""
    return json_response({"error": error}, status, headers)


def done_response(settings: Settings) -> Response:
    """Return the response to a write: the text ``OK``, or the text of the settings."""
    kind = "application/json" if settings.write_body == "{}" else "text/plain"
    return Response(settings.write_body, media_type=kind)


def _as_number(text: Any) -> Any:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text


def user_id(person: str) -> int:
    """Return the number of a person, the same in each run."""
    return 100_000 + zlib.crc32(person.encode()) % 900_000


def _person(name: Any, settings: Settings) -> Any:
    if settings.created_by == "name" or not isinstance(name, str):
        return name
    if settings.created_by == "number":
        return user_id(name)
    mailbox = name.lower().replace(" ", ".")
    return {"id": user_id(name), "name": name, "email": f"{mailbox}@acme.example"}


def with_ids(view: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return an object or version with its ids and actors in the form of the settings."""
    if settings.created_by != "name":
        people: dict[str, Any] = {
            name: _person(view[name], settings) for name in ("createdBy", "lastModifiedBy") if name in view
        }
        view = {**view, **people}
    if not settings.numeric_ids:
        return view
    changed = dict(view)
    for name in ("id", "projectId"):
        if name in changed:
            changed[name] = _as_number(changed[name])
    if isinstance(changed.get("deployments"), list):
        changed["deployments"] = [_as_number(item) for item in changed["deployments"]]
    if isinstance(changed.get("flagConfig"), dict):
        changed["flagConfig"] = with_ids(changed["flagConfig"], settings)
    return changed
