"""A real Airflow and an emulator with a thousand flags and three rollouts, for tests with a real browser."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from tools.scratch import airflow, environment, migrate

DAGS = Path(__file__).parent / "dags"
CONNECTION = "amplitude_experiment_default"
PASSWORD = secrets.token_hex(8)
EVIL = "<script>alert(1)</script>"
FLAGS = 1000
_LOOKS = 400  # polls, one every 0.3 s, before a wait for Airflow fails
_HOUR = 3600


class Airflow:
    """Airflow's parts, and requests to them."""

    def __init__(self, address: str, home: Path) -> None:
        self.address = address
        self.home = home
        self._http = requests.Session()
        self._http.trust_env = False

    def token(self, user: str) -> str:
        answer = self._http.post(
            f"{self.address}/auth/token", json={"username": user, "password": PASSWORD}, timeout=30
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(
            method,
            self.address + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token('admin')}"},
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def is_healthy(self) -> bool:
        with suppress(requests.RequestException, ValueError, KeyError):
            health = self._http.get(f"{self.address}/api/v2/monitor/health", timeout=5).json()
            return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))
        return False


@contextmanager
def airflow_beside(emulator: Emulator, home: Path) -> Iterator[Airflow]:
    """Run Airflow's parts on loopback. At the end, stop all their processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    (home / "passwords.json").write_text(json.dumps({"admin": PASSWORD, "viewer": PASSWORD}))
    env = environment(home, emulator.connection_json, DAGS) | {
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    }
    migrate(env)
    parts = {
        "api-server": ("--host", "127.0.0.1", "--port", str(port)),
        "scheduler": ("--skip-serve-logs",),
        "dag-processor": (),
        "triggerer": ("--skip-serve-logs",),
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for part, arguments in parts.items():
            with (home / f"{part}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(airflow(part, *arguments), env=env, stdout=log, stderr=log, start_new_session=True)
                )
        started = Airflow(address, home)
        wait_until(started.is_healthy, "Airflow is healthy")
        yield started
    finally:
        everything = [process for part in running for process in _family(part.pid)]
        for process in running:
            process.terminate()
        _, left = psutil.wait_procs(everything, timeout=10)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for process in running:
            process.wait()


def _family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Poll until a condition is true. Polls are counted, not seconds, because a machine may be slow or may sleep."""
    for _ in range(_LOOKS):
        if is_so():
            return
        time.sleep(0.3)
    raise TimeoutError(f"After {_LOOKS} looks, this is still not true: {what}")


