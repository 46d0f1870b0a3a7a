"""Read the body of a response, with limits for its time, its size and the depth of its JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError

LARGEST_BODY = 64 * 1024 * 1024
"""The maximum size of an unpacked body in bytes. A page of 1,000 flags has some megabytes."""

DEEPEST_JSON = 100
"""The maximum depth of JSON. The API's own JSON has at most 6 levels, without a variant's payload."""

_PART = 64 * 1024


class BodyNotReadError(Exception):
    """The body is incomplete. The message says why."""


class BodyTooLargeError(BodyNotReadError):
    """The body is larger than the limit."""


@dataclass(frozen=True)
class ResponseBody:
    """A complete response."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def read_body(response: requests.Response, deadline: float, seconds: float) -> bytes:
    """Read the body, unpacked.

    :param deadline: the time at which the body must be complete, on the monotonic clock
    :param seconds: the same in seconds from the start of the call, for the error
    :raises BodyNotReadError: when the body breaks off, takes too long or is too large; the connection is then closed
    """
    if response.__dict__.get("_content", False) is not False:  # already read, for example by a session's hook
        return response.content
    parts, size = [], 0
    try:
        while part := response.raw.read1(_PART, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > LARGEST_BODY:
                raise BodyTooLargeError(f"The body is larger than {LARGEST_BODY // 1024**2} MiB.")
            if time.monotonic() > deadline:
                raise BodyNotReadError(f"The body was not complete within {seconds:g} s.")
        # At the end of a body, urllib3 returns the connection and does not report missing bytes.
        _refuse_a_cut(response)
    except BodyNotReadError:
        response.close()
        raise
    except (HTTPError, OSError) as error:
        response.close()
        raise BodyNotReadError(f"{type(error).__name__}: {error}") from None
    response.close()
    return b"".join(parts)


def _refuse_a_cut(response: requests.Response) -> None:
    if response.raw.length_remaining:
        raise BodyNotReadError(f"The body was cut short: {response.raw.length_remaining} bytes are missing.")


def parse_json(body: bytes | str) -> Any:
    """Return the JSON value of a body. ``NaN`` and infinite numbers, which JSON does not have, become ``None``.

    :raises ValueError: when the body is not JSON, or has more than ``DEEPEST_JSON`` levels
    """
    try:
        value = json.loads(body, parse_constant=lambda name: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST_JSON):
        if not level:
            return value
        # A page has 50,000 values, so this loop is short: `json.loads` returns no other containers.
        level = [
            inner
            for item in level
            for inner in (item.values() if item.__class__ is dict else item)
            if inner.__class__ is dict or inner.__class__ is list
        ]
    raise ValueError("nested too deeply")
