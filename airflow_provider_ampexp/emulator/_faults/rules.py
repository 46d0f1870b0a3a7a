"""The faults that the emulator can inject."""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_ampexp.emulator._state.errors import bad_request, not_found

FaultKind = Literal[
    "status",
    "html",
    "cut_before",
    "cut_after",
    "cut_body",
    "slow",
    "slow_after",
    "redirect",
    "garbage",
    "wrong_date",
    "trickle",
    "oversized",
    "zip_bomb",
]


_WORKING = ("cut_after", "cut_body", "slow", "slow_after", "wrong_date", "trickle", "oversized", "zip_bomb")


class Fault(BaseModel):
    """A fault, as in ``POST /_emulator/faults``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: FaultKind
    route: str | None = None
    methods: list[str] | None = None
    skip: int = Field(default=0, ge=0)
    times: Annotated[int, Field(ge=1)] | None = 1
    rate: float = Field(default=1.0, ge=0, le=1)
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    body: Any = None
    headers: dict[str, str] = {}
    seconds: float = Field(default=1.0, ge=0, le=86400)
    offset: float = Field(default=604_800.0, ge=-1e10, le=1e10)
    megabytes: int = Field(default=100, ge=1, le=2_000)
    location: str = "/elsewhere"
    after_work: bool = False

    def does_work(self) -> bool:
        """Return true if the emulator carries out the request."""
        return self.after_work or self.kind in _WORKING


class ActiveFault:
    """An active fault, with the number of its applications."""

    def __init__(self, fault_id: str, fault: Fault) -> None:
        self.id = fault_id
        self.fault = fault
        self.passed = 0
        self.struck = 0

    def matches(self, method: str, route: str | None) -> bool:
        """Return true if the fault is for this request."""
        fault = self.fault
        if fault.methods is not None and method not in [name.upper() for name in fault.methods]:
            return False
        return fault.route is None or (route is not None and _shape(fault.route) == _shape(route))

    def view(self) -> dict[str, Any]:
        """Return the fault for ``GET /_emulator/faults``."""
        return {"id": self.id, **self.fault.model_dump(), "struck": self.struck}


class Faults:
    """The active faults in the order in which they were added."""

    def __init__(self) -> None:
        self._standing: dict[str, ActiveFault] = {}
        self._count = 0
        # With a seed, so that a rate applies to the same requests in each run.
        self._random = random.Random(20230729)

    def add(self, fault: Fault, known_routes: Collection[str]) -> str:
        """Add a fault and return its id. An unknown route is an error, because the fault would never apply."""
        if fault.route is not None and _shape(fault.route) not in {_shape(route) for route in known_routes}:
            raise bad_request(f"route: there is no route {fault.route!r}; write it as 'PATCH /api/1/flags/{{id}}'.")
        if fault.kind == "status" and fault.status is None:
            raise bad_request("status: required field is missing")
        self._count += 1
        standing = ActiveFault(str(self._count), fault)
        self._standing[standing.id] = standing
        return standing.id

    def strike(self, method: str, route: str | None) -> Fault | None:
        """Return the fault for a request: the first match that neither skips it nor is used up."""
        for standing in self._standing.values():
            fault = standing.fault
            if not standing.matches(method, route) or (fault.times is not None and standing.struck >= fault.times):
                continue
            standing.passed += 1
            if standing.passed <= fault.skip or (fault.rate < 1 and self._random.random() >= fault.rate):
                continue
            standing.struck += 1
            return fault
        return None

    def views(self) -> list[dict[str, Any]]:
        """Return all faults, also those that are used up."""
        return [standing.view() for standing in self._standing.values()]

    def remove(self, fault_id: str) -> None:
        """Remove a fault, or raise a 404."""
        if self._standing.pop(fault_id, None) is None:
            raise not_found(f"There is no fault {fault_id}.")

    def clear(self) -> None:
        """Remove all faults."""
        self._standing.clear()


def _shape(route: str) -> str:
    """Return a route without the names of its parameters: ``{variantKey}`` and ``{variant_key}`` are the same."""
    return re.sub(r"\{[^}]*\}", "{}", route)
