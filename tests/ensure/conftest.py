from __future__ import annotations

from collections.abc import Iterator

import pytest
import tenacity

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client import _transport as transport
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401

from .world import a_client, seed


@pytest.fixture(scope="package", autouse=True)
def short_backoff() -> Iterator[None]:
    """Let the client wait only milliseconds between attempts. The wait of ``ensure`` for late work stays the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "_BACKOFF", tenacity.wait_random_exponential(multiplier=0.01, max=0.05))
        yield


@pytest.fixture
def emulator(amplitude_emulator: Emulator) -> Emulator:  # noqa: F811
    """Return an emulator with the flag and the experiment of ``world.py``, before any request."""
    seed(amplitude_emulator)
    return amplitude_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[ManagementClient]:
    """Return a client with a long timeout, so that the number of its requests is the same on a busy machine."""
    with a_client(emulator, timeout=5, retry_for=10) as made:
        yield made


@pytest.fixture
def hasty(emulator: Emulator) -> Iterator[ManagementClient]:
    """Return a client with a short timeout, for tests that wait in vain, such as for a change that needs approval."""
    with a_client(emulator, timeout=0.15) as made:
        yield made
