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
    """Between attempts the client waits milliseconds. The patience of ``ensure`` with late work stays what it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "_BACKOFF", tenacity.wait_random_exponential(multiplier=0.01, max=0.05))
        yield


@pytest.fixture
def emulator(amplitude_emulator: Emulator) -> Emulator:  # noqa: F811
    """An emulator in which the standing flag and experiment are, and no request was made yet."""
    seed(amplitude_emulator)
    return amplitude_emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[ManagementClient]:
    """Patient, so that its requests can be counted on a busy machine, too."""
    with a_client(emulator, timeout=5, retry_for=10) as made:
        yield made


@pytest.fixture
def hasty(emulator: Emulator) -> Iterator[ManagementClient]:
    """For what is waited for in vain, such as a change that is held for approval."""
    with a_client(emulator, timeout=0.15) as made:
        yield made
