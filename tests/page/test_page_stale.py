"""The stale flags that tasks of this Airflow listed, as the page shows them without a request to Amplitude."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp._keys import STALE_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ui._stale_flags import stale_row
from tests.page.served import CONNECTION, Page, Rollouts, login

EVIL = "<script>alert(1)</script>"
LISTED = {"amplitude_conn_id": CONNECTION, "days": 60}


def row(key: str = "old-search", **more: Any) -> dict[str, Any]:
    reasons = {"disabled": "2026-01-12T00:00:00Z", "no deployment": "2025-12-01T10:00:00Z"}
    people = {"created_by": "Maria", "last_modified_by": "Olga"}
    rest = {"tags": ["web"], "depended_on_by": ["flag 'search-box'"], "url": "https://app.amplitude.com/experiment/7"}
    return {"kind": "flags", "id": "7", "key": key, "name": "Old search", "reasons": reasons, **people, **rest, **more}


def add(rollouts: Rollouts, dag_id: str, *rows: Any, run_id: str = "run", task_id: str = "stale", **more: Any) -> None:
    """Add a task that listed stale flags."""
    listed = {**LISTED, **more.pop("listed", {})}
    rollouts.add_xcoms(dag_id, run_id, task_id, {STALE_XCOM: listed, "return_value": list(rows)}, **more)


def test_a_list_has_its_task_and_its_rows(
    ask: Callable[..., Any], known_emulator: Emulator, rollouts: Rollouts
) -> None:
    add(rollouts, "clean_up", row(), row("everybody", reasons={"at 100 %": "2026-02-01T00:00:00Z"}))
    (listed,) = ask("/stale")["lists"]
    place = {name: listed[name] for name in ("dag_id", "run_id", "task_id", "map_index", "connection", "days", "count")}
    assert place == {
        "dag_id": "clean_up",
        "run_id": "run",
        "task_id": "stale",
        "map_index": -1,
        "connection": CONNECTION,
        "days": 60,
        "count": 2,
    }
    assert listed["at"]
    old, everybody = listed["rows"]
    assert (old["kind"], old["id"], old["key"], old["name"]) == ("flags", "7", "old-search", "Old search")
    assert old["reasons"] == [["no deployment", "2025-12-01T10:00:00Z"], ["disabled", "2026-01-12T00:00:00Z"]]
    assert (old["since"], old["created_by"], old["last_modified_by"]) == ("2025-12-01T10:00:00Z", "Maria", "Olga")
    assert old["depended_on_by"] == ["flag 'search-box'"]
    assert everybody["since"] == "2026-02-01T00:00:00Z"
    assert known_emulator.requests()["total"] == 0


def test_the_longest_stale_flag_comes_first(ask: Callable[..., Any], rollouts: Rollouts) -> None:
    times = {"new": "2026-02-01T00:00:00Z", "old": "2025-02-01T00:00:00Z", "unknown": "soon"}
    add(rollouts, "clean_up", *(row(key, reasons={"disabled": at}) for key, at in times.items()))
    assert [row["key"] for row in ask("/stale")["lists"][0]["rows"]] == ["old", "new", "unknown"]


def test_only_the_latest_run_of_a_dag_counts(ask: Callable[..., Any], rollouts: Rollouts) -> None:
    """The latest run has one mapped task fewer, so the third list of the run before is out of date."""
    for index in range(3):
        add(rollouts, "clean_up", row(f"january-{index}"), run_id="january", map_index=index)
    for index in range(2):
        add(rollouts, "clean_up", row(f"february-{index}"), run_id="february", map_index=index)
    add(rollouts, "clean_up", row("experiments"), run_id="january", task_id="stale_experiments")
    add(rollouts, "other", row("other"))
    found = [[row["key"] for row in listed["rows"]] for listed in ask("/stale")["lists"]]
    assert sorted(found) == [["experiments"], ["february-0"], ["february-1"], ["other"]]


def test_a_run_that_has_not_listed_yet_leaves_the_list_before(ask: Callable[..., Any], rollouts: Rollouts) -> None:
    add(rollouts, "clean_up", row(), run_id="january")
    rollouts.add_xcoms("clean_up", "february", "stale", {"amplitude_experiment_url": "https://app.amplitude.com"})
    assert [listed["run_id"] for listed in ask("/stale")["lists"]] == ["january"]


def test_a_list_in_a_file_has_only_its_count(ask: Callable[..., Any], rollouts: Rollouts) -> None:
    result = {"path": "s3://me:secret@audit/stale.jsonl", "count": 4200}
    rollouts.add_xcoms("clean_up", "run", "stale", {STALE_XCOM: LISTED, "return_value": result})
    (listed,) = ask("/stale")["lists"]
    assert (listed["count"], listed["rows"]) == (4200, None)
    assert "secret" not in str(listed)


def test_a_task_that_keeps_no_result_shows_no_empty_list(ask: Callable[..., Any], rollouts: Rollouts) -> None:
    rollouts.add_xcoms("clean_up", "run", "stale", {STALE_XCOM: LISTED})
    (listed,) = ask("/stale")["lists"]
    assert (listed["count"], listed["rows"]) == (None, None)


@pytest.mark.parametrize("result", ["rows", [1, None], [{}], 7])
def test_a_result_of_another_kind_does_no_harm(ask: Callable[..., Any], rollouts: Rollouts, result: Any) -> None:
    rollouts.add_xcoms("clean_up", "run", "stale", {STALE_XCOM: LISTED, "return_value": result})
    rollouts.add_xcoms("other", "run", "stale", {STALE_XCOM: ["another version"], "return_value": [row()]})
    assert all(listed["rows"] == [] for listed in ask("/stale")["lists"])


def test_a_viewer_sees_the_lists_of_readable_dags_and_connections(
    ask: Callable[..., Any], rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_ampexp.ui import _api as api

    add(rollouts, "ours", row("ours"))
    add(rollouts, "of_others", row("of-others"))
    add(rollouts, "of_another_connection", row("hidden"), listed={"amplitude_conn_id": "secret"})
    monkeypatch.setattr(api, "_readable_dags", lambda user: {"ours", "of_another_connection"})
    monkeypatch.setattr(api, "_may_read", lambda user, connection_id: connection_id != "secret")
    assert [listed["dag_id"] for listed in ask("/stale")["lists"]] == ["ours"]


def test_a_viewer_without_the_right_sees_none(page: Page, rollouts: Rollouts) -> None:
    add(rollouts, "clean_up", row())
    assert page.get("/stale", headers=login("viewer")).status_code == 403
    assert page.get("/stale").status_code == 401


def test_what_a_flag_says_does_no_harm() -> None:
    odd = row(EVIL, name=EVIL * 100, url="javascript:alert(1)", kind="scripts", id=["7"], reasons="none", tags=None)
    shown = stale_row({**odd, "depended_on_by": [EVIL] * 500, "created_by": None})
    assert shown is not None
    assert (shown["url"], shown["kind"], shown["reasons"], shown["since"]) == ("", "flags", [], None)
    assert (len(shown["depended_on_by"]), len(shown["name"])) == (20, 200)
    assert shown["created_by"] == ""
