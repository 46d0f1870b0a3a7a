"""Keys, rate limits, and the clock of the limits."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from airflow_provider_ampexp.emulator._state.clock import parse_iso
from airflow_provider_ampexp.emulator.control import Emulator

if TYPE_CHECKING:
    from tests.emulator.conftest import Api


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ampex_nobody",
        "Bearer client-abc",
        "Bearer server-abc",
        "Basic ampex_demo",
        "ampex_demo",
        "Bearer  ampex_demo x",
    ],
)
def test_no_key_no_answer(api: Api, made: str, header: str | None) -> None:
    headers = {"Authorization": header}
    for method, path in [("GET", "/flags"), ("PATCH", made), ("POST", "/deployments"), ("GET", "/flags/404")]:
        reason = api.refused(401, method, path, headers=headers, data=b"{")
        assert "ampex_demo" not in reason
        assert "nobody" not in reason


def test_a_deployment_key_is_named_as_such(api: Api) -> None:
    key = api.ok("GET", "/deployments")["deployments"][0]["key"]
    reason = api.refused(401, "GET", "/flags", headers={"Authorization": f"Bearer {key}"})
    assert "deployment key" in reason
    assert key not in reason


def test_a_revoked_key(api: Api, emulator: Emulator) -> None:
    api.ok("GET", "/flags")
    emulator.load({"keys": [{"key": "ampex_demo", "person": "Airflow", "projects": ["100001"], "revoked": True}]})
    assert "revoked" in api.refused(401, "GET", "/flags")


def test_a_key_sees_its_projects_only(api: Api, emulator: Emulator, kind: str, deployment: str) -> None:
    emulator.load({kind: [{"key": "app"}, {"key": "web", "projectId": "100002"}]})
    app = f"/{kind}/{emulator.dump()[kind][0]['id']}"
    web = {"Authorization": "Bearer ampex_web"}
    assert [item["key"] for item in api.ok("GET", f"/{kind}", headers=web)[kind]] == ["web"]
    assert api.ok("GET", "/deployments", headers=web)["deployments"] == []
    for method, path in [
        ("GET", app),
        ("PATCH", app),
        ("GET", f"{app}/versions"),
        ("GET", f"{app}/variants"),
        ("DELETE", f"{app}/deployments/{deployment}"),
        ("POST", f"{app}/variants/on/users"),
        ("PATCH", f"/deployments/{deployment}"),
        ("GET", f"/{kind}?projectId=100001"),
    ]:
        assert api.refused(403, method, path, headers=web, json={})
    for path, body in [(f"/{kind}", {"key": "new"}), ("/deployments", {"label": "new", "type": "client"})]:
        assert api.refused(403, "POST", path, headers=web, json={"projectId": "100001", **body})
        assert api.refused(403, "POST", path, json={"projectId": "404", **body})


def test_the_person_of_the_key_is_the_author(api: Api, emulator: Emulator, made: str, kind: str) -> None:
    api.ok("PATCH", made, json={"name": "by Maria"}, headers={"Authorization": "Bearer ampex_maria"})
    assert [version["createdBy"] for version in emulator.versions(kind, made.split("/")[-1])] == ["Maria", "Airflow"]


@pytest.mark.parametrize("method_and_path", ["PATCH ", "POST /variants", "DELETE /variants/on/users"])
def test_a_read_only_object(api: Api, emulator: Emulator, method_and_path: str) -> None:
    made = emulator.create_flag("banner", readOnlyType="web-experiment")
    method, path = method_and_path.split(" ")
    assert "web-experiment" in api.refused(405, method, f"/flags/{made['id']}{path}", json={"enabled": True})
    assert api.ok("GET", f"/flags/{made['id']}") == made
    emulator.edit("flags", made["id"], enabled=True)
    assert api.ok("GET", f"/flags/{made['id']}")["enabled"] is True


def test_limit_by_second(api: Api, emulator: Emulator) -> None:
    emulator.settings(rate_per_second=3)
    codes = [api("GET", "/flags").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    answer = api("GET", "/flags")
    assert (answer.headers["Retry-After"], "second" in answer.json()["error"]) == ("1", True)
    # All keys of a project share one limit. Another project has its own limit.
    maria, web = ({"Authorization": f"Bearer {key}"} for key in ("ampex_maria", "ampex_web"))
    assert api("GET", "/flags", headers=maria).status_code == 429
    emulator.load({"keys": [{"key": "ampex_other", "person": "Other", "projects": ["100003"]}]})
    assert api("GET", "/flags", headers={"Authorization": "Bearer ampex_other"}).status_code == 200
    assert api("GET", "/flags", headers=web).status_code == 429
    emulator.advance(1)
    assert [api("GET", "/flags").status_code for _ in range(4)] == [200, 200, 200, 429]
    # A clock that is set back does not delay a caller.
    emulator.advance(-3600)
    assert api("GET", "/flags").status_code == 200


def test_limit_by_day(api: Api, emulator: Emulator) -> None:
    emulator.settings(rate_per_day=2)
    assert [api("GET", "/flags").status_code for _ in range(3)] == [200, 200, 429]
    answer = api("GET", "/flags")
    now = parsedate_to_datetime(answer.headers["Date"])
    left = 86400 - (now.hour * 3600 + now.minute * 60 + now.second)
    assert abs(int(answer.headers["Retry-After"]) - left) <= 1
    assert "day" in answer.json()["error"]
    emulator.advance(left - 30 if left > 30 else 0)
    assert api("GET", "/flags").status_code == 429
    emulator.advance(31)
    assert api("GET", "/flags").status_code == 200


def test_a_refused_request_does_no_work(api: Api, emulator: Emulator) -> None:
    emulator.settings(rate_per_second=0, retry_after=False)
    answer = api("POST", "/flags", json={"projectId": "100001", "key": "new"})
    assert answer.status_code == 429
    assert "Retry-After" not in answer.headers
    assert emulator.dump()["flags"] == []


def test_the_default_limit_by_second_is_100(api: Api) -> None:
    begin = time.monotonic()
    codes = [api("GET", "/flags/404").status_code for _ in range(101)]
    took = time.monotonic() - begin
    assert codes[:100] == [404] * 100
    assert codes[100] == 429 or took >= 1


def test_the_clock(api: Api, emulator: Emulator) -> None:
    before = parsedate_to_datetime(api("GET", "/flags").headers["Date"])
    emulator.advance(3 * 86400)
    answer = api("POST", "/flags", json={"projectId": "100001", "key": "new"})
    after = parsedate_to_datetime(answer.headers["Date"])
    assert 3 * 86400 <= (after - before).total_seconds() < 3 * 86400 + 30
    version = emulator.versions("flags", answer.json()["id"])[0]
    assert abs((parse_iso(version["createdAt"]) - after).total_seconds()) < 30
    assert list(answer.headers).count("date") + list(answer.headers).count("Date") == 1
    emulator.reset()
    assert parsedate_to_datetime(api("GET", "/flags").headers["Date"]) < after


def test_errors_carry_the_date_too(api: Api) -> None:
    for answer in (api("GET", "/nothing"), api("GET", "/flags", headers={"Authorization": ""})):
        assert parsedate_to_datetime(answer.headers["Date"])
