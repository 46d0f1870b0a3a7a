"""A scratch project: unmodified requests, which change only objects that this run created."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import quote

import requests
import tenacity

PREFIX = "ampexp-conformance-"
"""The keys of the objects that a run creates begin with this."""
KINDS = ("flags", "experiments")
TOO_MANY = 429


class ForeignObjectError(Exception):
    """A request would change an object that this run did not create. It was not sent."""


@dataclass(frozen=True)
class Response:
    """A response of the service.

    :param json: the body as JSON; ``None`` if it is not JSON
    """

    status: int
    text: str
    headers: Mapping[str, str]
    json: Any


@dataclass(frozen=True)
class ScratchObject:
    """A flag or an experiment that this run created."""

    kind: str
    id: str
    key: str


@dataclass
class Scratch:
    """A session with the service, limited to one project and to the objects of this run.

    :param base_url: the address of the service, without ``/api/1``
    :param key: the management key
    :param project_id: the project in which the run creates its objects
    """

    base_url: str
    key: str = field(repr=False)
    project_id: str
    timeout: float = 30.0
    made: list[ScratchObject] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._run = secrets.token_hex(4)
        self._count = 0
        self._unconfirmed: list[tuple[str, str]] = []

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def get(self, path: str, *, bearer: str | None = None, **query: str) -> Response:
        """Read. ``path`` begins after ``/api/1``; ``bearer`` replaces the management key."""
        return self._send("GET", path, query=query, bearer=bearer)

    def new_key(self) -> str:
        """Return a key that no object has yet."""
        self._count += 1
        return f"{PREFIX}{self._run}-{self._count}"

    def post_object(self, kind: str, **fields: Any) -> Response:
        """Create a flag or an experiment in the scratch project."""
        body = {"projectId": self.project_id, "key": self.new_key(), **fields}
        if not str(body["key"]).startswith(PREFIX) or body["projectId"] != self.project_id:
            raise ForeignObjectError(f"expected a key that begins with {PREFIX!r}, in project {self.project_id}")
        try:
            response = self._send("POST", f"/{kind}", body=body)
        except requests.RequestException:
            self._unconfirmed.append((kind, str(body["key"])))
            raise
        if response.status < 300 and isinstance(response.json, dict) and response.json.get("id"):
            self.made.append(ScratchObject(kind, str(response.json["id"]), str(body["key"])))
        return response

    def create(self, kind: str, **fields: Any) -> ScratchObject:
        """Create a flag or an experiment, for a question that needs one.

        :raises LookupError: when the service does not create it
        """
        before = len(self.made)
        response = self.post_object(kind, **fields)
        if len(self.made) == before:
            raise LookupError(f"POST /{kind} answered {response.status} {response.text[:200]!r}")
        return self.made[-1]

    def write(self, method: str, thing: ScratchObject, path: str = "", body: object = None) -> Response:
        """Change an object of this run.

        :raises ForeignObjectError: for any other object; nothing is sent
        """
        if thing not in self.made:
            raise ForeignObjectError(f"{thing.kind} {thing.id} was not created by this run")
        return self._send(method, f"/{thing.kind}/{quote(thing.id, safe='')}{path}", body=body)

    def read(self, thing: ScratchObject, path: str = "") -> Response:
        """Read an object of this run."""
        return self.get(f"/{thing.kind}/{quote(thing.id, safe='')}{path}")

    def archive_all(self) -> list[ScratchObject]:
        """Archive what this run created. The API has no way to delete it.

        :returns: the objects that the service did not archive
        """
        for kind, key in self._unconfirmed:
            self.made += self._found(kind, key)
        self._unconfirmed.clear()
        return [made for made in self.made if not self._archive(made)]

    def _found(self, kind: str, key: str) -> list[ScratchObject]:
        """Find the objects with the key of a creation that had no response."""
        try:
            found = self.get(f"/{kind}", key=key, projectId=self.project_id, limit="1000").json
        except requests.RequestException:
            return []
        listed = found.get(kind) if isinstance(found, dict) else found
        objects = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        return [ScratchObject(kind, str(item["id"]), key) for item in objects if item.get("key") == key]

    def _archive(self, thing: ScratchObject) -> bool:
        try:
            return self.write("PATCH", thing, body={"archive": True}).status < 300
        except requests.RequestException:
            return False

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, str] | None = None,
        bearer: str | None = None,
    ) -> Response:
        sent = self._retried(
            lambda: self._session.request(
                method,
                f"{self.base_url.rstrip('/')}/api/1{path}",
                params=query,
                data=None if body is None else json.dumps(body),
                headers={
                    "Authorization": f"Bearer {self.key if bearer is None else bearer}",
                    "Content-Type": "application/json",
                },
                timeout=self.timeout,
                allow_redirects=False,
            )
        )
        try:
            parsed = sent.json()
        except ValueError:
            parsed = None
        return Response(sent.status_code, sent.text, sent.headers, parsed)

    def _retried(self, send: Callable[[], requests.Response]) -> requests.Response:
        """Send again after a 429: the service has not carried out such a request."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda sent: sent.status_code == TOO_MANY),
            wait=tenacity.wait_fixed(1) + tenacity.wait_random(0, 1),
            stop=tenacity.stop_after_delay(60),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        return retrying(send)
