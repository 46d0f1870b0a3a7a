"""The routes of the page: who may see them, what they say, and what they cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import listen
from airflow_provider_ampexp.rollouts_page.reading import KEPT_FOR, AmplitudeReader

CONNECTION = "amplitude_experiment_default"
FLAGS = f"/connections/{CONNECTION}/flags"
EVIL = "<script>alert(1)</script>"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Page:
    """The page over real HTTP."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self.app = app
        self._address = address

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self._address + path, headers=headers, timeout=30)

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        return self.request("GET", path, headers)


@pytest.fixture
def page(airflow_database: None, known_emulator: Emulator, clock: Clock) -> Iterator[Page]:
    """The page, asked by nobody in particular."""
    from airflow.api_fastapi.app import init_auth_manager

    from airflow_provider_ampexp.rollouts_page.app import make_app
    from airflow_provider_ampexp.rollouts_page.connections import fields_of

    init_auth_manager()
    app = make_app(AmplitudeReader(fields_of, clock=clock))
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Page(app, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def login(role: str) -> dict[str, str]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role))
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def ask(page: Page) -> Callable[..., Any]:
    """What an administrator is answered."""
    headers = login("admin")

    def asked(path: str, status: int = 200) -> Any:
        answer = page.get(path, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json()

    return asked


def every_path(page: Page) -> list[tuple[str, str]]:
    """Each method and path of the app, with something in the places of the path."""
    routes = page.app.routes
    # What is no such route (a mount, a file server, documentation) would not be asked for the right.
    assert all(isinstance(route, APIRoute) for route in routes), routes
    parts = {"connection_id": CONNECTION, "kind": "flags", "flag_id": "1", "name": "page.js"}
    query = "?before=1&after=2"
    return [(method, route.path.format(**parts) + query) for route in routes for method in route.methods]


def test_every_route_wants_a_login_and_the_right_to_read_connections(page: Page, known_emulator: Emulator) -> None:
    paths = every_path(page)
    assert len(paths) >= 7
    viewer, broken = login("viewer"), {"Authorization": "Bearer none"}
    for method, path in paths:
        assert page.request(method, path).status_code == 401, path
        assert page.request(method, path, headers=viewer).status_code == 403, path
        assert page.request(method, path, headers=broken).status_code == 403, path
    assert known_emulator.requests()["total"] == 0


def test_it_only_reads(page: Page, ask: Callable[..., Any], known_emulator: Emulator) -> None:
    assert {method for method, _ in every_path(page)} == {"GET"}
    flag = known_emulator.create_flag("new-checkout", variants=[{"key": "on"}], inclusions={"on": ["ana", "bob"]})
    of_flag = f"{FLAGS}/{flag['id']}"
    before = known_emulator.versions("flags", flag["id"])
    ask(FLAGS)
    ask(of_flag)
    assert ask(f"{of_flag}/inclusions")["inclusions"] == {"on": 2}
    assert {one["method"] for one in known_emulator.request_log()} == {"GET"}
    assert known_emulator.versions("flags", flag["id"]) == before


def test_neither_documentation_nor_schema_is_there(page: Page) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert page.get(path, headers=login("admin")).status_code == 404


def test_only_connections_of_the_type_are_known(ask: Callable[..., Any]) -> None:
    assert ask("/connections")["connections"] == [CONNECTION]
    # The password of a warehouse must never be sent to Amplitude.
    assert "warehouse" in ask("/connections/warehouse/flags", 404)["detail"]
    assert "nowhere" in ask("/connections/nowhere/flags", 404)["detail"]


def test_a_connection_of_the_database_is_known(ask: Callable[..., Any], known_emulator: Emulator) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="acme_eu", conn_type="amplitude_experiment", password="ampex_demo"))
    try:
        assert ask("/connections")["connections"] == ["acme_eu", CONNECTION]
    finally:
        with create_session() as session:
            session.query(Connection).where(Connection.conn_id == "acme_eu").delete()


def test_the_list_shows_flags_and_experiments(ask: Callable[..., Any], known_emulator: Emulator) -> None:
    beta = {"name": "Beta", "conditions": [], "percentage": 80, "rolloutWeights": {}}
    # An id that no test under a rollout has: they share Airflow's database.
    known_emulator.create_flag(
        "under-no-rollout", id="987654", enabled=True, rolloutPercentage=5, targetSegments=[beta]
    )
    known_emulator.create_experiment("tour", createdBy="Olga")
    told = ask(FLAGS)
    found = {one["key"]: one for one in told["flags"]}
    assert set(found) == {"under-no-rollout", "tour"}
    flag = found["under-no-rollout"]
    assert (flag["kind"], flag["enabled"], flag["percentage"]) == ("flags", True, 5)
    assert flag["segments"] == [{"name": "Beta", "percentage": 80}]
    assert flag["rollout"] is None
    assert (found["tour"]["kind"], found["tour"]["changed_by"]) == ("experiments", "Olga")


