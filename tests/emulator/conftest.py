"""A plain HTTP caller of the emulator, without the provider's client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator

__all__ = ["amplitude_emulator"]


class Api:
    """Send requests to ``/api/1`` with a key."""

    def __init__(self, base_url: str, key: str | None) -> None:
        self.base = f"{base_url}/api/1"
        self.session = requests.Session()
        self.session.trust_env = False
        if key is not None:
            self.session.headers["Authorization"] = f"Bearer {key}"

    def __call__(self, method: str, path: str, **more: Any) -> requests.Response:
        more.setdefault("timeout", 10)
        more.setdefault("allow_redirects", False)
        return self.session.request(method, self.base + path, **more)

    def ok(self, method: str, path: str, **more: Any) -> Any:
        """Return the JSON or the text of a response, which must be a 200."""
        answer = self(method, path, **more)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    def refused(self, status: int, method: str, path: str, **more: Any) -> str:
        """Return the reason in a response, which must have this status."""
        answer = self(method, path, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        assert list(answer.json()) == ["error"]
        return str(answer.json()["error"])


@pytest.fixture
def emulator(amplitude_emulator: Emulator) -> Emulator:
    return amplitude_emulator


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Api]:
    caller = Api(emulator.base_url, emulator.api_key)
    with caller.session:
        yield caller


@pytest.fixture
def deployment(api: Api) -> str:
    """Return the id of the default state's client deployment."""
    found = {item["label"]: item["id"] for item in api.ok("GET", "/deployments")["deployments"]}
    return str(found["acme-app-client"])


@pytest.fixture(params=["flags", "experiments"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def made(api: Api, kind: str) -> str:
    """Create a flag or an experiment with the variants ``control`` and ``treatment``, and return its path."""
    body = {"projectId": "100001", "key": "made", "variants": [{"key": "control"}, {"key": "treatment"}]}
    return f"/{kind}/{api.ok('POST', f'/{kind}', json=body)['id']}"
