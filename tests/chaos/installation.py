"""The set-up of the Airflow: its parts, and settings with which it notices a death within seconds."""

from __future__ import annotations

import secrets
from pathlib import Path

import requests

from tests.chaos import secrets_backend, signals, witness
from tests.chaos.services import Postgres, Redis, free_port
from tools.scratch import ROOT, environment

CONNECTION_EXTRAS = {"timeout": 4, "retry_for": 20}
DAGS = Path(__file__).resolve().parent / "dags"

_VAULT = "tests.chaos.secrets_backend.ChaosSecretsBackend"
# Airflow's defaults are in brackets. docs/chaos.md explains the effect of the difference.
_QUICK = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",  # (300)
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",  # (10)
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",  # (300)
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",  # (30)
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",  # (5)
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",  # (5)
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",  # (600)
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",  # (120)
    "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "100",  # (2)
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",  # (30)
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",  # (5)
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",  # (5)
}


class Installation:
    """One Airflow on PostgreSQL, with ``LocalExecutor`` or, given a Redis, ``CeleryExecutor`` and two workers."""

    def __init__(self, home: Path, connection_json: str, postgres: Postgres, redis: Redis | None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        database = postgres.url("airflow").replace("postgresql://", "postgresql+psycopg2://")
        self.witnessed = home.with_name("witness.jsonl")
        self.signals = signals.Signals(home.with_name("signals"))
        self.env = {
            **environment(home, connection_json, DAGS),
            **_QUICK,
            "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS.with_name("plugins")),
            witness.FILE: str(self.witnessed),
            signals.FOLDER: str(self.signals.folder),
            secrets_backend.CONNECTION: connection_json,
            "AIRFLOW__SECRETS__BACKEND": _VAULT,
            "AIRFLOW__WORKERS__SECRETS_BACKEND": _VAULT,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor" if redis else "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "10",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "100",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        }
        self.parts = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
            "dag-processor": ["dag-processor"],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "triggerer": ["triggerer", "--skip-serve-logs"],
        }
        if redis is not None:
            self.env |= {
                "AIRFLOW__CELERY__BROKER_URL": redis.url,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
                "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
                # The seconds until Redis gives the message of a dead worker to another worker.
                "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "30",
            }
            worker = ["celery", "worker", "--skip-serve-logs", "--concurrency", "4", "--celery-hostname"]
            self.parts |= {"worker-1": [*worker, "one@%h"], "worker-2": [*worker, "two@%h"]}

    def is_healthy(self) -> bool:
        """Return true if the web server and the scheduler are healthy."""
        try:
            told = self._session().get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        return all((told.get(part) or {}).get("status") == "healthy" for part in ("scheduler", "triggerer"))

    def knows(self, dag_ids: list[str]) -> bool:
        """Return true if these DAGs can run."""
        told = self._session().get(f"{self.url}/api/v2/dags", params={"limit": 100}, timeout=10).json()
        return set(dag_ids) <= {dag["dag_id"] for dag in told.get("dags", [])}

    def trigger(self, dag_id: str, run_id: str, flag_key: str) -> bool:
        """Start a run, and return true if the run exists, also if it existed before."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {"flag_key": flag_key}}
        try:
            answer = self._session().post(f"{self.url}/api/v2/dags/{dag_id}/dagRuns", json=body, timeout=10)
        except requests.RequestException:
            return False
        return answer.ok or answer.status_code == 409

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        if not hasattr(self, "_token"):
            told = session.get(f"{self.url}/auth/token", timeout=5).json()
            self._token: str = told["access_token"]
        session.headers["Authorization"] = f"Bearer {self._token}"
        return session
