"""The management API key, and the header that carries it."""

from __future__ import annotations

from typing import NoReturn

import requests
from requests.auth import AuthBase


class BearerKey(AuthBase):
    """Put the key into the ``Authorization`` header, and nowhere else.

    A traceback can show local variables, but not this object's key. With an ``auth`` object, ``requests`` ignores the
    machine's ``.netrc``.
    """

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def __repr__(self) -> str:
        return "<management API key>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle a client, because it has the management API key; create a client instead")

    def redact(self, body: bytes) -> bytes:
        """Return the body without the key. Redact before you cut the body: a part of a key is not recognised."""
        return body.replace(self._key.encode(), b"***")
