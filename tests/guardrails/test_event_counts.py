"""The example that counts Amplitude's events by variant, as its page shows it, over real HTTP."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from moments import moment

from airflow_provider_ampexp.guardrails import CheckContext, Guardrail, run_checks

PAGE = Path(__file__).parents[2] / "docs" / "safe-to-continue.md"
VARIANTS = ("control", "treatment")
KEYS = "the-api-key:the-secret-key"


@dataclass
class Analytics:
    """Event segmentation of the Dashboard REST API: the counted events by event and variant, on each of two days."""

    url: str = ""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, query: dict[str, str]) -> dict[str, Any]:
        event, [users] = json.loads(query["e"])["event_type"], json.loads(query["s"])
        assert (users["op"], query["m"]) == ("is", "totals")
        self.asked.append({"event": event, **users, "start": query["start"], "end": query["end"]})
        count = self.counts[event, users["values"][0]]
        return {"data": {"series": [[count - 100, 100]], "xValues": ["2026-03-01", "2026-03-02"]}}


@pytest.fixture
def analytics(monkeypatch: pytest.MonkeyPatch) -> Iterator[Analytics]:
    service = Analytics()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            where = urlsplit(self.path)
            known = self.headers["Authorization"] == "Basic " + base64.b64encode(KEYS.encode()).decode()
            self.send_response(200 if known and where.path == "/api/2/events/segmentation" else 401)
            self.end_headers()
            if known:
                query = {name: values[0] for name, values in parse_qs(where.query).items()}
                self.wfile.write(json.dumps(service.answer(query)).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_port}"
        connect(monkeypatch, service, KEYS)
        yield service
        server.shutdown()
        thread.join()


def connect(monkeypatch: pytest.MonkeyPatch, service: Analytics, keys: str) -> None:
    login, _, password = keys.partition(":")
    connection = {"conn_type": "http", "host": service.url, "login": login, "password": password}
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_ANALYTICS", json.dumps(connection))


def guardrail() -> Guardrail:
    [source] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(source, PAGE.name, "exec"), names)
    found = names["guardrail"]
    assert isinstance(found, Guardrail)
    return found


def a_day_later() -> CheckContext:
    return moment(25)


@pytest.mark.parametrize(
    ("started", "failed", "verdict"),
    [
        ((1000, 1000), (100, 110), "pass"),
        ((1000, 1000), (100, 111), "fail"),
        ((1000, 2000), (100, 200), "pass"),
        ((499, 1000), (0, 1000), "inconclusive"),
        ((1000, 499), (0, 499), "inconclusive"),
    ],
)
def test_the_verdict(analytics: Analytics, started: tuple[int, int], failed: tuple[int, int], verdict: str) -> None:
    for event, numbers in (("Checkout Started", started), ("Checkout Failed", failed)):
        analytics.counts |= {(event, variant): n for variant, n in zip(VARIANTS, numbers, strict=True)}
    result = guardrail().check(a_day_later())
    assert result.verdict == verdict, result.why


def test_it_asks_for_the_users_of_each_variant_from_the_day_of_the_stage(analytics: Analytics) -> None:
    analytics.counts = {(f"Checkout {what}", variant): 600 for what in ("Started", "Failed") for variant in VARIANTS}
    at = a_day_later()
    guardrail().check(at)
    assert [(request["event"], request["values"]) for request in analytics.asked] == [
        (f"Checkout {what}", [variant]) for what in ("Started", "Failed") for variant in VARIANTS
    ]
    day = at.stage_started_at
    expected = {(f"gp:[Experiment] {at.flag_key}", f"{day:%Y%m%d}", f"{day + timedelta(days=1):%Y%m%d}")}
    assert {(request["prop"], request["start"], request["end"]) for request in analytics.asked} == expected


def test_a_refused_key_is_an_error_and_no_verdict(analytics: Analytics, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, analytics, "wrong:wrong")
    [(_, result)] = run_checks([guardrail()], a_day_later())
    assert result.verdict == "error"
    assert "401" in result.why
