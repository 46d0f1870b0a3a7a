"""The state of a rollout on the page, from tasks, a flag and its versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_ampexp.client.types import FlagConfig
from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.ui._airflow_queries import lines_of
from airflow_provider_ampexp.ui._rollout_tasks import Rollout, latest, rollouts_by_flag
from airflow_provider_ampexp.ui._serializers import flag_detail, list_item
from tests.page.samples import HOUR, MONDAY, NOW, PLAN, STATE, VERSIONS, detail, flag, shown, task, version


def test_it_soaks() -> None:
    told = shown(task())
    assert (told["stage"], told["stages"], told["next"], told["reason"]) == (2, 4, 25, "soaking")
    assert told["stands_since"] == (MONDAY + 12 * HOUR).isoformat()
    assert told["when"] == (MONDAY + 24 * HOUR).isoformat()


def test_the_list_and_the_detail_agree() -> None:
    in_full = detail(task())["rollout"]
    assert shown(task()).items() <= in_full.items()
    assert in_full.keys() - shown(task()).keys() == {"plan", "manual_actions", "ahead", "end"}


@pytest.mark.parametrize(
    ("plan", "config", "rollout_state", "reason", "when"),
    [
        (replace(PLAN, checked=True), {}, {}, "checking", None),
        (PLAN, {"tags": ["rollout-hold"]}, {}, "tag", None),
        (
            replace(PLAN, window=ChangeWindow("Wed", "09:00", "17:00", "UTC")),
            {},
            {},
            "window",
            datetime(2026, 3, 4, 9, tzinfo=timezone.utc),
        ),
        (replace(PLAN, approval=ApprovalPolicy(25)), {}, {"asked_at": NOW}, "approval", None),
        (PLAN, {"rolloutPercentage": 7}, {}, "stopping", None),
    ],
)
def test_why_not_now(
    plan: RolloutPlan, config: dict[str, Any], rollout_state: dict[str, Any], reason: str, when: datetime | None
) -> None:
    waiting = task(plan=plan, rollout_state=replace(STATE, **rollout_state), until=MONDAY + 26 * HOUR)
    told = shown(waiting, config=flag() | config, now=MONDAY + 25 * HOUR)
    assert (told["reason"], told["when"]) == (reason, when.isoformat() if when else None)
    assert told["why"]


@pytest.mark.parametrize(
    ("changes", "reason", "word"),
    [
        ({"is_paused": True}, "paused", "the DAG is paused"),
        ({"is_paused": True, "state": "scheduled", "rollout_state": None}, "paused", "the DAG is paused"),
        ({"is_triggerer_alive": False}, "triggerer", "no triggerer"),
        ({"until": NOW - timedelta(minutes=6)}, "overdue", "has not been resumed"),
    ],
)
def test_a_rollout_that_airflow_does_not_go_on_with_does_not_soak(
    changes: dict[str, Any], reason: str, word: str
) -> None:
    told = detail(task(**changes))["rollout"]
    assert (told["is_over"], told["reason"], told["when"]) == (False, reason, None)
    assert word in told["why"]
    assert (told["ahead"], told["end"]) == ([[25, None], [100, None]], None)


def test_a_task_that_runs_in_a_paused_dag_goes_on() -> None:
    assert shown(task(is_paused=True, state="running", rollout_state=None))["reason"] == "working"


def test_the_stage_at_which_a_rollout_stopped_was_reached_also_without_a_record() -> None:
    told = shown(task(state="failed", rollout_state=None, record=()))
    assert told["reached"] == 5


def test_while_its_task_works_nobody_knows_when() -> None:
    told = shown(task(state="running", rollout_state=None, record=()))
    assert (told["is_over"], told["reason"], told["next"], told["when"]) == (False, "working", 25, None)


def test_a_group_is_one_rollout() -> None:
    """Each stage of a group is a task. The page shows the running task, and joins the records."""
    first = task(
        task_id="stage_1", state="success", rollout_state=None, plan=replace(PLAN, only=1), record=STATE.record[:1]
    )
    second = task(task_id="stage_5", plan=replace(PLAN, only=5), began=MONDAY + HOUR, record=STATE.record[1:])
    back = task(task_id="rollback", state="skipped", rollout_state=None, record=(), began=MONDAY + 2 * HOUR)
    assert (shown(first, second)["task_id"], shown(first, second)["reason"]) == ("stage_5", "soaking")
    between = shown(first)
    assert (between["is_over"], between["reason"]) == (False, "working")
    ended = replace(second, state="success", rollout_state=None, plan=replace(PLAN, only=100), run_state="success")
    assert shown(first, ended, back, config=flag(100))["phase"] == "done"
    assert shown(first, ended, back)["task_id"] == "stage_5"


def test_after_a_rollback_it_is_told_why_and_how_far_it_came() -> None:
    back = {"at": NOW.isoformat(), "what": "rollback", "from": 5, "to": 0, "enabled": False, "why": "errors (fail)"}
    check = {"at": NOW.isoformat(), "what": "check", "stage": 5, "name": "errors", "verdict": "fail", "why": "4 %"}
    failed = task(state="failed", rollout_state=None, record=(*STATE.record, check, back))
    versions = [*VERSIONS, version(4, NOW, **flag(0, False))]
    told = detail(failed, versions=versions, now=NOW + HOUR)
    rollout = told["rollout"]
    assert (rollout["phase"], rollout["why"], rollout["reached"]) == ("rolled back", "errors (fail)", 5)
    assert (rollout["next"], rollout["ahead"], rollout["since"]) == (None, [], NOW.isoformat())
    assert [(mark["what"], mark["percentage"]) for mark in told["marks"]] == [("fail", 5), ("rollback", 5)]


def test_a_hold_of_an_older_version_has_the_time_of_its_check() -> None:
    check = {"at": NOW.isoformat(), "what": "check", "stage": 5, "name": "errors", "verdict": "fail", "why": "4 %"}
    record = lines_of([*STATE.record, check, {"at": 5, "what": "hold", "why": "errors (fail)"}])
    told = detail(task(state="failed", rollout_state=None, record=record))
    assert told["rollout"]["since"] == NOW.isoformat()
    assert [(mark["at"], mark["what"], mark["percentage"]) for mark in told["marks"]] == [
        (NOW.isoformat(), "fail", 5),
        (NOW.isoformat(), "hold", 5),
    ]


def test_a_task_that_left_no_record_is_no_mystery() -> None:
    told = shown(task(state="failed", rollout_state=None, record=()))
    assert (told["reason"], told["why"]) == ("stopped", "its task ended with the state failed; its log has the reason")


def test_the_one_under_way_is_shown_and_not_a_newer_one_that_ended() -> None:
    newer = task(run_id="newer", began=NOW, state="failed", rollout_state=None, record=())
    found = latest(rollouts_by_flag([task(), newer])[("acme", "flags", "1")])
    assert found is not None
    assert found.task.run_id == "run"


def test_rollouts_of_different_segments_are_different_rollouts() -> None:
    """In one run with one flag, the rollback of one segment does not affect the other segment."""
    went_back = (
        {"at": MONDAY.isoformat(), "what": "raise", "from": 0, "to": 1},
        {"at": (MONDAY + HOUR).isoformat(), "what": "rollback", "from": 1, "to": 0, "why": "errors"},
        {"at": (MONDAY + HOUR).isoformat(), "what": "confirmed", "from": 1, "to": 0},
    )
    went_up = ({"at": (MONDAY + HOUR / 2).isoformat(), "what": "raise", "from": 0, "to": 100},)
    ended: dict[str, Any] = {"run_state": "failed", "rollout_state": None}
    german = task(map_index=0, state="failed", plan=replace(PLAN, segment="DE"), record=went_back, **ended)
    austrian = task(map_index=1, state="success", plan=replace(PLAN, segment="AT"), record=went_up, **ended)
    for_all = task(task_id="for_all", state="success", record=(), **ended)
    segments = [{"name": "DE", "percentage": 0}, {"name": "AT", "percentage": 100}]
    config = flag(0, targetSegments=segments)
    for newest in (german, austrian, for_all):
        ramps = (german, austrian, for_all)
        tasks = [replace(ramp, began=NOW if ramp is newest else MONDAY) for ramp in ramps]
        found = rollouts_by_flag(tasks)[("acme", "flags", "1")]
        assert sorted((rollout.plan.segment or "", len(rollout.tasks)) for rollout in found) == [
            ("", 1),
            ("AT", 1),
            ("DE", 1),
        ]
        told = shown(*tasks, config=config)
        assert (told["segment"], told["reason"], told["reached"]) == ("DE", "rolled back", 1)  # it needs a person
    told = shown(austrian, replace(for_all, began=MONDAY - HOUR), config=config)
    assert (told["segment"], told["reason"], told["reached"]) == ("AT", "done", 100)
    later = replace(austrian, run_id="later", began=NOW)
    assert shown(german, later, config=config)["segment"] == "AT"


def test_the_tasks_of_a_group_for_one_segment_are_one_rollout() -> None:
    plan = replace(PLAN, segment="DE")
    stages = [task(task_id=f"stage_{only}", plan=replace(plan, only=only)) for only in (1, 5)]
    (found,) = rollouts_by_flag([*stages, task(task_id="rollback", plan=plan)])[("acme", "flags", "1")]
    assert len(found.tasks) == 3


def test_the_picture() -> None:
    off = [
        version(4, NOW, "Maria", **flag(5, False)),
        version(5, NOW + HOUR / 2, "Maria", **flag(5, False, name="edited while it is off")),
        version(6, NOW + HOUR, "Maria", **flag(5)),
    ]
    (picture,) = detail(versions=VERSIONS + off, now=NOW + 2 * HOUR)["pictures"]
    assert [point["percentage"] for point in picture["points"]] == [0, 1, 5, 5, 5, 5, 5]
    assert picture["points"][-1]["at"] == (NOW + 2 * HOUR).isoformat()
    assert picture["off"] == [
        [(MONDAY - HOUR).isoformat(), MONDAY.isoformat()],
        [NOW.isoformat(), (NOW + HOUR).isoformat()],
    ]
    assert [(step["by"], step["from"], step["to"]) for step in picture["steps"]][-2:] == [
        ("Maria", "5 %", "5 % (disabled)"),
        ("Maria", "5 % (disabled)", "5 %"),
    ]


def test_each_segment_has_a_picture_of_its_own() -> None:
    beta = [{"name": "Beta", "percentage": 40}]
    versions = [version(1, MONDAY, **flag(0, targetSegments=beta))]
    pictures = detail(versions=versions)["pictures"]
    assert [(picture["segment"], picture["points"][0]["percentage"]) for picture in pictures] == [
        (None, 0),
        ("Beta", 40),
    ]


@pytest.mark.parametrize("unnamed", [{}, {"name": None}, {"name": ""}], ids=str)
def test_a_segment_without_a_name_is_shown(unnamed: dict[str, Any]) -> None:
    """The segment's users get the feature, too. The history identifies segments by name, so there is no chart."""
    segments = [{**unnamed, "percentage": 100}, {"name": "Beta", "percentage": 40}, {**unnamed, "percentage": 7}]
    config = flag(0, targetSegments=segments)
    expected = [
        {"name": "(no name)", "percentage": 100},
        {"name": "Beta", "percentage": 40},
        {"name": "(no name)", "percentage": 7},
    ]
    assert list_item("flags", FlagConfig(**config), "", [], NOW)["segments"] == expected
    told = detail(versions=[version(1, MONDAY, **config)])
    assert told["segments"] == expected
    assert [picture["segment"] for picture in told["pictures"]] == [None, "Beta"]


