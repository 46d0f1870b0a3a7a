"""Rollbacks in real tasks: their targets, their confirmation, and the error without a confirmation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow_runs import Run
from ramps import PLAN, RETRIED, Failures, Soaks, exposures, flag, history, told, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

Runner = Callable[..., Run]


def errors(moment: CheckContext) -> CheckResult:
    return CheckResult("fail" if moment.percentage >= 25 else "pass", "9 % of the requests fail", 0.09)


def test_every_target_is_confirmed_and_no_retry_follows(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    targets: dict[str, tuple[Any, str, list[int]]] = {
        "start": ("start", "to 3 %", [3, 5, 25, 3]),
        "previous": ("previous", "to 5 %", [3, 5, 25, 5]),
        "percentage": (2, "to 2 %", [3, 5, 25, 2]),
        "off": ("off", "to 0 % (disabled)", [3, 5, 25, 0]),
        "hold": ("hold", "", [3, 5, 25]),
        "higher": (80, "", [3, 5, 25]),
    }
    ids = {key: flag(emulator, key, enabled=True, rolloutPercentage=3) for key in targets}
    broken = Failures()
    plan: dict[str, Any] = {**PLAN, "stages": [5, 25, 100], "guardrails": [errors]}
    with DAG(dag_id, default_args={**RETRIED, "trigger_rule": "all_done", **broken.callback}) as dag:
        chain(
            *[
                AmplitudeRampRolloutOperator(task_id=key, flag_key=key, rollback=to, **plan)
                for key, (to, *_) in targets.items()
            ]
        )
    ran = run(dag)

    assert ran.states == dict.fromkeys(targets, "failed")
    assert ran.tries == dict.fromkeys(targets, 1)
    for key, (_, shown, wanted) in targets.items():
        assert history(emulator, ids[key]) == [(3, "Seed"), *[(percentage, "Airflow") for percentage in wanted[1:]]], (
            key
        )
        assert "errors (fail 1 of 1, value 0.09): 9 % of the requests fail" in broken.said(key)
        last = ran.xcom(key, key=RECORD_XCOM)[-1]
        if shown:
            assert f"from 25 % {shown}, and confirmed it by reading" in broken.said(key)
            assert (last["what"], last["from"], last["to"]) == ("rollback", 25, wanted[-1])
        else:
            assert "It was left at 25 %: users still get it" in broken.said(key)
            assert (last["what"], last["stage"]) == ("hold", 25)
            assert datetime.fromisoformat(last["at"])
    # Each write is read back, because a response of OK does not show that it was applied.
    for flag_id in ids.values():
        log = [entry for entry in emulator.request_log() if not entry["path"].endswith("/cohorts")]
        asked = [entry["method"] for entry in log if entry["path"].startswith(f"/api/1/flags/{flag_id}")]
        assert asked[-1] == "GET"
    assert emulator.flag(ids["off"])["enabled"] is False


def test_back_to_a_flag_that_was_off_at_a_higher_percentage(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    """The flag is disabled again, and not at 80 %, because a person may enable it at that time."""
    flag_id = flag(emulator, rolloutPercentage=80)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[errors], **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    configs = [version["flagConfig"] for version in reversed(emulator.versions("flags", flag_id))]
    assert [(config["rolloutPercentage"], config["enabled"]) for config in configs] == [
        (80, False),
        (1, False),
        (1, True),
        (25, True),
        (25, False),
    ]


def test_who_lowers_it_further_at_that_moment_has_the_last_word(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator, enabled=True, rolloutPercentage=5)
    broken, lines = Failures(), told(monkeypatch)

    def maria_is_quick() -> None:
        emulator.edit_before_write("flags", flag_id, by="Maria", rolloutPercentage=2)
        soaks.end()

    soaks.will(None, maria_is_quick)
    with DAG(dag_id) as dag:
        plan: dict[str, Any] = {**PLAN, "stages": [5, 25, 100], "rollback": "previous", "guardrails": [errors]}
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **broken.callback, **plan)
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert history(emulator, flag_id)[-1] == (2, "Airflow")
    assert "Rolled back flag 'search' from 25 % to 2 %, and confirmed it by reading" in broken.said("ramp")
    note = "Maria lowered it further, to 2 %, during the rollback; that was restored."
    assert note in lines
    *_, log_warnings, last = ran.xcom("ramp", key=RECORD_XCOM)
    assert (log_warnings["what"], log_warnings["why"]) == ("note", note)
    assert (last["what"], last["to"]) == ("rollback", 2)


def test_of_a_segment(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    def segments(beta: int) -> list[dict[str, Any]]:
        same = {
            "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
            "rolloutWeights": {"on": 1},
            "bucketingKey": "user_id",
        }
        return [{"name": "Staff", "percentage": 100, **same}, {"name": "Beta", "percentage": beta, **same}]

    def create(key: str) -> str:
        return flag(emulator, key, enabled=True, rolloutPercentage=7, targetSegments=segments(0))

    to_start, off = create("to_start"), create("off")
    plan: dict[str, Any] = {**PLAN, "segment": "Beta", "guardrails": [errors]}
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="to_start", flag_key="to_start", **plan)
        AmplitudeRampRolloutOperator(task_id="off", flag_key="off", rollback="off", **plan)
    ran = run(dag)

    assert ran.states == {"to_start": "failed", "off": "failed"}
    seen = [version["flagConfig"]["targetSegments"] for version in reversed(emulator.versions("flags", to_start))]
    assert seen == [segments(percentage) for percentage in (0, 1, 25, 0)]
    kept = emulator.flag(to_start)
    assert (kept["enabled"], kept["rolloutPercentage"]) == (True, 7)
    disabled = emulator.flag(off)  # the rollback of Amplitude's own app disables the whole flag
    assert (disabled["enabled"], disabled["targetSegments"]) == (False, segments(0))


def test_one_that_waits_for_an_approval_says_what_users_still_get(
    run: Runner, impatient: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(impatient, enabled=True, rolloutPercentage=1)
    broken = Failures()

    def approvals() -> None:
        impatient.hold("percentages")
        soaks.end()

    soaks.will(None, approvals)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", guardrails=[errors], **RETRIED, **broken.callback, **PLAN
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert exposures(impatient, flag_id) == [1, 25]
    said = broken.said("ramp")
    assert "ROLLBACK NOT CONFIRMED" in said
    assert "9 % of the requests fail" in said
    assert "(from 25 % to 1 %)" in said
    assert "USERS PROBABLY STILL GET IT at 25 %. Check the flag in Amplitude now" in said
    assert "waits for approval" in said
    assert len(impatient.pending()) == 1
    record = ran.xcom("ramp", key=RECORD_XCOM)
    assert [line["what"] for line in record] == ["check", "raise", "check", "error"]
    assert "ROLLBACK NOT CONFIRMED" in record[-1]["why"]


def test_one_that_amplitude_does_not_answer_is_finished_by_the_retry(
    run: Runner, impatient: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(impatient, enabled=True, rolloutPercentage=1)
    soaks, said = Soaks(impatient, monkeypatch), []

    def outage() -> None:
        impatient.fault("status", status=503, route="PATCH /api/1/flags/{id}")
        soaks.end()

    soaks.will(None, outage)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[errors],
            on_retry_callback=lambda context: said.append(str(context["exception"])),
            rollback=0,
            **RETRIED,
            **PLAN,
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 2})
    assert len(said) == 1
    assert "ROLLBACK NOT CONFIRMED" in said[0]
    assert "USERS PROBABLY STILL GET IT at 25 %" in said[0]
    assert exposures(impatient, flag_id) == [1, 25, 0]
    assert writes(impatient) == 3
