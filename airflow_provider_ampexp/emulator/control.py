"""The control object: it controls a running emulator over HTTP, from any process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import requests

__all__ = ["Emulator"]


class Emulator:
    """Control the emulator at ``base_url``. Its calls do not count as requests to the API."""

    api_key = "ampex_demo"
    project_id = "100001"

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")

    def __repr__(self) -> str:
        return f"Emulator({self.base_url!r})"

    @property
    def connection_json(self) -> str:
        """An Airflow connection to the emulator, for ``AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT``."""
        extra = {"base_url": self.base_url, "project_id": self.project_id}
        return json.dumps({"conn_type": "amplitude_experiment", "password": self.api_key, "extra": extra})

    # -- the state ------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Restore the default objects, keys, faults, counts, clock and settings."""
        self._call("POST", "reset")

    def load(self, world: dict[str, Any]) -> dict[str, list[str]]:
        """Add a state, and return the ids of the loaded objects by section."""
        ids: dict[str, list[str]] = self._call("POST", "load", world)
        return ids

    def dump(self) -> dict[str, Any]:
        """Return the whole state, for ``load``."""
        world: dict[str, Any] = self._call("GET", "dump")
        return world

    def create_flag(self, key: str, **fields: Any) -> dict[str, Any]:
        """Create a flag as "Seed" and return it. ``fields`` have the API's spelling and are not validated."""
        return self.flag(self.load({"flags": [{"key": key, **fields}]})["flags"][0])

    def create_experiment(self, key: str, **fields: Any) -> dict[str, Any]:
        """Create an experiment as "Seed" and return it. ``fields`` have the API's spelling and are not validated."""
        return self.experiment(self.load({"experiments": [{"key": key, **fields}]})["experiments"][0])

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings, and return all settings."""
        settings: dict[str, Any] = self._call("POST", "settings", changes)
        return settings

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward."""
        self._call("POST", "clock", {"advance": seconds})

    def run_clock(self, speed: float) -> None:
        """Set the speed of the emulator's clock: at 86,400 a day takes a second."""
        self._call("POST", "clock", {"speed": speed})

    def percentages(self, kind: str, object_id: str) -> list[int]:
        """Return the percentages that users got, oldest first: 0 while disabled or archived."""
        told: list[int] = []
        for version in reversed(self.versions(kind, object_id)):
            config = version["flagConfig"]
            is_on = config.get("enabled") and not config.get("deleted")
            now = config.get("rolloutPercentage", 0) if is_on else 0
            if not told or told[-1] != now:
                told.append(now)
        return told

    # -- reading --------------------------------------------------------------------------------------------

    def flag(self, flag_id: str) -> dict[str, Any]:
        """Return the present flag."""
        flag: dict[str, Any] = self._call("GET", f"flags/{quote(str(flag_id), safe='')}")
        return flag

    def experiment(self, experiment_id: str) -> dict[str, Any]:
        """Return the present experiment."""
        experiment: dict[str, Any] = self._call("GET", f"experiments/{quote(str(experiment_id), safe='')}")
        return experiment

    def versions(self, kind: str, object_id: str) -> list[dict[str, Any]]:
        """Return all versions of a flag or an experiment, newest first. ``kind`` is "flags" or "experiments"."""
        versions: list[dict[str, Any]] = self._call("GET", f"{kind}/{quote(str(object_id), safe='')}/versions")
        return versions

    def inclusions(self, kind: str, object_id: str, variant: str) -> list[str]:
        """Return the inclusions of a variant in order."""
        path = f"{kind}/{quote(str(object_id), safe='')}/variants/{quote(variant, safe='')}/users"
        users: list[str] = self._call("GET", path)
        return users

    def evaluate(self, kind: str, object_id: str, **user: Any) -> str | None:
        """Return the variant that a user gets now, or None. Deployments do not matter.

        :param user: fields of the SDKs, such as ``user_id``, ``device_id`` and ``user_properties``
        """
        return self.evaluate_all(kind, object_id, [user])[0]

    def evaluate_all(self, kind: str, object_id: str, users: Iterable[Mapping[str, Any]]) -> list[str | None]:
        """Return the variant of each user, in order. A field ``gp:plan`` is the custom property ``plan``."""
        body = {"kind": kind, "id": str(object_id), "users": list(users)}
        return [decision["variant"] for decision in self._call("POST", "evaluate", body)]

    # -- people ---------------------------------------------------------------------------------------------

    def edit(self, kind: str, object_id: str, by: str = "Maria", **fields: Any) -> None:
        """Edit a flag or an experiment as a person in the web app."""
        self._call("POST", "edit", {"kind": kind, "id": str(object_id), "by": by, "fields": fields})

    def edit_before_write(self, kind: str, object_id: str, by: str = "Maria", **fields: Any) -> None:
        """Edit as a person when the next API write to that object arrives."""
        self._call("POST", "edit-before-write", {"kind": kind, "id": str(object_id), "by": by, "fields": fields})

    def hold(self, hold: str = "all") -> None:
        """Hold changes for approval: "all", "percentages", "segments" or "none"."""
        self._call("POST", "approvals", {"hold": hold})

    def pending(self) -> list[dict[str, Any]]:
        """Return the changes that wait for approval."""
        pending: list[dict[str, Any]] = self._call("GET", "approvals")
        return pending

    def approve(self, pending_id: str, by: str = "Olga") -> None:
        """Approve a change as a person. It is applied now, by that person."""
        self._call("POST", f"approvals/{pending_id}/approve", {"by": by})

    def reject(self, pending_id: str) -> None:
        """Reject a change as a person. It is dropped."""
        self._call("POST", f"approvals/{pending_id}/reject")

    # -- faults and requests --------------------------------------------------------------------------------

    def fault(self, kind: str, *, times: int | None = 1, **more: Any) -> str:
        """Inject a fault ``times`` times (None: no limit), and return its id."""
        return str(self._call("POST", "faults", {"kind": kind, "times": times, **more})["id"])

    def faults(self) -> list[dict[str, Any]]:
        """Return the active faults. ``struck`` is the number of applications of each."""
        faults: list[dict[str, Any]] = self._call("GET", "faults")
        return faults

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._call("DELETE", "faults")

    def requests(self) -> dict[str, Any]:
        """Return the numbers of requests: ``total``, ``by_route`` and ``by_status``."""
        counts: dict[str, Any] = self._call("GET", "requests")
        return counts

    def request_log(self) -> list[dict[str, Any]]:
        """Return the requests in order."""
        log: list[dict[str, Any]] = self._call("GET", "requests/log")
        return log

    def clear_requests(self) -> None:
        """Clear the requests."""
        self._call("DELETE", "requests")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        with requests.Session() as session:
            # Do not use a proxy of the environment for loopback.
            session.trust_env = False
            answer = session.request(method, f"{self.base_url}/_emulator/{path}", json=body, timeout=30)
        if not answer.ok:
            raise ValueError(f"The emulator refused {method} {path}: {answer.status_code} {answer.text}")
        return answer.json()
