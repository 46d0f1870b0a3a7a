"""The responses of the page's routes for one rollout in each phase, and for one list of stale flags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_ampexp.rollout import GuardrailPolicy, RolloutPlan
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.ui._rollout_tasks import RolloutTask, rollouts_by_flag
from airflow_provider_ampexp.ui._serializers import flag_detail, list_item
from airflow_provider_ampexp.ui._stale_flags import StaleList, stale_list
from tests.page.samples import HOUR, MONDAY, NOW, PLAN, STATE, VERSIONS, flag, task, version

PHASES = ("degraded", "waiting for approval", "held", "paused", "progressing", "rolled back", "done")
THEMES = ("light", "dark")


def _tasks() -> dict[str, RolloutTask]:
    asked_once = GuardrailStatus("errors", GuardrailPolicy(failure_limit=3))
    failing = asked_once.with_result("fail", "4 % of requests fail", 4, NOW)
    failed_once = STATE.after_checks([failing], NOW)
    later = MONDAY + 26 * HOUR
    approved = replace(PLAN, approval=ApprovalPolicy(25))
    back = {"at": NOW.isoformat(), "what": "rollback", "from": 5, "to": 0, "why": "errors (fail 1 of 1): 4 % fail"}
    end = {"at": NOW.isoformat(), "what": "raise", "from": 25, "to": 100}
    ended = replace(task(), rollout_state=None, ended=NOW, until=None)
    asked = replace(STATE, asked_at=NOW)
    return {
        "degraded": task(
            plan=replace(PLAN, checked=True),
            rollout_state=failed_once,
            record=(*failed_once.record, *_comparisons()),
            until=later,
        ),
        "waiting for approval": task(task_id="approve_25", plan=approved, rollout_state=asked, until=later),
        "held": task(until=later),
        "paused": task(is_paused=True),
        "progressing": task(plan=RolloutPlan(parse_stages([1, 5, 25, 100], "1d")), until=later),
        "rolled back": replace(ended, state="failed", record=(*STATE.record, *_checks(), back)),
        "done": replace(ended, state="success", run_state="success", record=(*STATE.record, end)),
    }


def _checks() -> list[dict[str, Any]]:
    """Return the checks of two guardrails at two stages. The last one is a fail."""
    said = [
        (4, 1, "pass", "1 % of requests fail"),
        (8, 1, "inconclusive", "too few requests"),
        (12, 1, "pass", "1.1 %"),
    ]
    said += [(13, 5, "pass", "1.2 %"), (15, 5, "fail", "9 % of requests fail")]
    lines = [(hours, stage, "errors", verdict, why) for hours, stage, verdict, why in said]
    lines += [(12, 1, "latency", "pass", "110 ms"), (15, 5, "latency", "error", "no connection 'warehouse'")]
    return [
        {
            "at": (MONDAY + hours * HOUR).isoformat(),
            "what": "check",
            "stage": stage,
            "name": name,
            "verdict": verdict,
            "why": why,
        }
        for hours, stage, name, verdict, why in lines
    ]


def _comparisons() -> list[dict[str, Any]]:
    """Return the checks of two holdback guardrails at two stages.

    The intervals become narrower with each check, and one shows a harm.
    """
    lines = []
    for hours, length, stage, checks, value in ((0, 12, 1, 9, 0.004), (12, 3, 5, 3, -0.062)):
        for number in range(1, checks + 1):
            width = 0.3 / (stage * number) ** 0.5 * (1 if stage == 1 else 0.85)
            drift = value + 0.01 * (number % 3 - 1)
            fails = drift + width < 0
            at = (MONDAY + (hours + number * length / (checks + 1)) * HOUR).isoformat()
            line = {"at": at, "what": "check", "stage": stage, "name": "orders per user", "worse": "lower"}
            line |= {"verdict": "fail" if fails else "pass", "why": "", "at_most_worse": 0.02}
            lines.append({**line, "value": drift, "low": drift - width, "high": drift + width})
            lines.append(
                {**line, "name": "latency of the page", "value": 0.01, "low": -0.01, "high": 0.03, "worse": "higher"}
            )
    return lines


def _stale_list() -> dict[str, Any]:
    """Return three stale flags, as a task of the DAG ``clean_up`` listed them."""
    people = {"created_by": "Maria", "last_modified_by": "Maria", "tags": [], "depended_on_by": [], "kind": "flags"}
    rows = [
        {"id": "71", "key": "dark-mode", "name": "Dark mode", "reasons": {"at 100 %": "2025-11-20T09:00:00Z"}},
        {"id": "72", "key": "old-search", "reasons": {"disabled": "2025-08-12T09:00:00Z"}, "created_by": ""},
        {"id": "73", "key": "tour", "reasons": {"decided": "2025-12-01T09:00:00Z"}, "kind": "experiments"},
    ]
    rows[1]["reasons"] |= {"no deployment": "2025-06-01T09:00:00Z"}  # type: ignore[operator]
    rows[1] |= {"depended_on_by": ["flag 'search-box'"], "last_modified_by": "Olga"}
    listed = [{**people, "url": "https://app.amplitude.com/experiment/1/config/7", **row} for row in rows]
    return stale_list(StaleList("clean_up", "scheduled__2026-03-02", "stale", -1, MONDAY, "acme", 60, listed))


def answers() -> dict[str, Any]:
    now = MONDAY + 25 * HOUR
    used = {
        "used": {"lists": 1, "histories": 1, "others": 0},
        "used_since": now.isoformat(),
        "read_at": now.isoformat(),
        "now": now.isoformat(),
        "kept_for": 30,
    }
    found: dict[str, Any] = {"/connections": {"connections": ["acme"]}}
    compared: dict[str, Any] = {"changes": []}
    lines = []
    for number, (phase, of_phase) in enumerate(_tasks().items(), 1):
        tags = ["rollout-hold"] if phase == "held" else []
        percentage = {"rolled back": 0, "done": 100}.get(phase, 5)
        config = flag(percentage, id=str(number), key=phase.replace(" ", "-"), tags=tags)
        config |= {"lastModifiedAt": NOW.isoformat(), "lastModifiedBy": "Airflow"}
        versions = [*VERSIONS, version(4, NOW, **config)]
        rollouts = rollouts_by_flag([replace(of_phase, flag_id=str(number))])[("acme", "flags", str(number))]
        lines.append(list_item("flags", config, "", rollouts, now))  # type: ignore[arg-type]
        found[f"/connections/acme/flags/{number}"] = {
            **used,
            **flag_detail("flags", str(number), versions, "", rollouts, now),
        }
        found[f"/connections/acme/flags/{number}/compare"] = compared
    stale: dict[str, Any] = {"lists": [_stale_list()], "now": now.isoformat()}
    return {**found, "/connections/acme/flags": {"flags": lines, **used}, "/stale": stale}


def without_rollouts(connections: list[str]) -> dict[str, Any]:
    """Return the responses of an Airflow without a rollout."""
    found = answers()
    told = found["/connections/acme/flags"]
    told["flags"] = [{**line, "rollout": None} for line in told["flags"]]
    found["/connections/acme/flags/1"]["rollout"] = None
    return {**found, "/connections": {"connections": connections}}
