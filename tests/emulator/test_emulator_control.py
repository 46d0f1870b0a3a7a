"""The control interface, the server and the command line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from airflow_provider_ampexp.emulator.__main__ import main
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer

if TYPE_CHECKING:
    from tests.emulator.conftest import Api


def test_the_default_world(emulator: Emulator) -> None:
    world = emulator.dump()
    assert world["projects"] == [{"id": "100001", "name": "Acme app"}, {"id": "100002", "name": "Acme web"}]
    assert [(key["key"], key["person"], key["projects"]) for key in world["keys"]] == [
        ("ampex_demo", "Airflow", ["100001", "100002"]),
        ("ampex_maria", "Maria", ["100001"]),
        ("ampex_web", "Web team", ["100002"]),
    ]
    assert [(item["label"], item["projectId"]) for item in world["deployments"]] == [
        ("acme-app-client", "100001"),
        ("acme-app-server", "100001"),
    ]
    assert world["flags"] == world["experiments"] == []


CONTROL = [("GET", "/dump"), ("POST", "/reset"), ("POST", "/clock"), ("DELETE", "/requests"), ("GET", "/")]


@pytest.mark.parametrize(("method", "path"), CONTROL)
@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Host": "evil.example"}, "Host"),
        ({"Host": "evil.example:80"}, "Host"),
        ({"Host": "127.0.0.1.evil.example"}, "Host"),
        ({"Host": "localhost.evil.example"}, "Host"),
        ({"Host": "127.0.0.1@evil.example"}, "Host"),
        ({"Host": "10.0.0.1"}, "Host"),
        ({"Host": "0.0.0.0"}, "Host"),
        ({"Host": ""}, "Host"),
        ({"Host": "[::1"}, "Host"),
        ({"Origin": "https://evil.example"}, "Origin"),
        ({"Origin": "http://localhost"}, "Origin"),
        ({"Origin": "http://127.0.0.1:1"}, "Origin"),
        ({"Origin": "null"}, "Origin"),
        ({"Origin": ""}, "Origin"),
    ],
)
def test_a_page_of_another_site_cannot_steer_the_emulator(
    emulator: Emulator, method: str, path: str, headers: dict[str, str], why: str
) -> None:
    emulator.create_flag("f")
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(method, f"{emulator.base_url}/_emulator{path}", headers=headers, timeout=5)
    assert answer.status_code == 403
    assert why in answer.json()["error"]
    assert [flag["key"] for flag in emulator.dump()["flags"]] == ["f"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "[::1]"])
def test_the_emulator_is_steered_by_each_name_of_the_loopback(emulator: Emulator, host: str) -> None:
    host = f"{host}:{emulator.base_url.rpartition(':')[2]}"
    with requests.Session() as session:
        session.trust_env = False
        for origin in ({}, {"Origin": f"http://{host}"}):
            headers = {"Host": host, **origin}
            answer = session.post(f"{emulator.base_url}/_emulator/clock", headers=headers, timeout=5)
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "body",
    [
        '{"advance": 1e30}',
        '{"advance": -1e30}',
        '{"advance": 1e400}',
        '{"advance": Infinity}',
        '{"advance": NaN}',
        '{"advance": "soon"}',
        '{"offset": 1e30}',
        '{"offset": 3e9, "advance": 3e9}',
        '{"speed": 1e30}',
        '{"speed": -1}',
    ],
)
def test_a_time_that_no_date_can_show_is_refused_and_the_clock_goes_on(api: Api, emulator: Emulator, body: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{emulator.base_url}/_emulator/clock", data=body, timeout=5)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]
    assert abs(emulator.dump()["clock_offset"]) < 60
    assert api.ok("GET", "/flags") == {"flags": []}


def test_no_sum_of_advances_leaves_the_dates_that_can_be_shown(api: Api, emulator: Emulator) -> None:
    emulator.advance(3e9)
    with pytest.raises(ValueError, match=r"400 .*advance"):
        emulator.advance(3e9)
    with pytest.raises(ValueError, match=r"400 .*clock_offset"):
        emulator.load({"clock_offset": 1e30})
    emulator.advance(-3e9)
    assert abs(emulator.dump()["clock_offset"]) < 60
    assert api.ok("GET", "/flags") == {"flags": []}


def test_connection_json(emulator: Emulator) -> None:
    assert json.loads(emulator.connection_json) == {
        "conn_type": "amplitude_experiment",
        "password": "ampex_demo",
        "extra": {"base_url": emulator.base_url, "project_id": "100001"},
    }


def test_reset_forgets_everything(api: Api, emulator: Emulator) -> None:
    first = emulator.create_flag("f")
    emulator.fault("status", status=500, times=None)
    emulator.hold()
    emulator.settings(numeric_ids=True)
    emulator.advance(9999)
    api("GET", "/flags")
    emulator.reset()
    assert api.ok("GET", "/flags") == {"flags": []}
    assert (emulator.faults(), emulator.pending(), emulator.requests()["total"]) == ([], [], 1)
    again = emulator.create_flag("f")
    assert (again["id"], again["bucketingSalt"]) == (first["id"], first["bucketingSalt"])
    assert api.ok("PATCH", f"/flags/{again['id']}", json={"name": "x"}) == "OK"
    assert emulator.flag(again["id"])["name"] == "x"


def test_created_objects_are_made_by_seed(emulator: Emulator) -> None:
    flag = emulator.create_flag("f", enabled=True, rolloutPercentage=25, parentDependencies={"flags": {}})
    assert (flag["createdBy"], flag["enabled"], flag["parentDependencies"]) == ("Seed", True, {"flags": {}})
    assert [version["createdBy"] for version in emulator.versions("flags", flag["id"])] == ["Seed"]
    experiment = emulator.create_experiment("e", inclusions={"control": ["ann"]}, createdBy="Nora")
    assert (experiment["createdBy"], "inclusions" in experiment) == ("Nora", False)
    assert emulator.inclusions("experiments", experiment["id"], "control") == ["ann"]


def test_a_history_is_kept_as_given(api: Api, emulator: Emulator) -> None:
    history = [
        {"createdAt": "2026-01-02T00:00:00.000Z", "createdBy": "Nora", "version": 7, "flagConfig": {"enabled": True}},
        {"createdAt": "2026-01-01T00:00:00.000Z", "createdBy": "Maria", "version": 3, "flagConfig": {}},
    ]
    flag = emulator.create_flag("f", history=history)
    assert api.ok("GET", f"/flags/{flag['id']}/versions") == history
    api.ok("PATCH", f"/flags/{flag['id']}", json={"name": "x"})
    assert [version["version"] for version in api.ok("GET", f"/flags/{flag['id']}/versions")] == [8, 7, 3]


def test_dump_and_load(api: Api, emulator: Emulator, kind: str, made: str) -> None:
    api.ok("PATCH", made, json={"rolloutPercentage": 3, "tags": ["x"]})
    api.ok("POST", f"{made}/variants/control/users", json={"inclusions": ["ann"]})
    emulator.create_flag("banner", readOnlyType="guide")
    emulator.settings(numeric_cursor=True)
    world = emulator.dump()
    versions = emulator.versions(kind, made.split("/")[-1])
    emulator.reset()
    emulator.load(world)
    assert emulator.dump() == world
    assert emulator.versions(kind, made.split("/")[-1]) == versions
    fresh = api.ok("POST", f"/{kind}", json={"projectId": "100001", "key": "fresh"})["id"]
    assert int(fresh) > max(int(item["id"]) for item in [*world["flags"], *world["experiments"]])


def test_groups_are_dumped_and_loaded(api: Api, emulator: Emulator) -> None:
    emulator.settings(extra_endpoints=True)
    made = {}
    for kind, share in (("mutexes", {"slots": [{"percentage": 100}]}), ("holdouts", {"holdoutPercentage": 5})):
        made[kind] = api.ok("POST", f"/{kind}", json={"projectId": "100001", "name": kind, "key": kind, **share})["id"]
    api.ok("PATCH", f"/mutexes/{made['mutexes']}/slots/1", json={"experiments": [7], "individuals": ["ana"]})
    api.ok("PATCH", f"/holdouts/{made['holdouts']}", json={"archive": True})
    world = emulator.dump()
    emulator.reset()
    loaded = emulator.load(world)
    assert emulator.dump() == world
    assert {kind: [id] for kind, id in made.items()} == {kind: loaded[kind] for kind in made}
    (slot,) = api.ok("GET", f"/mutexes/{made['mutexes']}")["slots"]
    assert (slot["experiments"], slot["individuals"]) == (["7"], ["ana"])
    assert api.ok("GET", "/holdouts")["holdouts"] == []
    emulator.load({"holdouts": [{"id": "9", "name": "loaded", "holdoutPercentage": 7}]})
    assert api.ok("GET", "/holdouts/9")["holdoutPercentage"] == 7
    with pytest.raises(ValueError, match="taken"):
        emulator.load({"holdouts": [{"name": "x", "key": "mutexes", "holdoutPercentage": 7}]})


def test_loading_replaces_the_same_id_and_refuses_the_same_key(emulator: Emulator) -> None:
    emulator.load({"flags": [{"id": "5", "key": "a"}]})
    emulator.load({"flags": [{"id": 5, "key": "a", "name": "again"}]})
    assert [(flag["id"], flag["name"]) for flag in emulator.dump()["flags"]] == [("5", "again")]
    with pytest.raises(ValueError, match="taken"):
        emulator.load({"flags": [{"id": "6", "key": "a"}]})
    emulator.create_flag("b", id="7")
    with pytest.raises(ValueError, match="taken"):
        emulator.create_flag("a", id="7")
    assert emulator.flag("7")["key"] == "b"
    for world in ({"colour": 1}, {"flags": [{}]}, {"keys": [{"key": "ampex_x"}]}, {"settings": {"colour": 1}}):
        with pytest.raises(ValueError, match="400"):
            emulator.load(world)


def test_loaded_deployments(api: Api, emulator: Emulator) -> None:
    ids = emulator.load({"deployments": [{"label": "a", "type": "client"}, {"id": 9, "label": "b", "key": "server-x"}]})
    found = {item["label"]: item for item in api.ok("GET", "/deployments")["deployments"]}
    assert found["a"]["key"].startswith("client-")
    assert (found["b"]["id"], found["b"]["key"], found["b"]["projectId"]) == ("9", "server-x", "100001")
    assert ids["deployments"] == [found["a"]["id"], "9"]


def test_requests_are_counted_and_logged_without_keys(api: Api, emulator: Emulator, made: str, kind: str) -> None:
    emulator.clear_requests()
    api("GET", made)
    api("GET", f"/{kind}?key=x&limit=2")
    api("PATCH", made, json={"rolloutPercentage": 101})
    api(
        "GET",
        "/nothing/ampex_demo?key=ampex_demo&other=ampex_secret%41",
        headers={"Authorization": "Bearer ampex_secret"},
    )
    counts = emulator.requests()
    assert counts["total"] == 4
    assert counts["by_route"] == {
        f"GET /api/1/{kind}/{{id}}": 1,
        f"GET /api/1/{kind}": 1,
        f"PATCH /api/1/{kind}/{{id}}": 1,
        "no such route": 1,
    }
    assert counts["by_status"] == {"200": 2, "400": 1, "404": 1}
    log = emulator.request_log()
    assert set(log[0]) == {"at", "method", "path", "query", "route", "status", "person", "fault"}
    assert [(entry["method"], entry["person"], entry["status"]) for entry in log] == [
        ("GET", "Airflow", 200),
        ("GET", "Airflow", 200),
        ("PATCH", "Airflow", 400),
        ("GET", None, 404),
    ]
    assert (log[0]["path"], log[1]["query"]) == (f"/api/1{made}", "key=x&limit=2")
    assert "ampex_" not in json.dumps(log)
    assert "secret" not in json.dumps(log)
    emulator.clear_requests()
    assert emulator.requests()["total"] == 0


def test_the_help_page(emulator: Emulator) -> None:
    page = requests.get(f"{emulator.base_url}/_emulator/", timeout=5)
    assert page.headers["Content-Type"].startswith("text/plain")
    for name in ("reset", "load", "dump", "faults", "edit-before-write", "approvals", "clock", "settings", "cut_body"):
        assert name in page.text


def test_writes_at_the_same_time_are_each_whole(emulator: Emulator) -> None:
    emulator.settings(rate_per_second=None)
    flag = emulator.create_flag("f")["id"]

    def add(worker: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = "Bearer ampex_demo"
            for number in range(10):
                path = f"{emulator.base_url}/api/1/flags/{flag}"
                body = {"inclusions": [f"{worker}-{number}"]}
                assert session.post(f"{path}/variants/on/users", json=body, timeout=10).ok
                assert session.patch(path, json={"name": f"{worker}-{number}"}, timeout=10).ok

    workers = [threading.Thread(target=add, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(set(emulator.inclusions("flags", flag, "on"))) == 80
    assert [version["version"] for version in emulator.versions("flags", flag)] == list(range(81, 0, -1))


def test_a_server_of_its_own_stops_at_once() -> None:
    with EmulatorServer() as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        emulator = Emulator(server.base_url)
        flag = emulator.create_flag("f")
        assert server.service.objects[flag["id"]].config["key"] == "f"
        emulator.fault("slow", seconds=30)
        with pytest.raises(requests.ReadTimeout):
            requests.get(f"{server.base_url}/api/1/flags", timeout=0.1)
        begin = time.monotonic()
    assert time.monotonic() - begin < 0.5
    with pytest.raises(requests.ConnectionError):
        emulator.reset()


def test_a_plain_read_is_quick(api: Api, emulator: Emulator) -> None:
    emulator.settings(rate_per_second=None)
    path = f"/flags/{emulator.create_flag('f')['id']}"
    begin = time.monotonic()
    for _ in range(100):
        api("GET", path)
    # A request takes 2 ms and the caller's own time. The limit is for a busy machine. Nagle's algorithm would need 4 s.
    assert time.monotonic() - begin < 2


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_command_line(tmp_path: Path) -> None:
    state = tmp_path / "world.json"
    state.write_text(json.dumps({"flags": [{"key": "from-a-file"}]}), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "airflow_provider_ampexp.emulator", "--port", str(port), "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            shown = "".join(
                iter(running.stdout.readline, f"Its control routes: curl http://127.0.0.1:{port}/_emulator/\n")
            )
            for text in (f"http://127.0.0.1:{port}", "ampex_demo", "ampex_maria", "airflow connections add", "curl -H"):
                assert text in shown
            emulator = Emulator(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + 10
            while True:
                try:
                    assert [flag["key"] for flag in emulator.dump()["flags"]] == ["from-a-file"]
                    break
                except requests.ConnectionError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        finally:
            running.terminate()
            running.wait(timeout=10)


def test_what_the_command_line_says_when_it_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "world.json"
    state.write_text("{", encoding="utf-8")
    assert main(["--port", "0", "--state", str(state)]) == 1
    assert "cannot be loaded" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "cannot listen" in capsys.readouterr().err
    assert main(["--port", "99999"]) == 1
    capsys.readouterr()
    assert main(["--port", "0", "--host", ""]) == 1  # an empty host would be all addresses
    assert "--host: expected an address, got an empty text" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "--state" in capsys.readouterr().out
