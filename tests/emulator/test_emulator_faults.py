"""Faults, each as the caller sees it."""

from __future__ import annotations

import socket
import threading
import time
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_ampexp.emulator.control import Emulator

if TYPE_CHECKING:
    from tests.emulator.conftest import Api


def raw_exchange(emulator: Emulator, method: str, path: str, body: str = "") -> bytes:
    """Return all bytes of the response, until the emulator closes the connection."""
    address = urlsplit(emulator.base_url)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ampex_demo\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5) as connection:
        connection.sendall(f"{head}\r\n{body}".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.fixture
def flag(emulator: Emulator) -> str:
    return str(emulator.create_flag("checkout")["id"])


@pytest.mark.parametrize(("kind", "worked"), [("cut_before", False), ("cut_after", True)])
def test_a_cut_connection_answers_nothing(emulator: Emulator, flag: str, kind: str, worked: bool) -> None:
    emulator.fault(kind)
    assert raw_exchange(emulator, "PATCH", f"/api/1/flags/{flag}", '{"rolloutPercentage":7}') == b""
    assert emulator.flag(flag)["rolloutPercentage"] == (7 if worked else 0)
    entry = emulator.request_log()[-1]
    assert (entry["status"], entry["fault"], entry["person"]) == (None, kind, "Airflow")


def test_a_cut_body(emulator: Emulator, flag: str) -> None:
    emulator.fault("cut_body")
    head, _, body = raw_exchange(emulator, "GET", f"/api/1/flags/{flag}").partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert len(body) == length // 2 > 100
    emulator.fault("cut_body")
    answer = raw_exchange(emulator, "PATCH", f"/api/1/flags/{flag}", '{"rolloutPercentage":7}')
    assert answer.endswith(b"\r\n\r\nO")
    assert emulator.flag(flag)["rolloutPercentage"] == 7


def test_cut_body_of_a_large_answer(api: Api, emulator: Emulator) -> None:
    emulator.load({"flags": [{"key": f"k{number}", "description": "x" * 2000} for number in range(1000)]})
    emulator.fault("cut_body")
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
        api("GET", "/flags?limit=1000")
    incomplete = caught.value.args[0].args[1]
    assert isinstance(incomplete, IncompleteRead)
    # urllib3 counts the bytes that http.client stores.
    partial: object = incomplete.partial
    assert (partial if isinstance(partial, int) else len(incomplete.partial)) > 1_000_000


def test_requests_sees_a_lost_connection(api: Api, emulator: Emulator) -> None:
    for kind in ("cut_before", "cut_after"):
        emulator.fault(kind)
        with pytest.raises(requests.ConnectionError):
            api("GET", "/flags")
    assert api("GET", "/flags").status_code == 200


@pytest.mark.parametrize(("after_work", "expected"), [(False, 0), (True, 7)])
@pytest.mark.parametrize(
    ("kind", "more", "status"),
    [
        ("status", {"status": 503}, 503),
        ("html", {}, 502),
        ("html", {"status": 504}, 504),
        ("redirect", {}, 307),
        ("garbage", {}, 200),
    ],
)
def test_spoilt_answers(
    api: Api,
    emulator: Emulator,
    flag: str,
    kind: str,
    more: dict[str, int],
    status: int,
    after_work: bool,
    expected: int,
) -> None:
    emulator.fault(kind, after_work=after_work, **more)
    answer = api("PATCH", f"/flags/{flag}", json={"rolloutPercentage": 7})
    assert answer.status_code == status
    assert emulator.flag(flag)["rolloutPercentage"] == expected
    if kind == "html":
        assert answer.headers["Content-Type"] == "text/html"
        assert answer.text.startswith("<html>")
    if kind == "redirect":
        assert answer.headers["Location"] == "/elsewhere"
    if kind == "garbage":
        with pytest.raises(requests.JSONDecodeError):
            answer.json()
    assert api("PATCH", f"/flags/{flag}", json={"rolloutPercentage": 8}).text == "OK"


def test_status_with_body_and_headers(api: Api, emulator: Emulator) -> None:
    emulator.fault("status", status=429, body={"error": "slow down"}, headers={"Retry-After": "3"})
    answer = api("GET", "/flags")
    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (429, {"error": "slow down"}, "3")
    emulator.fault("status", status=500, body="")
    assert api("GET", "/flags").content == b""


def test_slow_works_although_the_caller_left(api: Api, emulator: Emulator, flag: str) -> None:
    emulator.fault("slow", seconds=0.3)
    with pytest.raises(requests.ReadTimeout):
        api("PATCH", f"/flags/{flag}", json={"rolloutPercentage": 7}, timeout=0.1)
    api.session.close()
    assert emulator.flag(flag)["rolloutPercentage"] == 0
    deadline = time.monotonic() + 5
    while emulator.flag(flag)["rolloutPercentage"] != 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert emulator.flag(flag)["rolloutPercentage"] == 7


def test_slow_after_works_first(api: Api, emulator: Emulator, flag: str) -> None:
    emulator.fault("slow_after", seconds=0.3)
    with pytest.raises(requests.ReadTimeout):
        api("PATCH", f"/flags/{flag}", json={"rolloutPercentage": 7}, timeout=0.1)
    assert emulator.flag(flag)["rolloutPercentage"] == 7


def test_a_slow_request_holds_no_other_up(api: Api, emulator: Emulator, flag: str) -> None:
    emulator.fault("slow", seconds=0.5)
    begin = time.monotonic()
    waiting = threading.Thread(target=lambda: raw_exchange_quietly(emulator))
    waiting.start()
    while not emulator.request_log():
        time.sleep(0.01)
    assert api("GET", f"/flags/{flag}").status_code == 200
    assert time.monotonic() - begin < 0.45
    waiting.join()


def raw_exchange_quietly(emulator: Emulator) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.get(f"{emulator.base_url}/api/1/flags", headers={"Authorization": "Bearer ampex_demo"}, timeout=5)


def test_route_methods_skip_and_times(api: Api, emulator: Emulator, flag: str) -> None:
    emulator.fault("status", status=500, route="PATCH /api/1/flags/{id}", skip=1, times=2)
    codes = []
    for number in range(5):
        assert api("GET", f"/flags/{flag}").status_code == 200
        codes.append(api("PATCH", f"/flags/{flag}", json={"rolloutPercentage": number}).status_code)
    assert codes == [200, 500, 500, 200, 200]
    assert [(fault["struck"], fault["times"]) for fault in emulator.faults()] == [(2, 2)]
    emulator.clear_faults()
    emulator.fault("status", status=500, methods=["post", "DELETE"], times=None)
    assert api("GET", "/flags").status_code == 200
    assert [api("POST", "/flags").status_code for _ in range(3)] == [500] * 3


def test_the_names_in_a_route_do_not_matter(api: Api, emulator: Emulator, flag: str) -> None:
    emulator.fault("status", status=500, route="GET /api/1/flags/{id}/variants/{variant_key}")
    assert api("GET", f"/flags/{flag}/variants/on").status_code == 500


def test_the_first_fault_wins(api: Api, emulator: Emulator) -> None:
    emulator.fault("status", status=500)
    second = emulator.fault("status", status=503)
    assert [api("GET", "/flags").status_code for _ in range(3)] == [500, 503, 200]
    requests.delete(f"{emulator.base_url}/_emulator/faults/{second}", timeout=5)
    assert [fault["status"] for fault in emulator.faults()] == [500]


def test_a_rate_is_the_same_in_each_run(api: Api, emulator: Emulator) -> None:
    runs = []
    for _ in range(2):
        emulator.reset()
        emulator.settings(rate_per_second=None)
        emulator.fault("status", status=500, rate=0.3, times=None)
        runs.append([api("GET", "/flags").status_code for _ in range(100)])
    assert runs[0] == runs[1]
    assert 15 < runs[0].count(500) < 45


def test_control_routes_are_never_struck(emulator: Emulator) -> None:
    emulator.fault("cut_before", times=None)
    assert emulator.requests()["total"] == 0
    assert emulator.faults()[0]["struck"] == 0


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        ("kind", {"kind": "explode"}),
        ("route", {"kind": "slow", "route": "PATCH /api/1/flag/{id}"}),
        ("status", {"kind": "status"}),
        ("colour", {"kind": "slow", "colour": "blue"}),
        ("rate", {"kind": "slow", "rate": 2}),
    ],
)
def test_a_fault_that_could_not_strike_is_refused(emulator: Emulator, field: str, fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=field):
        emulator.fault(**fault)  # type: ignore[arg-type]


