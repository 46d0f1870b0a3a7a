"""The routes of the page: their permissions, their responses, and their requests to Amplitude."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.routing import APIRoute

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ui._amplitude_reader import CACHE_TTL
from tests.page.served import CONNECTION, FLAGS, Clock, Page, Rollouts, login

EVIL = "<script>alert(1)</script>"


def every_path(page: Page) -> list[tuple[str, str]]:
    """Return each method and path of the app, with values for the parameters of the path."""
    routes = page.app.routes
    # Other kinds of routes (a mount, a file server, documentation) would not check the permission.
    assert all(isinstance(route, APIRoute) for route in routes), routes
    parts = {"connection_id": CONNECTION, "kind": "flags", "flag_id": "1", "name": "router.js"}
    query = "?before=1&after=2"
    return [(method, route.path.format(**parts) + query) for route in routes for method in route.methods]


def test_every_route_wants_a_login_and_all_but_the_files_the_right_to_read_connections(
    page: Page, known_emulator: Emulator
) -> None:
    paths = every_path(page)
    assert len(paths) >= 7
    viewer, broken = login("viewer"), {"Authorization": "Bearer none"}
    for method, path in paths:
        assert page.request(method, path).status_code == 401, path
        wanted = 200 if path.startswith("/static/") else 403
        assert page.request(method, path, headers=viewer).status_code == wanted, path
        assert page.request(method, path, headers=broken).status_code == 403, path
    assert known_emulator.requests()["total"] == 0


def test_a_viewer_without_the_right_reads_a_sentence_and_sees_the_icon(page: Page) -> None:
    answer = page.get("/", headers=login("viewer"))
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert "needs the right to read connections" in answer.text
    assert "default roles Op and Admin have that right" in answer.text
    assert "static/theme.js" in answer.text  # the page follows Airflow's theme
    assert page.get("/static/icon.svg", headers=login("viewer")).headers["content-type"] == "image/svg+xml"


def test_it_only_reads(page: Page, ask: Callable[..., Any], known_emulator: Emulator) -> None:
    assert {method for method, _ in every_path(page)} == {"GET"}
    flag = known_emulator.create_flag("new-checkout", variants=[{"key": "on"}], inclusions={"on": ["ana", "bob"]})
    of_flag = f"{FLAGS}/{flag['id']}"
    before = known_emulator.versions("flags", flag["id"])
    ask(FLAGS)
    ask(of_flag)
    assert ask(f"{of_flag}/inclusions")["inclusions"] == {"on": 2}
    assert {request["method"] for request in known_emulator.request_log()} == {"GET"}
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


def test_no_backend_is_asked_for_the_connections_of_other_services(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import Connection

    asked: list[str] = []
    find = Connection.get_connection_from_secrets

    def spied(connection_id: str, *more: Any) -> Any:
        asked.append(connection_id)
        return find(connection_id, *more)

    monkeypatch.setattr(Connection, "get_connection_from_secrets", spied)
    monkeypatch.setenv("AIRFLOW_CONN_BY_URI", "amplitude-experiment://:ampex_demo@/")
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES", "postgres://me:secret@db/5432")
    assert ask("/connections")["connections"] == [CONNECTION, "by_uri"]
    for name in ("warehouse", "postgres", "nowhere"):
        ask(f"/connections/{name}/flags", 404)
    assert asked == []


def test_what_a_viewer_may_not_see_takes_no_place(
    ask: Callable[..., Any], known_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, rollouts: Rollouts
) -> None:
    from airflow_provider_ampexp.ui import _airflow_queries as airflow_queries
    from airflow_provider_ampexp.ui import _api as api

    flag = known_emulator.create_flag("shared-airflow", enabled=True, rolloutPercentage=5)
    rollouts.add("ours", flag["id"])
    for number in range(4):
        rollouts.add(f"of_others_{number}", "1")
    monkeypatch.setattr(airflow_queries, "_MOST", 2)
    monkeypatch.setattr(api, "_readable_dags", lambda user: {"ours"})
    (shown,) = ask(FLAGS)["flags"]
    assert shown["rollout"]["dag_id"] == "ours"


def test_a_paused_dag_is_told(ask: Callable[..., Any], known_emulator: Emulator, rollouts: Rollouts) -> None:
    flag = known_emulator.create_flag("paused-release", enabled=True, rolloutPercentage=5)
    rollouts.add("paused_release", flag["id"], is_paused=True)
    rollout = ask(f"{FLAGS}/{flag['id']}")["rollout"]
    assert rollout["reason"] == "paused"
    assert "nothing is raised or rolled back" in rollout["why"]


def test_a_hanging_amplitude_slows_nothing_else_down(
    page: Page, known_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_ampexp.ui import _ttl_cache as ttl_cache

    @page.app.get("/of-airflow")  # a route of the same server, in the threads of Airflow's API
    def of_airflow() -> str:
        return "at once"

    monkeypatch.setattr(ttl_cache, "PATIENCE", 3)
    flags = [known_emulator.create_flag(f"flag-{number}")["id"] for number in range(60)]
    known_emulator.fault("slow", seconds=5, times=None)
    headers = login("admin")
    with ThreadPoolExecutor(60) as viewers:
        hanging = [viewers.submit(page.get, f"{FLAGS}/{flag_id}", headers) for flag_id in flags]
        time.sleep(0.3)
        assert page.get("/of-airflow", headers).json() == "at once"
        assert not all(future.done() for future in hanging)
        answers = [future.result() for future in hanging]
    assert {answer.status_code for answer in answers} == {504}
    assert "no response within 3 s" in answers[0].json()["detail"]


def test_what_is_kept_is_served_while_one_reads_again(
    ask: Callable[..., Any], known_emulator: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_ampexp.ui import _ttl_cache as ttl_cache

    monkeypatch.setattr(ttl_cache, "STALE_PATIENCE", 0.2)
    flag = known_emulator.create_flag("new-checkout")
    ask(f"{FLAGS}/{flag['id']}")
    known_emulator.edit("flags", flag["id"], rolloutPercentage=25)
    clock.now += CACHE_TTL
    known_emulator.fault("slow", seconds=2, times=1)
    assert ask(f"{FLAGS}/{flag['id']}")["percentage"] == 0
    assert ask(f"{FLAGS}/{flag['id']}")["percentage"] == 0
    time.sleep(3)
    assert ask(f"{FLAGS}/{flag['id']}")["percentage"] == 25
    assert known_emulator.requests()["by_route"] == {"GET /api/1/flags/{id}/versions": 2}


def test_the_list_shows_flags_and_experiments(ask: Callable[..., Any], known_emulator: Emulator) -> None:
    beta = {"name": "Beta", "conditions": [], "percentage": 80, "rolloutWeights": {}}
    # An id that no other test uses, because tests share Airflow's database.
    known_emulator.create_flag(
        "under-no-rollout", id="987654", enabled=True, rolloutPercentage=5, targetSegments=[beta]
    )
    known_emulator.create_experiment("tour", createdBy="Olga")
    told = ask(FLAGS)
    found = {flag["key"]: flag for flag in told["flags"]}
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
    assert len(page.get(FLAGS, headers=login("admin")).content) < 2_000  # the list omits descriptions


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

    static = files("airflow_provider_ampexp.ui") / "static"
    for path in static.iterdir():
        text = (
            path.read_text().replace("http://www.w3.org/2000/svg", "").replace("https://github.com/leeoniya/uPlot", "")
        )
        assert "://" not in text, path.name
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
    assert [(change["from"], change["to"]) for change in back] == [("true", "false"), ("25", "0")]
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
    clock.now += CACHE_TTL
    assert ask(f"{FLAGS}/{flag['id']}")["percentage"] == 25


def test_an_error_is_told_and_kept_too(ask: Callable[..., Any], known_emulator: Emulator, clock: Clock) -> None:
    known_emulator.fault("status", status=403, times=1)
    assert "403" in ask(FLAGS, 502)["detail"]
    assert "403" in ask(FLAGS, 502)["detail"]
    assert known_emulator.requests()["total"] == 1
    clock.now += CACHE_TTL
    assert ask(FLAGS)["flags"] == []


def test_what_is_not_there_is_a_404(ask: Callable[..., Any]) -> None:
    assert "404" in ask(f"{FLAGS}/424242", 404)["detail"]
    ask(f"/connections/{CONNECTION}/variables/1", 422)
