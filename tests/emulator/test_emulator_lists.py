"""Lists: paging, order, filters, and the differences between servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator

if TYPE_CHECKING:
    from tests.emulator.conftest import Api


def keys(answer: Any, kind: str) -> list[str]:
    return [item["key"] for item in answer[kind]]


@pytest.fixture
def five(emulator: Emulator, kind: str) -> list[str]:
    """Create five objects, and return their keys, newest first."""
    emulator.load({kind: [{"key": f"k{number}"} for number in range(5)]})
    return ["k4", "k3", "k2", "k1", "k0"]


def test_pages_are_followed_by_their_cursor(api: Api, kind: str, five: list[str]) -> None:
    seen: list[str] = []
    cursor, pages = "0", 0
    while cursor:
        answer = api.ok("GET", f"/{kind}?limit=2&cursor={cursor}")
        seen += keys(answer, kind)
        cursor = answer.get("nextCursor")
        pages += 1
        assert cursor is None or isinstance(cursor, str)
    assert (seen, pages) == (five, 3)


def test_a_full_last_page_has_no_cursor(api: Api, kind: str, five: list[str]) -> None:
    assert "nextCursor" not in api.ok("GET", f"/{kind}?limit=5")
    assert api.ok("GET", f"/{kind}?limit=4")["nextCursor"] == "4"
    assert api.ok("GET", f"/{kind}?cursor=99") == {kind: []}


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "limit=", "cursor=-1", "cursor=x", "limit=1.0"])
def test_a_limit_or_cursor_that_is_none(api: Api, kind: str, query: str) -> None:
    assert query.split("=")[0] in api.refused(400, "GET", f"/{kind}?{query}")
    assert query.split("=")[0] in api.refused(400, "GET", f"/deployments?{query}")


def test_a_limit_is_capped_at_1000(api: Api, emulator: Emulator, kind: str) -> None:
    emulator.load({kind: [{"key": f"k{number}"} for number in range(1001)]})
    for limit in ("1000", "1001", "99999"):
        answer = api.ok("GET", f"/{kind}?limit={limit}")
        assert (len(answer[kind]), answer["nextCursor"]) == (1000, "1000")
    assert len(api.ok("GET", f"/{kind}")[kind]) == 100


def test_what_is_created_while_paging_shifts_the_pages(
    api: Api, emulator: Emulator, kind: str, five: list[str]
) -> None:
    assert keys(api.ok("GET", f"/{kind}?limit=2"), kind) == ["k4", "k3"]
    emulator.load({kind: [{"key": "k5"}]})
    assert keys(api.ok("GET", f"/{kind}?limit=2&cursor=2"), kind) == ["k3", "k2"]


def test_order_is_by_creation(api: Api, emulator: Emulator, kind: str) -> None:
    emulator.load({kind: [{"key": "new"}, {"key": "old", "createdAt": "2020-01-01T00:00:00.000Z"}]})
    emulator.edit(kind, emulator.dump()[kind][1]["id"], name="edited last")
    assert keys(api.ok("GET", f"/{kind}"), kind) == ["new", "old"]


def test_filters(api: Api, emulator: Emulator, kind: str) -> None:
    emulator.load(
        {kind: [{"key": "a"}, {"key": "a", "projectId": "100002"}, {"key": "ab"}, {"key": "x", "deleted": True}]}
    )
    assert keys(api.ok("GET", f"/{kind}"), kind) == ["ab", "a", "a"]
    assert keys(api.ok("GET", f"/{kind}?key=a"), kind) == ["a", "a"]
    assert keys(api.ok("GET", f"/{kind}?key=A"), kind) == []
    assert keys(api.ok("GET", f"/{kind}?projectId=100002"), kind) == ["a"]
    assert keys(api.ok("GET", f"/{kind}?key=a&projectId=100001"), kind) == ["a"]
    assert keys(api.ok("GET", f"/{kind}?key=x"), kind) == []
    assert keys(api.ok("GET", f"/{kind}?key=x&includeArchived=true"), kind) == ["x"]
    assert keys(api.ok("GET", f"/{kind}?includeArchived=false&colour=blue"), kind) == ["ab", "a", "a"]
    assert api.refused(400, "GET", f"/{kind}?includeArchived=perhaps")


def test_an_older_server_ignores_filters(api: Api, emulator: Emulator, kind: str) -> None:
    emulator.load({kind: [{"key": "a"}, {"key": "b"}, {"key": "x", "deleted": True}]})
    emulator.settings(ignore_filters=True)
    assert keys(api.ok("GET", f"/{kind}?key=a&includeArchived=true&projectId=9"), kind) == ["b", "a"]


def test_deployments_are_paged(api: Api) -> None:
    first = api.ok("GET", "/deployments?limit=1")
    assert [item["label"] for item in first["deployments"]] == ["acme-app-server"]
    second = api.ok("GET", f"/deployments?limit=1&cursor={first['nextCursor']}")
    assert [item["label"] for item in second["deployments"]] == ["acme-app-client"]
    assert "nextCursor" not in second


def test_numeric_cursor_and_the_last_cursor(api: Api, emulator: Emulator, kind: str, five: list[str]) -> None:
    emulator.settings(numeric_cursor=True, last_page_cursor="null")
    assert api.ok("GET", f"/{kind}?limit=3")["nextCursor"] == 3
    assert api.ok("GET", f"/{kind}")["nextCursor"] is None
    emulator.settings(last_page_cursor="empty")
    assert api.ok("GET", f"/{kind}")["nextCursor"] == ""


def test_page_size_cap(api: Api, emulator: Emulator, kind: str, five: list[str]) -> None:
    emulator.settings(page_size_cap=2)
    assert keys(api.ok("GET", f"/{kind}?limit=1000"), kind) == five[:2]


def test_bare_arrays(api: Api, emulator: Emulator, kind: str, five: list[str]) -> None:
    emulator.settings(bare_arrays=True)
    assert [item["key"] for item in api.ok("GET", f"/{kind}?limit=2")] == five
    assert len(api.ok("GET", "/deployments")) == 2


def test_numeric_ids(api: Api, emulator: Emulator, kind: str, deployment: str) -> None:
    emulator.settings(numeric_ids=True)
    made = api.ok("POST", f"/{kind}", json={"projectId": "100001", "key": "new", "deployments": [deployment]})
    seen = api.ok("GET", f"/{kind}/{made['id']}")
    assert isinstance(made["id"], int)
    assert (seen["id"], seen["projectId"], seen["deployments"]) == (made["id"], 100001, [int(deployment)])
    assert api.ok("GET", f"/{kind}")[kind][0] == seen
    assert api.ok("GET", f"/{kind}/{made['id']}/versions/1")["flagConfig"]["id"] == made["id"]
    assert api.ok("GET", f"/{kind}/{made['id']}/deployments")[0]["id"] == int(deployment)
    assert api.ok("GET", "/deployments")["deployments"][1]["id"] == int(deployment)


@pytest.mark.parametrize(("body", "kind_of_text"), [("ok", "text/plain"), ("{}", "application/json")])
def test_write_body(api: Api, emulator: Emulator, made: str, body: str, kind_of_text: str) -> None:
    emulator.settings(write_body=body)
    answer = api("PATCH", made, json={"name": "x"})
    assert answer.text == body
    assert answer.headers["Content-Type"].startswith(kind_of_text)


def test_unknown_settings_are_refused(emulator: Emulator) -> None:
    for changes in ({"colour": 1}, {"page_size_cap": 0}, {"write_body": "Done"}, {"rate_per_second": "fast"}):
        with pytest.raises(ValueError, match=next(iter(changes))):
            emulator.settings(**changes)
    assert emulator.settings()["rate_per_second"] == 100


def test_extra_endpoints(api: Api, emulator: Emulator, kind: str) -> None:
    object_id = emulator.load({kind: [{"key": "a", "createdAt": "2026-01-01T00:00:00.000Z"}]})[kind][0]
    path = f"/{kind}/{object_id}/variants/{'on' if kind == 'flags' else 'control'}"
    assert api.refused(404, "GET", "/versions")
    assert api.refused(404, "GET", f"{path}/cohorts")
    assert api.refused(404, "DELETE", f"{path}/bulk-delete-users", json={"users": ["ann"]})
    emulator.settings(extra_endpoints=True)
    api.ok("POST", f"{path}/users", json={"inclusions": ["ann", "bob", "ann", "cy"]})
    assert api.ok("DELETE", f"{path}/bulk-delete-users", json={"users": ["ann", "nobody"]}) == "OK"
    assert api.ok("GET", f"{path}/users") == ["bob", "cy"]
    api.ok("POST", f"{path}/cohorts", json={"inclusions": ["c1", "c2", "c1"]})
    assert api.ok("GET", f"{path}/cohorts") == ["c1", "c2", "c1"]
    assert api.ok("DELETE", f"{path}/bulk-delete-cohorts", json={"users": ["c1", "nothing"]}) == "OK"
    assert api.ok("GET", f"{path}/cohorts") == ["c2"]
    assert "users" in api.refused(400, "DELETE", f"{path}/bulk-delete-cohorts", json={"users": ["u"] * 101})
    assert "inclusions" in api.refused(400, "POST", f"{path}/cohorts", json={"inclusions": []})
    assert api.refused(404, "GET", f"{path}x/cohorts")
    assert api.refused(404, "POST", f"{path}x/cohorts", json={"inclusions": ["c1"]})
    assert "users" in api.refused(400, "DELETE", f"{path}/bulk-delete-users", json={"users": ["u"] * 101})
    api.ok("PATCH", f"/{kind}/{object_id}", json={"name": "x"})
    found = api.ok("GET", "/versions")["versions"]
    assert [version["version"] for version in found] == [2, 1]
    assert len(api.ok("GET", "/versions?end=2026-01-01")["versions"]) == 0
    assert len(api.ok("GET", "/versions?start=2026-01-01&end=2026-01-02T00:00:00Z")["versions"]) == 1
    assert api.ok("GET", "/versions?limit=1")["nextCursor"] == "1"
    assert "start" in api.refused(400, "GET", "/versions?start=yesterday")
