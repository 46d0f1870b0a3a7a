from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401
from airflow_provider_ampexp.emulator.server import listen
from airflow_provider_ampexp.ui._amplitude_reader import AmplitudeReader
from tests.page.served import CONNECTION, Clock, Page, Rollouts, login


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Create Airflow's tables in the home of `tests/conftest.py`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings of Airflow's own import
        from airflow.utils import db

        db.initdb()


@pytest.fixture
def empty_airflow(airflow_database: None) -> Iterator[None]:
    """Remove all DAGs, runs, tasks and XComs before and after a test, because tests of real tasks use this database."""
    _empty()
    yield
    _empty()


@pytest.fixture
def known_emulator(amplitude_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:  # noqa: F811
    """Return an emulator, and define Airflow's default connection to it."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", amplitude_emulator.connection_json)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "password": "ampex_not_for_them"}))
    return amplitude_emulator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def page(empty_airflow: None, known_emulator: Emulator, clock: Clock) -> Iterator[Page]:
    """Run the page, without a certain user."""
    from airflow.api_fastapi.app import init_auth_manager

    from airflow_provider_ampexp.ui._api import make_app
    from airflow_provider_ampexp.ui._connections import fields_of

    init_auth_manager()
    app = make_app(AmplitudeReader(fields_of, clock=clock))
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Page(app, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def ask(page: Page) -> Callable[..., Any]:
    """Return a function that sends a request as an administrator."""
    headers = login("admin")

    def asked(path: str, status: int = 200) -> Any:
        answer = page.get(path, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    return asked


@pytest.fixture
def rollouts(empty_airflow: None) -> Rollouts:
    """Return the rollouts of this Airflow."""
    return Rollouts()


def _empty() -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        for model in (XComModel, TaskInstance, DagRun, DagModel):
            session.query(model).delete()
