"""The phase of a rollout: its word, colour, reason, start and next step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_ampexp.rollout import ChangeWindow, GuardrailPolicy
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.ui._phase import Reason, RolloutPhase
from tests.page.samples import HOUR, MONDAY, NOW, PLAN, STATE, VERSIONS, detail, flag, shown, task, version

SOAKED = MONDAY + 25 * HOUR
COLOURS = {
    "progressing": "blue",
    "waiting for approval": "violet",
    "paused": "gray",
    "held": "orange",
    "degraded": "red",
    "rolled back": "rose",
    "done": "green",
}


def status(verdict: str, *, effect: str = "rollback", limit: int = 3) -> GuardrailStatus:
    policy = GuardrailPolicy(effect, failure_limit=limit)  # type: ignore[arg-type]
    return GuardrailStatus("errors", policy).with_result(verdict, "4 % of requests fail", 4.0, NOW)  # type: ignore[arg-type]


def judged(verdict: str, **more: Any) -> RolloutState:
    return STATE.after_checks([status(verdict, **more)], NOW)


def line(what: str, **more: Any) -> dict[str, Any]:
    return {"at": NOW.isoformat(), "what": what, **more}


def test_each_phase_has_one_word_and_one_colour() -> None:
    assert {phase.value: phase.colour for phase in RolloutPhase} == COLOURS
    assert {reason.phase for reason in Reason} == set(RolloutPhase)


@pytest.mark.parametrize(
    ("changes", "config", "now", "phase", "reason", "since"),
    [
        ({}, {}, NOW, "progressing", "soaking", MONDAY + 12 * HOUR),
        ({"state": "running", "rollout_state": None}, {}, NOW, "progressing", "working", None),
        (
            {"plan": replace(PLAN, window=ChangeWindow("Wed", "09:00", "17:00", "UTC"))},
            {},
            SOAKED,
            "progressing",
            "window",
            MONDAY + 12 * HOUR,
        ),
        ({"plan": replace(PLAN, checked=True)}, {}, SOAKED, "progressing", "checking", MONDAY + 12 * HOUR),
        (
            {
                "plan": replace(PLAN, approval=ApprovalPolicy(25)),
                "rollout_state": replace(STATE, asked_at=NOW),
            },
            {},
            SOAKED,
            "waiting for approval",
            "approval",
            NOW,
        ),
        ({"is_paused": True}, {}, NOW, "paused", "paused", None),
        ({}, {"tags": ["rollout-hold"]}, SOAKED, "held", "tag", None),
        ({}, {"tags": ["rollout-hold"]}, NOW, "held", "tag", None),  # also during a soak
        (
            {"plan": replace(PLAN, checked=True), "rollout_state": judged("fail", effect="hold", limit=1)},
            {},
            NOW,
            "held",
            "guardrail",
            NOW,
        ),
        ({"plan": replace(PLAN, checked=True), "rollout_state": judged("fail")}, {}, NOW, "degraded", "failing", NOW),
        (
            {"plan": replace(PLAN, checked=True), "rollout_state": judged("pass")},
            {},
            NOW,
            "progressing",
            "soaking",
            None,
        ),
        ({}, {"rolloutPercentage": 7}, NOW, "degraded", "stopping", None),
        ({"rollout_state": replace(STATE, rollback_reason="errors (fail)")}, {}, NOW, "degraded", "rolling back", None),
        ({"state": "up_for_retry", "rollout_state": None, "ended": NOW}, {}, NOW, "degraded", "retrying", NOW),
        ({"is_triggerer_alive": False}, {}, NOW, "degraded", "triggerer", None),
        ({"until": NOW - HOUR}, {}, NOW, "degraded", "overdue", NOW - HOUR),
        ({}, {"rolloutPercentage": None}, NOW, "degraded", "unreadable", None),
    ],
)
def test_the_phase_while_it_goes_on(
    changes: dict[str, Any], config: dict[str, Any], now: Any, phase: str, reason: str, since: Any
) -> None:
    known = {"until": MONDAY + 26 * HOUR, **changes}
    told = shown(task(**known), config=flag() | config, now=now)
    assert (told["phase"], told["reason"]) == (phase, reason)
    assert told["colour"] == COLOURS[phase]
    assert told["is_over"] is False
    assert told["label"]
    if since is not None:
        assert told["since"] == since.isoformat()
    assert told["when"] or told["next_step"] or reason in ("working", "soaking")


@pytest.mark.parametrize(
    ("ending", "state", "phase", "reason"),
    [
        (line("rollback", **{"from": 5, "to": 0}, why="errors (fail)"), "failed", "rolled back", "rolled back"),
        (
            line("rollback", **{"from": 5, "to": 0}, why="errors", still_through=["segment 'Beta' at 100 %"]),
            "failed",
            "degraded",
            "still exposed",
        ),
        (line("hold", stage=5, why="errors (fail)"), "failed", "degraded", "not lowered"),
        (line("stop", cause="drift", why="Maria changed it"), "failed", "degraded", "stopped"),
        (line("stop", cause="rejected", why="Maria rejected 25 %"), "skipped", "degraded", "stopped"),
        (line("stop", cause="rolled back", why="lowered before"), "failed", "rolled back", "rolled back"),
        (line("error", why="ROLLBACK NOT CONFIRMED. Look at it now."), "failed", "degraded", "unconfirmed"),
        (line("error", why="no answer within 30 s"), "failed", "degraded", "stopped"),
        (None, "failed", "degraded", "stopped"),
        (None, "success", "done", "done"),
    ],
)
def test_the_phase_after_its_end(ending: dict[str, Any] | None, state: str, phase: str, reason: str) -> None:
    to_the_end = line("raise", **{"from": 25, "to": 100})
    record = (*STATE.record, ending or to_the_end)
    told = shown(task(state=state, run_state=state, rollout_state=None, ended=NOW, record=record), config=flag(100))
    assert (told["phase"], told["reason"], told["is_over"]) == (phase, reason, True)
    assert told["since"] == NOW.isoformat()
    assert told["why"].startswith(ending["why"] if ending else ("the last stage", "its task ended"))
    assert (told["next"], told["when"]) == (None, None)
    assert told["next_step"]


def test_a_ways_in_that_a_rollback_left_open_is_named() -> None:
    back = line("rollback", **{"from": 5, "to": 0}, why="errors (fail)", still_through=["segment 'Beta' at 100 %"])
    told = shown(task(state="failed", rollout_state=None, record=(*STATE.record, back)))
    assert told["why"] == "errors (fail); users still get the feature through segment 'Beta' at 100 %"


def test_a_task_that_is_marked_as_success_at_5_percent_is_not_done() -> None:
    told = shown(task(state="success", run_state="success", rollout_state=None, ended=NOW))
    assert (told["phase"], told["reason"]) == ("degraded", "stopped")
    assert told["why"] == "its task ended with success at 5 %, before the last stage"


@pytest.mark.parametrize("tag", ["rollout-hold", " Rollout-Hold"])
def test_a_hold_by_a_tag_tells_since_when_as_the_history_does(tag: str) -> None:
    versions = [*VERSIONS, version(4, NOW - HOUR, "Maria", **flag(tags=[tag]))]
    told = detail(task(rollout_state=replace(STATE, version=4)), versions=versions)["rollout"]
    assert (told["phase"], told["since"]) == ("held", (NOW - HOUR).isoformat())
    assert told["next_step"] == "nothing is raised until a person removes the tag rollout-hold"


def test_a_guardrail_that_fails_is_degraded_since_its_first_fail_in_a_row() -> None:
    rollout_state = STATE
    streak = status("pass", limit=9)
    for hours, verdict in enumerate(("fail", "pass", "fail", "fail")):
        at = NOW - (4 - hours) * HOUR
        streak = streak.with_result(verdict, "4 %", 4.0, at)  # type: ignore[arg-type]
        rollout_state = rollout_state.after_checks([streak], at)
    told = shown(task(plan=replace(PLAN, checked=True), rollout_state=rollout_state))
    assert (told["reason"], told["since"]) == ("failing", (NOW - 2 * HOUR).isoformat())
    assert "errors (fail 2 of 9" in told["why"]


def test_the_rollback_task_of_a_group_is_not_progress() -> None:
    failed = task(task_id="stage_5", plan=replace(PLAN, only=5), state="failed", rollout_state=None, record=())
    between = shown(failed)
    assert (between["phase"], between["reason"]) == ("degraded", "rolling back")
    back = task(task_id="rollback", state="running", rollout_state=None, record=(), began=MONDAY + HOUR)
    assert shown(failed, back)["reason"] == "rolling back"
    confirmed = replace(back, state="success", record=(line("confirmed", why="rolled back already"),))
    assert shown(failed, confirmed)["phase"] == "rolled back"
    left = replace(back, state="skipped", record=(line("left", why="Maria changed it meanwhile"),))
    assert (shown(failed, left)["phase"], shown(failed, left)["why"]) == ("degraded", "Maria changed it meanwhile")


def test_where_the_next_stage_waits_for_a_person_no_time_is_told() -> None:
    waiting = task(plan=replace(PLAN, approval=ApprovalPolicy(25)), rollout_state=replace(STATE, asked_at=NOW))
    told = shown(waiting, now=SOAKED)
    assert (told["next"], told["when"]) == (25, None)


def test_the_time_at_a_stage_is_told_apart_from_the_time_in_a_phase() -> None:
    told = shown(task(until=NOW - timedelta(hours=2)))
    assert (told["stands_since"], told["since"]) == ((MONDAY + 12 * HOUR).isoformat(), (NOW - 2 * HOUR).isoformat())


def test_why_it_soaks_is_told_in_full() -> None:
    assert shown(task())["why"] == "5 % soaks for 12 hours, until 2026-03-03 10:00 UTC"