def test_a_wrong_date_spoils_nothing_else(api: Api, emulator: Emulator) -> None:
    emulator.fault("wrong_date", offset=3600)
    wrong, right = api("GET", "/flags"), api("GET", "/flags")
    assert wrong.status_code == right.status_code == 200
    ahead = parsedate_to_datetime(wrong.headers["Date"]) - parsedate_to_datetime(right.headers["Date"])
    assert 3590 <= ahead.total_seconds() <= 3601


def test_a_clock_that_was_moved_is_told_in_a_header(api: Api, emulator: Emulator) -> None:
    assert "X-Emulator-Clock-Offset" not in api("GET", "/flags").headers
    emulator.advance(3600)
    assert float(api("GET", "/flags").headers["X-Emulator-Clock-Offset"]) == pytest.approx(3600, abs=1)


def test_a_zip_bomb_is_small_until_it_is_unpacked(api: Api, emulator: Emulator) -> None:
    emulator.fault("zip_bomb", megabytes=3)
    assert api("GET", "/flags").content == b" " * 3_000_000
    emulator.fault("oversized", megabytes=2)
    assert api("GET", "/flags").content == b" " * 2_000_000


@pytest.mark.parametrize(("named", "shown"), [("name", str), ("number", int), ("object", dict)])
def test_people_are_named_as_the_settings_say(api: Api, emulator: Emulator, named: str, shown: type) -> None:
    id = emulator.create_flag("search", createdBy="Maria")["id"]
    emulator.settings(created_by=named)
    of_list, of_history = api.ok("GET", "/flags")["flags"][0], api.ok("GET", f"/flags/{id}/versions")[0]
    for config in (api.ok("GET", f"/flags/{id}"), of_list, of_history):
        assert isinstance(config["createdBy"], shown)
    assert emulator.flag(id)["createdBy"] == "Maria"
