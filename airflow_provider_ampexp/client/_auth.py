"""The management API key, and the one place where it goes."""

from __future__ import annotations

from typing import NoReturn

import requests
from requests.auth import AuthBase


class BearerKey(AuthBase):
    """Puts the key into the header, and nowhere else.

    As an ``auth`` object the key stays out of every local variable that a traceback may show, and a ``.netrc`` of the
    machine cannot put another password in its place.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def __repr__(self) -> str:
        return "<management API key>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client holds a management API key and is not pickled; make one where it is needed")

    def redact(self, body: bytes) -> bytes:
        """The body without the key. Redact first, cut afterwards: half a key is no longer recognised."""
        return body.replace(self._key.encode(), b"***")
