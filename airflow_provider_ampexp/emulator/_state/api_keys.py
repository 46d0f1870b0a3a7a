"""Management keys with their person and projects (contract: the ``Authorization`` header)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_ampexp.emulator._state.errors import Refusal

_KEY_LIKE = re.compile(r"ampex_[^\s&/?#\"']*|\b(?:client|server)-[A-Za-z0-9]{16,}")


@dataclass(frozen=True)
class Key:
    """A management key, its person, and the projects that it can see."""

    key: str
    person: str
    projects: frozenset[str]
    revoked: bool = False

    def require(self, project_id: str) -> None:
        """Raise a 403 if the key cannot see the project."""
        if project_id not in self.projects:
            raise Refusal(403, f"projectId: this key has no access to project {project_id}.")


class KeyRing:
    """All keys of the service."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    def add(self, key: Key) -> None:
        """Add a key, or replace the one with the same text."""
        self._keys[key.key] = key

    def all(self) -> list[Key]:
        """Return all keys, also revoked ones."""
        return list(self._keys.values())

    def bearer(self, header: str | None) -> Key | None:
        """Return the known key of an ``Authorization`` header, or None."""
        scheme, _, token = (header or "").partition(" ")
        return self._keys.get(token.strip()) if scheme.lower() == "bearer" else None

    def authenticate(self, header: str | None) -> Key:
        """Return the caller's key, or raise a 401. The message never repeats the key."""
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
        """Return the text without keys and texts that look like keys."""
        for key in self._keys:
            text = text.replace(key, "***")
        return _KEY_LIKE.sub("***", text)
