"""The one way in which a request is refused."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """A request that is answered with an error: a status, a sentence, and headers such as ``Retry-After``."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


def bad_request(error: str) -> Refusal:
    """A 400: missing or invalid input."""
    return Refusal(400, error)


def not_found(error: str) -> Refusal:
    """A 404: no such thing."""
    return Refusal(404, error)
