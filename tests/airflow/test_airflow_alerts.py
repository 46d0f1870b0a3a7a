"""Alerts in real tasks: each event calls its notifiers once, after the change of the flag."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, BaseNotifier
from airflow_runs import Run
from ramps import HAS_TASK_STATE, PLAN, RETRIED, Deaths, Soaks, exposures, flag

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CallableGuardrail, CheckContext, CheckResult
from airflow_provider_ampexp.operators._rollout import alerts
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]
TWO: dict[str, Any] = {**PLAN, "stages": [1, 25], "flag_key": "search"}
SENT: list[tuple[str, str]] = []
GIVEN: list[dict[str, Any]] = []


class Recorder(BaseNotifier):
    """A notifier that records its messages. Its text is a template, as for Slack and PagerDuty."""

    template_fields = ("text",)

    def __init__(self, text: str = "{{ rollout.why }}") -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        SENT.append((context["rollout"]["event"], self.text))
        GIVEN.append(context["rollout"])


def all_events(notifier: object) -> dict[str, Any]:
    return dict.fromkeys(("on_rollback", "on_abort", "on_hold", "on_approval_needed"), notifier)


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    SENT.clear()
    GIVEN.clear()


def fails(moment: CheckContext) -> CheckResult:
    return CheckResult("pass" if moment.is_preflight else "fail", "9 % of the requests fail", 0.09)


def events() -> list[str]:
    return [event for event, _ in SENT]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "on_" in record.getMessage()]


def test_a_rollback_is_told_once_with_what_happened(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag(emulator)
    with DAG(dag_id, default_args=RETRIED) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], **TWO, **all_events(Recorder()))
    ran = run(dag)
    assert ran.states == {"ramp": "failed"}
    assert SENT == [("rollback", "fails (fail 1 of 1, value 0.09): 9 % of the requests fail")]
    (given,) = GIVEN
    told = {name: given[name] for name in ("kind", "key", "percentage", "from_percentage", "to_percentage")}
    assert told == {"kind": "flag", "key": "search", "percentage": 0, "from_percentage": 1, "to_percentage": 0}
    assert given["confirmed"] is True
    assert given["text"].startswith("Rolled back flag 'search' from 1 % to 0 % (disabled), and confirmed it by reading")


def test_a_rollback_that_is_not_confirmed_is_told_and_its_retry_does_not_tell_it_again(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator)
    lower, tries = ManagedFlag.roll_back_to, []

    def unanswered(managed: ManagedFlag, *them: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("nobody answers")
        lower(managed, *them)

    monkeypatch.setattr(ManagedFlag, "roll_back_to", unanswered)
    with DAG(dag_id, default_args=RETRIED) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], **TWO, **all_events(Recorder()))
    ran = run(dag)
    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 2})
    assert exposures(emulator, flag_id) == [0, 1, 0]
    assert events() == ["rollback"] * (1 if HAS_TASK_STATE else 2)
    assert GIVEN[0]["confirmed"] is False
    assert "ROLLBACK NOT CONFIRMED" in GIVEN[0]["text"]


def test_the_rollback_of_a_group_that_only_confirms_tells_nothing_again(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag(emulator)
    with DAG(dag_id) as dag:
        staged_rollout(guardrails=[fails], **TWO, **all_events(Recorder()))
    ran = run(dag)
    assert ran.states["rollout.rollback"] == "success"
    assert events() == ["rollback"]


def test_the_rollback_of_a_group_tells_what_its_stage_could_not(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths
) -> None:
    """The stage dies when it resumes, and has no retries. The teardown lowers the flag."""
    flag_id = flag(emulator)

    def killed() -> None:
        soaks.end()
        deaths.at(1, done=False)

    soaks.will(killed)
    with DAG(dag_id) as dag:
        staged_rollout(**TWO, **all_events(Recorder()))
    run(dag)
    assert exposures(emulator, flag_id) == [0, 1, 0]
    assert events() == ["rollback"]
    assert GIVEN[0]["confirmed"] is True


def test_the_rollback_of_a_group_that_cannot_reach_amplitude_tells_that_it_is_undone(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage dies when it resumes, and has no retries. Then Amplitude has an outage."""
    flag_id = flag(emulator)

    def unreachable(*them: Any) -> None:
        raise ConnectionError("no way to Amplitude")

    def killed() -> None:
        soaks.end()
        monkeypatch.setattr(ManagedFlag, "find", unreachable)
        deaths.at(1, done=False)

    soaks.will(killed)
    with DAG(dag_id, default_args={"retries": 0}) as dag:
        staged_rollout(**TWO, **all_events(Recorder()))
    run(dag)
    assert exposures(emulator, flag_id) == [0, 1]
    assert events() == ["rollback"]
    assert GIVEN[0]["confirmed"] is False
    assert "stage_1" in GIVEN[0]["why"]


