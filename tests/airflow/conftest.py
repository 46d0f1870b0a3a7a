from __future__ import annotations

import functools
import itertools
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity
from airflow_runs import Run
from ramps import Deaths, Soaks

from airflow_provider_ampexp.client import _transport as transport
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401
from airflow_provider_ampexp.operators._rollout import default_retries

_COUNT = itertools.count()


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Create Airflow's tables in the home of `tests/conftest.py`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings of Airflow's own import
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.sdk.execution_time import supervisor
        from airflow.utils import db

        if not hasattr(supervisor.in_process_api_server, "cache_info"):
            # Airflow 3.2 creates an API and a thread for each task, which takes a second. Airflow 3.3 reuses them.
            supervisor.in_process_api_server = functools.lru_cache(maxsize=1)(supervisor.in_process_api_server)
        db.initdb()
        DagBundlesManager().sync_bundles_to_db()
        supervisor.in_process_api_server()


@pytest.fixture
def soaks(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Soaks:
    return Soaks(emulator, monkeypatch)


@pytest.fixture
def deaths(soaks: Soaks, monkeypatch: pytest.MonkeyPatch) -> Deaths:
    return Deaths(soaks, monkeypatch)


@pytest.fixture(autouse=True)
def short_backoff() -> Iterator[None]:
    """Let the client wait only milliseconds between attempts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "_BACKOFF", tenacity.wait_random_exponential(multiplier=0.01, max=0.05))
        yield


@pytest.fixture(autouse=True)
def callbacks_see_the_exception() -> Iterator[None]:
    """Add the exception to the context of callbacks, as a worker does, because `dag.test` of Airflow 3.2 omits it."""
    from airflow.sdk.execution_time import task_runner

    finalize = task_runner.finalize

    def finalized(ti: Any, state: Any, context: Any, log: Any, error: BaseException | None = None) -> None:
        context.setdefault("exception", error)
        finalize(ti, state, context, log, error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_runner, "finalize", finalized)
        yield


@pytest.fixture(autouse=True)
def patient_calls_to_airflow() -> Iterator[None]:
    """Let a rollout wait longer than 2 s for a call to Airflow, which may be slow on a busy machine."""
    from airflow_provider_ampexp.operators import _airflow_call as airflow_call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(airflow_call, "LIMIT", 60.0)
        yield


@pytest.fixture(autouse=True)
def no_own_retries() -> Iterator[None]:
    """Set the default retries to 0, so that no test waits half a minute for a retry that it does not need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default_retries, "RETRIES", 0)
        yield


@pytest.fixture
def emulator(amplitude_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:  # noqa: F811
    """Return an emulator, and define the default connection to it."""
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT", amplitude_emulator.connection_json)
    return amplitude_emulator


@pytest.fixture
def impatient(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Return an emulator with a connection that waits at most one second for a response and does not retry."""
    connection = json.loads(emulator.connection_json)
    connection["extra"] |= {"timeout": 1, "retry_for": 0}
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT", json.dumps(connection))
    return emulator


@pytest.fixture
def dag_id() -> str:
    return f"dag_{next(_COUNT)}"


@pytest.fixture
def run(airflow_database: None) -> Any:
    """Return the class that runs a DAG."""
    return Run


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch, airflow_database: None) -> Callable[[str], list[Any]]:
    """Let a person answer each request with an option at once, and return the first request.

    The process of `dag.test` cannot use Airflow's API for answers, so this fixture reads and writes the database.
    """
    from airflow.models.hitl import HITLDetail
    from airflow.sdk.execution_time import hitl
    from airflow.sdk.timezone import utcnow
    from airflow.utils.session import create_session

    asked: list[Any] = []
    options: list[str] = []

    def look(ti_id: Any) -> Any:
        with create_session() as session:
            row = session.get(HITLDetail, ti_id)
            assert row is not None
            if not asked:
                asked.append({"subject": row.subject, "body": row.body, "users": row.assigned_users})
            if options:
                row.responded_at, row.chosen_options = utcnow(), options
                row.responded_by, row.params_input = {"id": "eve", "name": "eve"}, {}
            user = SimpleNamespace(**row.responded_by) if row.responded_by else None
            return SimpleNamespace(
                response_received=row.responded_at is not None,
                chosen_options=row.chosen_options,
                responded_by_user=user,
                responded_at=row.responded_at,
            )

    def answer(option: str) -> list[Any]:
        options.append(option)
        return asked

    monkeypatch.setattr(hitl, "get_hitl_detail_content_detail", look)
    return answer


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Create a warehouse with 500 users, and return them: 1 of 50 is enterprise, 1 of 5 pro."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    made = [
        {
            "amplitude_id": str(number),
            "user_id": f"user-{number}",
            "tier": "enterprise" if number % 50 == 0 else "pro" if number % 5 == 0 else "free",
            "account": f"Account {number // 100}",
            "revenue": number,
        }
        for number in range(500)
    ]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table users (amplitude_id text, user_id text, tier text, account text, revenue real)")
        database.executemany("insert into users values (:amplitude_id, :user_id, :tier, :account, :revenue)", made)
    database.close()
    return made
