from __future__ import annotations

import json
import warnings

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401

CONNECTION = "amplitude_experiment_default"


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Airflow's tables, in the home that `tests/conftest.py` made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow's own, while it loads
        from airflow.utils import db

        db.initdb()


@pytest.fixture
def known_emulator(amplitude_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:  # noqa: F811
    """An emulator that Airflow knows by its default connection."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", amplitude_emulator.connection_json)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "password": "ampex_not_for_them"}))
    return amplitude_emulator
