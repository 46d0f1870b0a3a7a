"""A rollout with a preview: the users who enter are in its approvals, log and record, and can stop the rollout."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run
from ramps import Failures

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.operators import _preview
from airflow_provider_ampexp.operators._rollout import preview_raise
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.plans import load_plan
from airflow_provider_ampexp.reconcile import _loop
from airflow_provider_ampexp.rollout import RolloutPreview
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

SQL = "select amplitude_id, user_id, tier, account, revenue from users"
PREVIEW = RolloutPreview("warehouse", SQL, group_by=["tier"])
NO_FREE = RolloutPreview("warehouse", SQL, refuse_if={"tier": ["free"]}, refuse_below=50)
QUICK: dict[str, Any] = {"flag_key": "search", "soak": 0, "poll_interval": 0.3}


def flag(emulator: Emulator, **fields: Any) -> dict[str, Any]:
    given = {"variants": [{"key": "on"}], "rolloutWeights": {"on": 1}, "bucketingKey": "amplitude_id"}
    return emulator.create_flag("search", **{**given, **fields})


def ramp(**changed: Any) -> AmplitudeRampRolloutOperator:
    given = {"task_id": "ramp", "stages": [5, 25, 50], "preview": PREVIEW, "deferrable": False, **QUICK}
    return AmplitudeRampRolloutOperator(**{**given, **changed})


def percentages(emulator: Emulator, made: dict[str, Any]) -> list[int]:
    versions = reversed(emulator.versions("flags", made["id"]))
    return list(dict.fromkeys(version["flagConfig"]["rolloutPercentage"] for version in versions))


def who_gets_it(emulator: Emulator, made: dict[str, Any], users: list[dict[str, Any]]) -> int:
    """Count the users who get the flag, by the emulator's evaluation, which shares no code with the preview."""
    return sum(variant is not None for variant in emulator.evaluate_all("flags", made["id"], users))


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the log lines of the ramp."""
    lines: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.Logger("ramp")
    logger.addHandler(handler)
    monkeypatch.setattr(AmplitudeRampRolloutOperator, "log", logger)
    return lines


def test_the_approval_shows_who_enters(
    run: Callable[[DAG], Run],
    emulator: Emulator,
    users: list[dict[str, Any]],
    dag_id: str,
    people: Callable[[str], list[Any]],
) -> None:
    made, alerts = flag(emulator), []
    with DAG(dag_id) as dag:
        staged_rollout(
            **QUICK,
            stages=[5, 50],
            approve_before=[50],
            preview=RolloutPreview("warehouse", SQL, group_by=["tier"], sums=["revenue"]),
            on_approval_needed=lambda context: alerts.append(context["rollout"]["text"]),
        )
        before: list[int] = []
        count = dag.get_task("rollout.approve_50").execute

        def counted(context: Any) -> Any:
            before.append(who_gets_it(emulator, made, users))
            return count(context)

        dag.get_task("rollout.approve_50").execute = counted  # type: ignore[method-assign]
    asked = people("Approve")
    ran = run(dag)
    assert ran.succeeded, ran.states
    entered = who_gets_it(emulator, made, users) - before[0]
    (question,) = asked
    sentence = f"5 % -> 50 %: {entered} of 500 users enter; tier: free "
    assert sentence.replace(">", "\\>") in question["body"]
    assert sentence in alerts[0]
    (line,) = (line for line in ran.xcom("rollout.approve_50", RECORD_XCOM) if line["what"] == "preview")
    assert line["stage"] == 50
    assert line["why"].startswith(sentence)
    assert "user-" not in str(ran.xcom("rollout.approve_50", RECORD_XCOM))
    assert not [line for line in ran.xcom("rollout.stage_50", RECORD_XCOM) if line["what"] == "preview"]


def test_the_values_of_the_warehouse_are_no_markdown(
    run: Callable[[DAG], Run],
    emulator: Emulator,
    users: list[dict[str, Any]],
    dag_id: str,
    people: Callable[[str], list[Any]],
) -> None:
    flag(emulator)
    sql = "select amplitude_id, '[Approve me](https://example.com) **now**' as account from users"
    with DAG(dag_id) as dag:
        staged_rollout(
            **QUICK, stages=[5], approve_before=[5], preview=RolloutPreview("warehouse", sql, names="account")
        )
    asked = people("Approve")
    run(dag)
    assert r"\[Approve me\](https://example.com) \*\*now\*\*" in asked[0]["body"]


@pytest.mark.parametrize("refuse_if", [{}, {"tier": ["enterprise"]}])
def test_a_preview_that_fails_hides_no_approval(
    run: Callable[[DAG], Run],
    emulator: Emulator,
    users: list[dict[str, Any]],
    dag_id: str,
    people: Callable[[str], list[Any]],
    refuse_if: dict[str, list[str]],
) -> None:
    made = flag(emulator)
    broken = RolloutPreview("warehouse", "select amplitude_id, tier from gone", refuse_if=refuse_if)
    with DAG(dag_id) as dag:
        staged_rollout(**QUICK, stages=[5], approve_before=[5], preview=broken)
    asked = people("Approve")
    ran = run(dag)
    assert ran.succeeded, ran.states
    assert "Preview of 5 % failed: no such table: gone." in asked[0]["body"]
    assert ("Users whom refuse\\_if names may enter." in asked[0]["body"]) is bool(refuse_if)
    assert percentages(emulator, made) == [0, 5]
    warnings = [line for line in ran.xcom("rollout.approve_5", RECORD_XCOM) if line["what"] == "warning"]
    assert [warning["why"] for warning in warnings if warning["why"].startswith("Preview of 5 % failed")]


def test_each_raise_is_previewed_and_changes_nothing_else(
    emulator: Emulator, users: list[dict[str, Any]], logged: list[str]
) -> None:
    made = flag(emulator)
    assert ramp().execute({})["after"] == 50
    said = [text for text in logged if "Preview: " in text]
    assert len(said) == 3
    assert "disabled -> 5 %: " in said[0]
    assert "5 % -> 25 %: " in said[1]
    assert "25 % -> 50 %: " in said[2]
    assert percentages(emulator, made) == [0, 5, 25, 50]


@pytest.mark.parametrize(("has_cohorts", "requests"), [(False, 1 + 2 + 1), (True, 1 + 2 + 2)])
def test_each_preview_takes_one_request_and_few_for_each_variant(
    emulator: Emulator,
    users: list[dict[str, Any]],
    has_cohorts: bool,
    requests: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_loop, "_LONG", math.inf)  # without another read of the flag after a slow query

    emulator.settings(extra_endpoints=has_cohorts)

    def cost(**changed: Any) -> int:
        emulator.reset()
        emulator.settings(extra_endpoints=has_cohorts)
        flag(emulator, variants=[{"key": "on"}, {"key": "new"}])
        emulator.clear_requests()
        ramp(**changed).execute({})
        return int(emulator.requests()["total"])

    assert cost() == cost(preview=None) + 3 * requests


def test_a_plan_refuses_a_raise_and_leaves_the_flag(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    made = flag(emulator, enabled=True, rolloutPercentage=5)
    alerts: list[dict[str, Any]] = []
    operator = ramp(stages=[5, 40, 50], preview=NO_FREE, on_abort=lambda context: alerts.append(context["rollout"]))
    with pytest.raises(AirflowFailException) as raised:
        operator.execute({})
    assert "stopped and left the flag as it is, at 5 %: the preview refuses 40 %: " in str(raised.value)
    assert "users enter with a refused value of 'tier' (5 % -> 40 %: " in str(raised.value)
    assert percentages(emulator, made) == [5]
    assert [alert["cause"] for alert in alerts] == ["refused"]


def test_from_a_percentage_on_the_plan_refuses_nothing(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator)
    assert ramp(stages=[50, 100], preview=NO_FREE).execute({})["after"] == 100


def test_a_refused_raise_of_a_group_rolls_nothing_back(
    run: Callable[[DAG], Run],
    emulator: Emulator,
    users: list[dict[str, Any]],
    dag_id: str,
    people: Callable[[str], list[Any]],
) -> None:
    made, broken = flag(emulator), Failures()
    with DAG(dag_id, default_args=broken.callback) as dag:
        staged_rollout(**QUICK, stages=[5, 49], approve_before=[49], preview=NO_FREE)
        first: Any = dag.get_task("rollout.stage_5")
        first.preview = None
    asked = people("Approve")
    ran = run(dag)
    states = {name.removeprefix("rollout."): state for name, state in ran.states.items()}
    assert states == {
        "stage_5": "success",
        "approve_49": "failed",
        "stage_49": "upstream_failed",
        "rollback": "skipped",
    }
    assert asked == []
    assert "the preview refuses 49 %: " in broken.said("rollout.approve_49")
    assert percentages(emulator, made) == [0, 5]
    assert ran.xcom("rollout.approve_49", RECORD_XCOM)[-1]["cause"] == "refused"
    assert ran.xcom("rollout.rollback", RECORD_XCOM)[-1]["why"] == "the preview refused the next stage"


def test_without_an_answer_nothing_is_raised_if_the_plan_refuses(
    emulator: Emulator, users: list[dict[str, Any]]
) -> None:
    made = flag(emulator)
    with pytest.raises(AmplitudeTaskError) as raised:
        ramp(preview=RolloutPreview("warehouse", "select 1 from gone", refuse_if={"tier": ["pro"]})).execute({})
    assert "Preview of 5 % failed: no such table: gone. Nothing was raised: " in str(raised.value)
    assert percentages(emulator, made) == [0]


def test_without_an_answer_a_plan_that_refuses_nothing_goes_on(
    emulator: Emulator, users: list[dict[str, Any]], logged: list[str]
) -> None:
    flag(emulator)
    assert ramp(preview=RolloutPreview("nowhere", "select 1")).execute({})["after"] == 50
    assert sum("Preview of " in text and "failed: " in text for text in logged) == 3


@pytest.fixture
def hangs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the warehouse never answer."""
    ended = threading.Event()
    monkeypatch.setattr(_preview, "stream_rows", lambda *_: ended.wait())
    monkeypatch.setattr(preview_raise, "LIMIT", timedelta(seconds=0.2))
    yield
    ended.set()


