"""A pytest plugin with the fixture ``amplitude_emulator``.

In a ``conftest.py``: ``pytest_plugins = ["airflow_provider_ampexp.emulator.pytest_plugin"]``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_ampexp.emulator.control import Emulator
    from airflow_provider_ampexp.emulator.server import EmulatorServer

# The server loads with the first test that wants it: other tests of the session do not pay for it.
_SERVER: pytest.StashKey[EmulatorServer] = pytest.StashKey()


@pytest.fixture
def amplitude_emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulator that is at its beginning, and Airflow's default connection to it in the environment.

    One server serves the whole session.
    """
    from airflow_provider_ampexp.emulator.control import Emulator
    from airflow_provider_ampexp.emulator.server import EmulatorServer

    # Kept on the configuration and not in a second fixture, so that importing this one name is enough.
    config = request.config
    server = config.stash.get(_SERVER, None)
    if server is None:
        server = config.stash[_SERVER] = EmulatorServer().start()
        config.add_cleanup(server.stop)
    emulator = Emulator(server.base_url)
    emulator.reset()
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT", emulator.connection_json)
    return emulator
