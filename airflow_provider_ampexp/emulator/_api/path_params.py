"""Route by the raw path.

A variant key may contain ``/``, which is sent as ``%2F``. The ASGI path is decoded before routing, so the key would
become two segments. So the middleware routes on the raw path, and decodes each parameter later.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import Path
from fastapi.routing import APIRoute
from pydantic import AfterValidator

_Decoded = AfterValidator(unquote)

# The names are those of the contract. The routes in the request log and in faults have the same names.
ObjectId = Annotated[str, Path(alias="id"), _Decoded]
VariantKey = Annotated[str, Path(alias="variantKey"), _Decoded]
UserIndex = Annotated[str, Path(alias="userIndex"), _Decoded]
VersionId = Annotated[str, Path(alias="versionId"), _Decoded]
SlotIndex = Annotated[str, Path(alias="slotIndex"), _Decoded]
DeploymentId = Annotated[str, Path(alias="deploymentId"), _Decoded]


def route_on_raw_path(scope: MutableMapping[str, Any]) -> str:
    """Set the raw path as the path for routing, and return it."""
    raw = scope.get("raw_path")
    path = raw.decode("ascii", "replace") if raw else quote(scope["path"])
    scope["path"] = path
    return str(path)


class RouteNames:
    """Find the template of a path, such as ``/api/1/flags/{id}``, before routing, for faults."""

    def __init__(self, routes: Iterable[APIRoute]) -> None:
        self._templates: dict[tuple[str, int], list[str]] = {}
        self.all: list[str] = []
        for route in routes:
            for method in sorted(route.methods):
                self.all.append(f"{method} {route.path}")
                self._templates.setdefault((method, route.path.count("/")), []).append(route.path)

    def find(self, method: str, path: str) -> str | None:
        """Return the template of a path, or None if the API has no such route."""
        segments = path.split("/")
        for template in self._templates.get((method, path.count("/")), ()):
            if all(
                (asked and pattern.startswith("{")) or asked == pattern
                for pattern, asked in zip(template.split("/"), segments, strict=True)
            ):
                return template
        return None
