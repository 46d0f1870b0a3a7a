"""Management keys: who calls, and which projects they may see (contract: the ``Authorization`` header)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_ampexp.emulator._state.errors import Refusal

_KEY_LIKE = re.compile(r"ampex_[^\s&/?#\"']*|\b(?:client|server)-[A-Za-z0-9]{16,}")


@dataclass(frozen=True)
class Key:
    """A management key, the person it belongs to and the projects it may see."""

    key: str
    person: str
    projects: frozenset[str]
    revoked: bool = False

    def require(self, project_id: str) -> None:
        """Refuse with 403 when the key may not see the project."""
        if project_id not in self.projects:
            raise Refusal(403, f"projectId: this key has no access to project {project_id}.")


class KeyRing:
    """All keys that the service knows."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    def add(self, key: Key) -> None:
        """Add a key, or replace the one with the same text."""
        self._keys[key.key] = key

    def all(self) -> list[Key]:
        """Every key, revoked ones too."""
        return list(self._keys.values())

    def bearer(self, header: str | None) -> Key | None:
        """The key in an ``Authorization`` header, if it is one that is known."""
        scheme, _, token = (header or "").partition(" ")
        return self._keys.get(token.strip()) if scheme.lower() == "bearer" else None

    def authenticate(self, header: str | None) -> Key:
        """The caller's key, or a 401. The message never repeats the key."""
        if not header:
            raise Refusal(401, "Authorization: a management key is needed, as 'Bearer ampex_...'.")
        key = self.bearer(header)
        if key is None:
            token = header.partition(" ")[2].strip()
            if token.startswith(("client-", "server-")):
                raise Refusal(401, "Authorization: this is a deployment key; a management key is needed.")
            raise Refusal(401, "Authorization: the management key is not known.")
        if key.revoked:
            raise Refusal(401, "Authorization: the management key has been revoked.")
        return key

    def hide(self, text: str) -> str:
        """The text with everything that is or looks like a key blotted out."""
        for key in self._keys:
            text = text.replace(key, "***")
        return _KEY_LIKE.sub("***", text)
