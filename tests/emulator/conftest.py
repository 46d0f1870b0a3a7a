"""A plain HTTP caller of the emulator: no client of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator

__all__ = ["amplitude_emulator"]


class Api:
    """Sends requests to ``/api/1`` with a key."""

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
        """The JSON of an answer that must be 200; the text of a plain one."""
        answer = self(method, path, **more)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    def refused(self, status: int, method: str, path: str, **more: Any) -> str:
        """The reason of an answer that must have this status."""
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
    """The id of the default world's client deployment."""
    found = {item["label"]: item["id"] for item in api.ok("GET", "/deployments")["deployments"]}
    return str(found["acme-app-client"])


@pytest.fixture(params=["flags", "experiments"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def made(api: Api, kind: str) -> str:
    """The path of a fresh flag or experiment with the variants ``control`` and ``treatment``."""
    body = {"projectId": "100001", "key": "made", "variants": [{"key": "control"}, {"key": "treatment"}]}
    return f"/{kind}/{api.ok('POST', f'/{kind}', json=body)['id']}"