def test_a_rollout_that_stops_for_a_person_tells_it_once_also_in_a_group(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator)
    soaks.will(lambda: emulator.edit("flags", flag_id, by="Maria", rolloutPercentage=50))
    with DAG(dag_id) as dag:
        staged_rollout(**TWO, **all_events(Recorder()))
    ran = run(dag)
    assert ran.states["rollout.rollback"] == "skipped"
    assert events() == ["abort"]
    assert GIVEN[0]["cause"] == "drift"
    assert "Maria" in SENT[0][1]


def test_guardrails_that_hold_tell_it_once_a_hold(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag(emulator)
    answers = iter([False, False, True, False, True, True])
    guardrail = CallableGuardrail(
        lambda moment: True if moment.is_preflight else next(answers, True), name="load", effect="hold"
    )
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            guardrails=[guardrail],
            check_every="10m",
            **{**TWO, "stages": [1, 25]},
            **all_events(Recorder()),
        )
    assert run(dag).succeeded
    assert events() == ["hold", "hold"]
    assert {given["cause"] for given in GIVEN} == {"guardrails"}


def test_a_person_who_holds_it_by_the_tag_is_told_once_a_hold(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator, tags=["rollout-hold"])

    def tagged(*tags: str) -> Callable[[], object]:
        return lambda: emulator.edit("flags", flag_id, by="Maria", tags=list(tags))

    again = tagged("rollout-hold")

    def during_the_soak() -> None:
        again()
        soaks.end()

    soaks.will(None, tagged(), during_the_soak, None, tagged())
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", **TWO, **all_events(Recorder()))
    assert run(dag).succeeded
    assert events() == ["hold", "hold"]
    assert {given["cause"] for given in GIVEN} == {"tag"}


@pytest.mark.usefixtures("people", "soaks")
def test_an_approval_that_is_asked_for_is_told_with_where_to_answer(
    run: Runner, emulator: Emulator, dag_id: str
) -> None:
    flag(emulator)
    with DAG(dag_id) as dag:
        plan: dict[str, Any] = {**TWO, "approve_before": [25], "approval_timeout": "1h", "on_no_answer": "hold"}
        staged_rollout(**plan, **all_events(Recorder()))
    ran = run(dag)
    assert ran.states["rollout.approve_25"] == "skipped"
    assert events() == ["approval_needed", "abort"]
    asked = GIVEN[0]
    assert asked["stage"] == 25
    assert asked["approve_url"].endswith(
        f"/dags/{dag_id}/runs/{ran._run.run_id.replace(':', '%3A').replace('+', '%2B')}"
        "/tasks/rollout.approve_25/required_actions"
    )


def test_a_kill_between_the_rollback_and_its_alert_loses_no_alert(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator)
    send, kills = alerts.Alerts.send, [1]

    def killed(them: alerts.Alerts, *told: Any, **more: Any) -> None:
        if kills:
            kills.pop()
            raise SystemExit("killed")
        send(them, *told, **more)

    monkeypatch.setattr(alerts.Alerts, "send", killed)
    with DAG(dag_id, default_args=RETRIED) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], **TWO, **all_events(Recorder()))
    ran = run(dag)
    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 2})
    assert exposures(emulator, flag_id) == [0, 1, 0]
    assert events() == ["rollback"]