def test_a_flag_that_shows_nothing_is_shown() -> None:
    """Each field may be missing."""
    told = flag_detail("flags", "1", [{"version": 1}], "javascript:alert(1)", [], NOW)
    assert (told["key"], told["enabled"], told["percentage"], told["url"]) == ("1", None, None, "")
    assert told["pictures"][0]["points"] == []
    bare = list_item("flags", {"id": "1"}, "", rollouts_by_flag([task()])[("acme", "flags", "1")], NOW)
    assert bare["rollout"]["why"] == "Amplitude does not show the percentage of this rollout"


def test_a_run_that_began_right_after_the_last_one_does_not_count_its_raises() -> None:
    """Airflow's start of a run counts from 5 minutes earlier. The first task stores when the rollout began."""
    ends = NOW - timedelta(seconds=10)
    last = Rollout((task(run_began=NOW, began=NOW, rollout_began=ends),))
    assert last.run_began == ends
    assert Rollout((task(run_began=NOW, began=NOW, rollout_began=None),)).run_began == NOW - timedelta(minutes=5)
    cleared = Rollout((task(run_began=NOW, began=NOW, rollout_began=NOW - timedelta(hours=1)),))
    assert cleared.run_began == NOW - timedelta(minutes=5)  # a clear of an ended run begins it again