def test_a_query_that_hangs_ends_at_its_limit(
    emulator: Emulator, users: list[dict[str, Any]], hangs: None, logged: list[str]
) -> None:
    flag(emulator)
    assert ramp(stages=[5]).execute({})["after"] == 5
    assert any("Preview of 5 % failed: no answer within 0.2 s." in text for text in logged)


def test_a_person_who_changes_the_flag_during_the_preview_is_seen(
    emulator: Emulator, users: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = flag(emulator)
    stream = _preview.stream_rows

    def maria_edits(*given: Any) -> int:
        emulator.edit("flags", made["id"], by="Maria", rolloutPercentage=3, enabled=True)
        return stream(*given)

    monkeypatch.setattr(_preview, "stream_rows", maria_edits)
    monkeypatch.setattr(_loop, "_LONG", -1.0)
    with pytest.raises(AirflowFailException, match="Maria"):
        ramp().execute({})
    assert percentages(emulator, made) == [0, 3]


def test_a_plan_file_has_a_preview(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(
        "flag: search\nstages: [5, 50]\nsoak: 1h\npreview:\n  conn_id: warehouse\n  sql: select 1\n"
        "  refuse_if: {tier: [enterprise], is_vip: [true]}\n  refuse_below: 50\n"
    )
    assert load_plan(file).preview == RolloutPreview(
        "warehouse", "select 1", refuse_if={"tier": ["enterprise"], "is_vip": ["True"]}, refuse_below=50
    )