@pytest.mark.skipif(not HAS_TASK_STATE, reason="Airflow 3.3 keeps what was told over a retry")
def test_a_kill_after_the_alert_does_not_tell_it_again(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(emulator)
    send, kills = alerts.Alerts.send, [1]

    def killed(them: alerts.Alerts, *told: Any, **more: Any) -> None:
        send(them, *told, **more)
        if kills:
            kills.pop()
            raise SystemExit("killed")

    monkeypatch.setattr(alerts.Alerts, "send", killed)
    with DAG(dag_id, default_args=RETRIED) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], **TWO, **all_events(Recorder()))
    assert run(dag).tries == {"ramp": 2}
    assert events() == ["rollback"]


def test_a_retry_that_cannot_reach_amplitude_tells_of_the_rollback_that_was_left_undone(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not HAS_TASK_STATE:
        pytest.skip("Airflow 3.3 keeps the reason for a rollback over a retry")
    flag(emulator)

    def killed(managed: ManagedFlag, *them: Any) -> None:
        monkeypatch.setattr(ManagedFlag, "find", unreachable)
        raise SystemExit("killed")

    def unreachable(*them: Any) -> None:
        raise ConnectionError("no way to Amplitude")

    monkeypatch.setattr(ManagedFlag, "roll_back_to", killed)
    with DAG(dag_id, default_args={"retries": 2, "retry_delay": 0}) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], **TWO, **all_events(Recorder()))
    assert run(dag).tries == {"ramp": 3}
    assert events() == ["rollback"]
    assert (GIVEN[0]["confirmed"], GIVEN[0]["key"], GIVEN[0]["percentage"]) == (False, "search", None)


def test_an_alert_does_not_wait_for_an_airflow_that_keeps_nothing(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    happened: list[str] = []

    def away(ti: Any, key: str, value: Any, **more: Any) -> None:
        happened.append(key)
        raise ConnectionError("the API server is away")

    monkeypatch.setattr(RuntimeTaskInstance, "xcom_push", away)
    flag_id = flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", guardrails=[fails], on_rollback=lambda context: happened.append("alert"), **TWO
        )
    assert run(dag).states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 0]
    # The record of the soak comes before the rollback, and the record of the rollback after the alert.
    assert happened.count("alert") == 1
    assert happened[happened.index("alert") :].count(RECORD_XCOM) == 1


@pytest.mark.parametrize("how", ["raises", "exits", "hangs"])
def test_a_notifier_that_goes_wrong_changes_nothing_and_hinders_no_other(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    let_go, stood = threading.Event(), []
    flag_id = flag(emulator)

    def wrong(context: Any) -> None:
        stood.append(exposures(emulator, flag_id)[-1])
        if how == "raises":
            raise OSError("no such channel")
        if how == "exits":
            raise SystemExit(3)
        let_go.wait(100)

    monkeypatch.setattr(alerts, "LIMIT", 0.2)
    try:
        with DAG(dag_id, default_args=RETRIED) as dag:
            AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], on_rollback=[wrong, Recorder()], **TWO)
        with caplog.at_level(logging.WARNING):
            ran = run(dag)
    finally:
        let_go.set()
    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert exposures(emulator, flag_id) == [0, 1, 0]
    assert stood == [0]  # the flag was lowered first
    assert events() == ["rollback"]
    (said,) = warnings(caplog)
    assert "on_rollback" in said
    assert {"raises": "no such channel", "exits": "SystemExit: 3", "hangs": "no answer within 0.2 s"}[how] in said
    assert [line["what"] for line in ran.xcom("ramp", key=RECORD_XCOM)] == [
        "raise",
        "check",
        "rollback",
    ]


