"""Reading the body of an answer: within a time and a size, and as JSON that is not nested without end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a body at most, once it is unpacked. A page of 1,000 flags has some megabytes."""

DEEPEST_JSON = 100
"""How deep lists and objects may lie in each other. The API's own are 6 deep at most, besides a variant's payload."""

_PART = 64 * 1024


class BodyNotReadError(Exception):
    """The body did not come whole. The message says why."""


class BodyTooLargeError(BodyNotReadError):
    """There is more of it than is read."""


@dataclass(frozen=True)
class ResponseBody:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def read_body(response: requests.Response, deadline: float, seconds: float) -> bytes:
    """Read the body, unpacked.

    :param deadline: when it must have come, on the monotonic clock
    :param seconds: how long that is from the beginning of the call, for the error
    :raises BodyNotReadError: when it breaks off, takes too long or is too large; the connection is closed then
    """
    if response.__dict__.get("_content", False) is not False:  # somebody on the way, such as a session's hook, read it
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
        # At the end of a body, urllib3 gives the connection back and says nothing of what is missing.
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
    """The value that a body holds. ``NaN`` and endless numbers, which JSON has not, become ``None``.

    :raises ValueError: when it is no JSON, or is nested deeper than ``DEEPEST_JSON``
    """
    try:
        value = json.loads(body, parse_constant=lambda name: None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(DEEPEST_JSON):
        if not level:
            return value
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
    raise ValueError("nested too deeply")
