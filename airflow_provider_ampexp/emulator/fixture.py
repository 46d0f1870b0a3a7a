"""The pytest fixture ``amplitude_emulator``.

In a ``conftest.py``: ``from airflow_provider_ampexp.emulator.fixture import amplitude_emulator``
"""

from __future__ import annotations

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer

_SERVER = pytest.StashKey[EmulatorServer]()


@pytest.fixture
def amplitude_emulator(request: pytest.FixtureRequest) -> Emulator:
    """An emulator that is at its beginning. One server serves the whole session."""
    # Kept on the configuration and not in a second fixture, so that importing this one name is enough.
    config = request.config
    server = config.stash.get(_SERVER, None)
    if server is None:
        server = config.stash[_SERVER] = EmulatorServer().start()
        config.add_cleanup(server.stop)
    emulator = Emulator(server.base_url)
    emulator.reset()
    return emulator
