from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import tenacity

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401

from .bare_server import BareServer
from .calls import World


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the waits of the client between attempts. No test waits: the clock advances by the time of each wait."""
    waited: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(waited), sleep=waited.append)
    monkeypatch.setattr(tenacity, "time", clock)
    monkeypatch.setattr(tenacity.nap, "time", clock)
    return waited


class KeptEmulator(Emulator):
    """The control of an emulator over one kept connection, because these tests use it thousands of times."""

    session = requests.Session()
    session.trust_env = False

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(method, f"{self.base_url}/_emulator/{path}", json=body, timeout=30)
        if not answer.ok:
            raise ValueError(f"The emulator refused {method} {path}: {answer.status_code} {answer.text}")
        return answer.json()


@pytest.fixture(scope="session", autouse=True)
def _kept_connection() -> Iterator[None]:
    with KeptEmulator.session:
        yield


@pytest.fixture
def emulator(amplitude_emulator: Emulator) -> Emulator:  # noqa: F811
    return KeptEmulator(amplitude_emulator.base_url)


@pytest.fixture
def client(emulator: Emulator) -> Iterator[ManagementClient]:
    with ManagementClient(emulator.api_key, base_url=emulator.base_url, timeout=0.4, retry_for=60) as made:
        yield made


@pytest.fixture
def bare() -> Iterator[BareServer]:
    with BareServer() as server:
        yield server


@pytest.fixture
def to_bare(bare: BareServer) -> Iterator[ManagementClient]:
    with ManagementClient("ampex_bare", base_url=bare.base_url, timeout=0.4, retry_for=60) as made:
        yield made


@pytest.fixture
def world(emulator: Emulator) -> Callable[[str], World]:
    return lambda kind: World.made(emulator, kind)
