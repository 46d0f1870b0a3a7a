"""The error of a refused request."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """An error response: a status, a sentence, and headers such as ``Retry-After``."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


def bad_request(error: str) -> Refusal:
    """Return a 400: missing or invalid input."""
    return Refusal(400, error)


def not_found(error: str) -> Refusal:
    """Return a 404: the object does not exist."""
    return Refusal(404, error)
