"""A pytest plugin with the fixture ``amplitude_emulator``.

In a ``conftest.py``: ``pytest_plugins = ["airflow_provider_ampexp.emulator.pytest_plugin"]``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_ampexp.emulator.control import Emulator
    from airflow_provider_ampexp.emulator.server import EmulatorServer

__all__ = ["amplitude_emulator"]

# The server starts with the first test that uses it, so other tests take no additional time.
_SERVER: pytest.StashKey[EmulatorServer] = pytest.StashKey()


@pytest.fixture
def amplitude_emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulator in its default state, with Airflow's default connection to it in the environment.

    One server runs for the whole session.
    """
    from airflow_provider_ampexp.emulator.control import Emulator
    from airflow_provider_ampexp.emulator.server import EmulatorServer

    # Stored on the configuration and not in a second fixture, so that an import of this name is enough.
    config = request.config
    server = config.stash.get(_SERVER, None)
    if server is None:
        server = config.stash[_SERVER] = EmulatorServer().start()
        config.add_cleanup(server.stop)
    emulator = Emulator(server.base_url)
    emulator.reset()
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT", emulator.connection_json)
    return emulator
