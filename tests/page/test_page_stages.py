"""The stages of the plan as the detail shows them, with the guardrails' verdicts at each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.page.samples import HOUR, MONDAY, NOW, PLAN, STATE, detail, task

CHECKED = replace(PLAN, checked=True, check_every="4h")


def check(hours: int, stage: int, verdict: str, why: str, name: str = "errors") -> dict[str, Any]:
    at = (MONDAY + hours * HOUR).isoformat()
    return {"at": at, "what": "check", "stage": stage, "name": name, "verdict": verdict, "why": why}


CHECKS = (
    check(4, 1, "pass", "1 % fail"),
    check(8, 1, "inconclusive", "too few"),
    check(12, 1, "pass", "1.1 % fail"),
    check(14, 5, "pass", "1.2 % fail"),
    check(14, 5, "pass", "120 ms", "latency"),
)


def stages(**changes: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = detail(task(plan=CHECKED, **changes))["rollout"]["plan"]
    return told


def test_each_stage_has_the_verdicts_of_its_guardrails() -> None:
    first, second, third, last = stages(record=(*STATE.record, *CHECKS))
    assert [stage["state"] for stage in (first, second, third, last)] == ["passed", "present", "ahead", "ahead"]
    (errors,) = first["verdicts"]
    assert (errors["name"], errors["verdict"], errors["why"]) == ("errors", "pass", "1.1 % fail")
    assert (errors["passes"], errors["checks"]) == (2, 3)
    assert [verdict["name"] for verdict in second["verdicts"]] == ["errors", "latency"]
    assert third["verdicts"] == []


def test_the_present_stage_tells_when_the_guardrails_are_asked_next() -> None:
    first, second, *_ = stages(rollout_state=replace(STATE, checked_at=MONDAY + 14 * HOUR))
    assert second["next_check"] == (MONDAY + 18 * HOUR).isoformat()
    assert first["next_check"] is None


def test_after_a_rollback_the_stage_that_failed_has_the_verdict() -> None:
    back = {"at": NOW.isoformat(), "what": "rollback", "from": 5, "to": 0, "why": "errors (fail)"}
    record = (*STATE.record, *CHECKS, check(15, 5, "fail", "9 % fail"), back)
    first, second, third, _ = stages(state="failed", rollout_state=None, record=record)
    assert [stage["state"] for stage in (first, second, third)] == ["passed", "failed", "not reached"]
    assert (second["note"], second["verdicts"][0]["verdict"]) == ("rolled back from here", "fail")
    unconfirmed = {"at": NOW.isoformat(), "what": "error", "why": "ROLLBACK NOT CONFIRMED. ..."}
    assert (
        stages(state="failed", rollout_state=None, record=(*STATE.record, unconfirmed))[1]["note"]
        == "rollback not confirmed"
    )


def test_all_stages_of_a_rollout_that_is_done_passed_wherever_the_flag_is_by_now() -> None:
    raised = {"at": NOW.isoformat(), "what": "raise", "from": 25, "to": 100}
    told = stages(state="success", run_state="success", rollout_state=None, record=(*STATE.record, raised))
    assert {stage["state"] for stage in told} == {"passed"}