def test_one_notifier_renders_its_text_for_each_event(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    """Airflow's notifiers keep their rendered text. So each event has its own notifier, and mapped tasks share none."""
    for key in ("search", "cart"):
        flag(emulator, key)
    plan = {**PLAN, "stages": [1, 25]}
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator.partial(
            task_id="ramp", guardrails=[fails], **all_events(Recorder("{{ rollout.key }}")), **plan
        ).expand(flag_key=["search", "cart"])
    run(dag)
    assert sorted(SENT) == [("rollback", "cart"), ("rollback", "search")]


def test_a_secret_in_the_reason_is_masked(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    from airflow.sdk.log import mask_secret

    secret = "of-the-warehouse-4712"

    def check(moment: CheckContext) -> CheckResult:
        mask_secret(secret)
        return CheckResult("pass" if moment.is_preflight else "fail", f"asked postgresql://me:{secret}@warehouse")

    flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[check], on_rollback=Recorder(), **TWO)
    run(dag)
    assert "asked postgresql://me:***@warehouse" in SENT[0][1]
    assert secret not in str(GIVEN)


def test_a_clear_begins_the_alerts_from_the_beginning(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    from ramps import clear

    flag(emulator)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", guardrails=[fails], **TWO, **all_events(Recorder()))
    ran = run(dag)
    emulator.advance(60)
    clear(ran, dag)
    assert events() == ["rollback", "rollback"]


async def _coroutine(context: Any) -> None: ...


@pytest.mark.parametrize(
    "wrong",
    ["slack", 5, [Recorder(), "slack"], Recorder, {"kind": "slack"}, _coroutine],
    ids=["text", "number", "list", "class", "mapping", "coroutine"],
)
def test_what_cannot_be_called_is_refused_while_the_dag_is_parsed(wrong: object) -> None:
    ramp: dict[str, Any] = {"task_id": "ramp", **TWO, "on_hold": wrong}
    with pytest.raises(InvalidInputError, match=r"on_hold(\[1\])?: expected a notifier"):
        AmplitudeRampRolloutOperator(**ramp)


def test_default_args_give_notifiers_to_every_task_of_a_rollout() -> None:
    notifier = Recorder()
    with DAG("alerts_by_default", default_args=all_events(notifier)) as dag:
        staged_rollout(**TWO, approve_before=[25])
    assert {task.task_id: task.on_rollback for task in dag.tasks} == dict.fromkeys(dag.task_ids, (notifier,))


@pytest.mark.parametrize("is_group", [False, True])
def test_an_error_that_ends_a_rollout_is_alerted(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, is_group: bool
) -> None:
    """The ramped segment is removed during a soak. The group's rollback cannot lower it either."""
    beta = {
        "name": "Beta",
        "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
        "percentage": 0,
        "rolloutWeights": {"on": 1},
        "bucketingKey": "user_id",
    }
    flag_id = flag(emulator, enabled=True, targetSegments=[beta])
    soaks.will(lambda: emulator.edit("flags", flag_id, by="Maria", targetSegments=[]))
    given = {**TWO, "segment": "Beta", **all_events(Recorder())}
    with DAG(dag_id, default_args=RETRIED) as dag:
        if is_group:
            staged_rollout(**given)
        else:
            AmplitudeRampRolloutOperator(task_id="ramp", **given)
    assert not run(dag).succeeded
    assert events() == (["abort", "rollback"] if is_group else ["abort"])
    assert "segment 'Beta' was removed by Maria" in GIVEN[0]["text"]
    assert (GIVEN[0]["cause"], GIVEN[0]["segment"]) == ("error", "Beta")
    assert GIVEN[-1]["confirmed"] is (False if is_group else None)


def test_the_last_retry_that_fails_is_alerted_and_those_before_it_are_not(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(emulator)

    def unreachable(*them: Any, **how: Any) -> None:
        raise ConnectionError("no way to Amplitude")

    def away() -> None:
        soaks.end()
        monkeypatch.setattr(ManagedFlag, "observe", unreachable)

    soaks.will(away)
    with DAG(dag_id, default_args={"retries": 2, "retry_delay": 0}) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", **TWO, **all_events(Recorder()))
    assert run(dag).tries == {"ramp": 3}
    assert events() == ["abort"]
    assert "no way to Amplitude" in GIVEN[0]["text"]