@contextmanager
def emulator_with_a_thousand_flags() -> Iterator[Emulator]:
    """Run an emulator with a thousand flags. Three of them are ready for a release."""
    with EmulatorServer() as server:
        emulator = Emulator(server.base_url)
        emulator.settings(rate_per_second=None)
        names = ("search", "checkout", "profile", "billing", "inbox", "editor", "feed", "export")
        flags: list[dict[str, Any]] = [
            {
                "key": f"{names[number % len(names)]}-{number:04}",
                "name": f"{names[number % len(names)].title()} {number}",
                "enabled": number % 3 != 0,
                "rolloutPercentage": (number * 7) % 101,
                "variants": [{"key": "on"}],
                "tags": ["web"] if number % 2 else [],
            }
            for number in range(FLAGS - 4)
        ]
        flags[5]["targetSegments"] = [
            {"name": "Beta testers", "conditions": [], "percentage": 80, "rolloutWeights": {"on": 1}},
            {"name": "Staff", "conditions": [], "percentage": 100, "rolloutWeights": {"on": 1}},
        ]
        flags.append(
            {"key": EVIL, "name": f"<img src=x onerror=alert(2)>{EVIL}", "description": f"{EVIL} {'long ' * 2000}"}
        )
        emulator.load({"flags": flags})
        tester: dict[str, Any] = {"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}
        beta = {"name": "Beta testers", "conditions": [tester], "percentage": 100, "rolloutWeights": {"on": 1}}
        for key in ("instant-search", "new-checkout", "quick-filters"):
            name = key.replace("-", " ").capitalize()
            emulator.create_flag(
                key,
                name=name,
                description=f"{name}: told by the team that builds it, released by Airflow.",
                variants=[{"key": "on", "name": "On"}],
                rolloutWeights={"on": 1},
                targetSegments=[beta] if key == "new-checkout" else [],
                # A rollout is refused if enabling the flag would let the beta testers in.
                enabled=key == "new-checkout",
                rolloutPercentage=0,
                inclusions={"on": ["ana@example.com", "bob@example.com", "cleo@example.com"]},
                createdBy="Maria",
            )
        emulator.create_experiment(
            "onboarding-tour",
            name="Onboarding tour",
            enabled=True,
            rolloutPercentage=50,
            state="running",
            variants=[{"key": "control"}, {"key": "treatment"}],
            rolloutWeights={"control": 1, "treatment": 1},
            createdBy="Olga",
        )
        yield emulator


def flag_of(emulator: Emulator, key: str) -> dict[str, Any]:
    return next(stored for stored in emulator.dump()["flags"] if stored["key"] == key)


def release(airflow_: Airflow, emulator: Emulator) -> dict[str, str]:
    """Start the rollouts, advance Amplitude's clock by a day and a half, and return the flags' ids by their keys.

    `new-checkout` reaches its third stage, `instant-search` fails there, and `quick-filters` waits for an approval.
    """
    keys = ("new-checkout", "instant-search")
    group = "release_quick_filters"
    ids = {key: str(flag_of(emulator, key)["id"]) for key in keys}
    dags = {key: f"release_{key.replace('-', '_')}" for key in keys}
    wait_until(
        lambda: {dag["dag_id"] for dag in airflow_.call("GET", "/api/v2/dags")["dags"]} >= {*dags.values(), group},
        "the DAGs are there",
    )
    emulator.edit("flags", ids["instant-search"], by="Maria", description="Searches as you type.")
    for dag in dags.values():
        airflow_.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})

    def stand(percentage: int) -> None:
        def so() -> bool:
            return all(
                any(
                    version["flagConfig"]["rolloutPercentage"] == percentage
                    for version in emulator.versions("flags", id)
                )
                for id in ids.values()
            )

        wait_until(so, f"both were at {percentage} %")

    def waits(key: str) -> None:
        def so() -> bool:
            runs = airflow_.call("GET", f"/api/v2/dags/{dags[key]}/dagRuns/~/taskInstances")["task_instances"]
            return all(run["state"] == "deferred" for run in runs)

        wait_until(so, f"{key} waits")
        # Airflow fails a task that resumes before the scheduler knows that the process before has ended.
        time.sleep(4)

    stand(1)
    for percentage in (5, 25):
        for _ in range(3):
            for key in keys:
                waits(key)
            emulator.advance(4 * _HOUR + 60)
            time.sleep(2.5)  # a poll of the trigger, so that the task continues
        stand(percentage)
    if flag_of(emulator, "instant-search")["enabled"]:
        waits("instant-search")
    waits("new-checkout")
    emulator.advance(4 * _HOUR + 60)
    wait_until(lambda: flag_of(emulator, "instant-search")["rolloutPercentage"] == 0, "instant-search is taken back")
    time.sleep(2.5)
    waits("new-checkout")
    airflow_.call("POST", f"/api/v2/dags/{group}/dagRuns", {"logical_date": None})
    wait_until(lambda: flag_of(emulator, "quick-filters")["rolloutPercentage"] == 1, "quick-filters is at 1 %")
    wait_until(lambda: asked_for_approval(airflow_, group), "its approval is asked for")
    emulator.advance(1.5 * _HOUR)
    emulator.edit("flags", ids["new-checkout"], by="Maria", description="New checkout, in three steps instead of five.")
    return ids


def asked_for_approval(airflow_: Airflow, dag: str) -> bool:
    """Return true if a request under *Required Actions* has no answer."""
    details = airflow_.call("GET", f"/api/v2/dags/{dag}/dagRuns/~/hitlDetails?response_received=false")
    return bool(details["total_entries"])
