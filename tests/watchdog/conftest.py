from __future__ import annotations

from collections.abc import Iterator

import pytest
import tenacity

from airflow_provider_ampexp.client import _transport as transport
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401
from airflow_provider_ampexp.watchdog import _cli as cli
from tests.watchdog.rollouts import add_key


@pytest.fixture(autouse=True)
def short_backoff() -> Iterator[None]:
    """Let the client wait only milliseconds between attempts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "_BACKOFF", tenacity.wait_random_exponential(multiplier=0.01, max=0.05))
        yield


@pytest.fixture
def emulator(amplitude_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:  # noqa: F811
    """Return an emulator with a separate key for the watchdog, which is in the environment."""
    monkeypatch.setenv(cli.KEY, add_key(amplitude_emulator))
    return amplitude_emulator