def test_what_a_flag_says_does_no_harm(page: Page, ask: Callable[..., Any], known_emulator: Emulator) -> None:
    flag = known_emulator.create_flag(EVIL, name=EVIL, description=f"{EVIL}{'x' * 10_000}", tags=[EVIL])
    answer = page.get(f"{FLAGS}/{flag['id']}", headers=login("admin"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert answer.json()["key"] == EVIL
    assert len(answer.json()["description"]) < 2_100
    assert len(page.get(FLAGS, headers=login("admin")).content) < 2_000  # the list leaves descriptions out


def test_the_key_stays_on_the_server(page: Page, known_emulator: Emulator) -> None:
    flag = known_emulator.create_flag("new-checkout")
    known_emulator.fault("status", status=500, body="ampex_demo was refused", times=None, skip=3)
    for path in ("/", "/connections", FLAGS, f"{FLAGS}/{flag['id']}", f"/connections/{CONNECTION}/experiments/1"):
        assert b"ampex_demo" not in page.get(path, headers=login("admin")).content


def test_no_file_but_the_packages_own(page: Page) -> None:
    headers = login("admin")
    assert page.get("/static/uplot.js", headers=headers).status_code == 200
    for name in ("..%2Fplugin.py", "%2e%2e/plugin.py", "plugin.py"):
        assert page.get(f"/static/{name}", headers=headers).status_code == 404


def test_the_files_name_no_other_host(page: Page) -> None:
    from importlib.resources import files

    static = files("airflow_provider_ampexp.rollouts_page") / "static"
    for one in static.iterdir():
        text = (
            one.read_text().replace("http://www.w3.org/2000/svg", "").replace("https://github.com/leeoniya/uPlot", "")
        )
        assert "://" not in text, one.name
    assert b"MIT License" in page.get("/static/uplot-LICENSE.txt", headers=login("admin")).content


def test_any_two_versions_are_compared(ask: Callable[..., Any], known_emulator: Emulator) -> None:
    flag = known_emulator.create_flag("new-checkout")
    known_emulator.edit("flags", flag["id"], by="Maria", rolloutPercentage=5)
    known_emulator.edit("flags", flag["id"], by="Olga", rolloutPercentage=25, enabled=True)
    compare = f"{FLAGS}/{flag['id']}/compare"
    forth = ask(f"{compare}?before=1&after=3")["changes"]
    assert forth == [
        {"field": "enabled", "from": "false", "to": "true"},
        {"field": "rolloutPercentage", "from": "0", "to": "25"},
    ]
    back = ask(f"{compare}?before=3&after=1")["changes"]
    assert [(one["from"], one["to"]) for one in back] == [("true", "false"), ("25", "0")]
    assert ask(f"{compare}?before=2&after=2")["changes"] == []
    assert "version 9" in ask(f"{compare}?before=1&after=9", 404)["detail"]
    assert known_emulator.requests()["by_route"]["GET /api/1/flags/{id}/versions"] == 1


def test_ten_viewers_for_a_minute_cost_two_lists(page: Page, known_emulator: Emulator, clock: Clock) -> None:
    for number in range(20):
        known_emulator.create_flag(f"flag-{number}")
    headers, told = login("admin"), {}

    def reload(_: int) -> dict[str, Any]:
        return page.get(FLAGS, headers=headers).json()

    with ThreadPoolExecutor(10) as viewers:
        for second in range(0, 60, 5):
            clock.now = float(second)
            told = list(viewers.map(reload, range(10)))[-1]
    routes = known_emulator.requests()["by_route"]
    assert routes == {"GET /api/1/flags": 2, "GET /api/1/experiments": 2}
    assert told["used"] == {"lists": sum(routes.values()), "histories": 0, "others": 0}  # the footer


def test_a_detail_costs_one_history(ask: Callable[..., Any], known_emulator: Emulator, clock: Clock) -> None:
    flag = known_emulator.create_flag("new-checkout")
    for _ in range(5):
        told = ask(f"{FLAGS}/{flag['id']}")
    assert known_emulator.requests()["by_route"] == {"GET /api/1/flags/{id}/versions": 1}
    assert told["used"] == {"lists": 0, "histories": 1, "others": 0}
    known_emulator.edit("flags", flag["id"], rolloutPercentage=25)
    assert ask(f"{FLAGS}/{flag['id']}")["percentage"] == 0
    clock.now += KEPT_FOR
    assert ask(f"{FLAGS}/{flag['id']}")["percentage"] == 25


def test_an_error_is_told_and_kept_too(ask: Callable[..., Any], known_emulator: Emulator, clock: Clock) -> None:
    known_emulator.fault("status", status=403, times=1)
    assert "403" in ask(FLAGS, 502)["detail"]
    assert "403" in ask(FLAGS, 502)["detail"]
    assert known_emulator.requests()["total"] == 1
    clock.now += KEPT_FOR
    assert ask(FLAGS)["flags"] == []


def test_what_is_not_there_is_a_404(ask: Callable[..., Any]) -> None:
    assert "404" in ask(f"{FLAGS}/424242", 404)["detail"]
    ask(f"/connections/{CONNECTION}/variables/1", 422)
