"""A wrong argument of a ramp is refused while the DAG is parsed, and a wrong template before the first request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow_runs import Run
from ramps import PLAN, RETRIED, Failures, exposures, flag

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CallableGuardrail, SqlGuardrail
from airflow_provider_ampexp.operators.inclusions import AmplitudeAddInclusionsOperator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeEnableOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator, AmplitudeSetRolloutOperator
from airflow_provider_ampexp.rollout import ChangeWindow, Stage
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

Runner = Callable[..., Run]


def passes(moment: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"flag_key": None}, "flag_key"),
        ({"flag_id": "1"}, "flag_id"),
        ({"amplitude_conn_id": ""}, "amplitude_conn_id"),
        ({"stages": []}, "stages"),
        ({"stages": [5, 1]}, "stages"),
        ({"stages": [5, 5]}, "stages"),
        ({"stages": [1, 101]}, r"stages\[1\]"),
        ({"stages": [0.5, 1]}, r"stages\[0\]"),
        ({"stages": [True, 2]}, r"stages\[0\]"),
        ({"stages": 5}, "stages"),
        ({"stages": "one, two"}, "stages"),
        ({"stages": [{"percentage": 1, "sok": "1h"}]}, r"stages\[0\]"),
        ({"stages": [{"percentage": 1, "soak": "soon"}]}, r"stages\[0\]\.soak"),
        ({"soak": "soon"}, "soak"),
        ({"soak": -1}, "soak"),
        ({"soak": None}, "soak"),
        ({"soak": ""}, "soak"),
        ({"stages": [Stage(1, "1h"), Stage(5), Stage(100)], "soak": None}, "soak: is missing, and stages\\[1\\]"),
        ({"segment": ""}, "segment"),
        ({"segment": "None"}, "segment"),
        ({"flag_key": "None"}, "flag_key"),
        ({"check_every": ""}, "check_every"),
        ({"segment": ["Beta"]}, "segment"),
        ({"check_every": "often"}, "check_every"),
        ({"check_every": 0}, "check_every"),
        ({"rollback": "up"}, "rollback"),
        ({"rollback": 101}, "rollback"),
        ({"rollback": True}, "rollback"),
        ({"on_drift": "ignore"}, "on_drift"),
        ({"hold_tag": ""}, "hold_tag"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"poll_interval": -1}, "poll_interval"),
        ({"guardrails": [passes, passes]}, "guardrails"),
        ({"guardrails": ["errors"]}, "guardrails"),
        ({"guardrails": passes}, "guardrails"),
        ({"window": "Mon-Fri"}, "window"),
        ({"enable": "yes"}, "enable"),
        ({"plan": "search.yaml"}, "plan: expected a RolloutPlan, got 'search.yaml'"),
        ({"plan": {"stages": [100]}}, "plan: expected a RolloutPlan"),
        ({"deferrable": "yes"}, "deferrable"),
    ],
)
def test_it_is_refused_while_the_dag_is_parsed(wrong: dict[str, Any], named: str) -> None:
    with DAG("wrong"), pytest.raises(InvalidInputError, match=rf"\b{named}"):
        AmplitudeRampRolloutOperator(task_id="ramp", **{"flag_key": "search", **PLAN, **wrong})


def test_a_template_beside_it_hides_nothing() -> None:
    wrong: dict[str, Any] = {"rollback": "up", "on_drift": "ignore", "check_every": "often", "window": "Mon-Fri"}
    for field, value in wrong.items():
        given = {**PLAN, "stages": "{{ params.stages }}", field: value}
        with DAG("wrong"), pytest.raises(InvalidInputError, match=rf"\b{field}"):
            AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **given)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Stage(101), "percentage"),
        (lambda: Stage(1, soak="soon"), "soak"),
        (lambda: ChangeWindow(days="Mon-Someday", start="09:00", end="17:00", timezone="UTC"), "days"),
        (lambda: CallableGuardrail(passes, failure_limit=0), "failure_limit"),
        (lambda: CallableGuardrail(passes, effect="panic"), "effect"),  # type: ignore[arg-type]
        (lambda: SqlGuardrail("warehouse", "SELECT 1", name="errors", no_data="hold"), "at_most"),
    ],
)
def test_and_so_are_its_parts(make: Callable[[], object], named: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"\b{named}"):
        make()


def test_a_template_that_renders_to_nonsense_names_the_field_and_asks_nothing(
    run: Runner, emulator: Emulator, dag_id: str
) -> None:
    flag_id = flag(emulator)
    emulator.clear_requests()
    wrong: dict[str, dict[str, str]] = {
        "stages": {"stages": "{{ params.stages }}"},
        "soak": {"soak": "{{ params.soak }}"},
        "rollback": {"rollback": "{{ params.word }}"},
        "on_drift": {"on_drift": "{{ params.word }}"},
        "check_every": {"check_every": "{{ params.soak }}"},
        "flag_key": {"flag_key": "{{ '' }}"},
        "segment": {"segment": "{{ params.nothing }}"},
    }
    broken = Failures()
    params = {"stages": [50, 20], "soak": "soon", "word": "nonsense", "nothing": None}
    with DAG(dag_id, params=params, default_args={**RETRIED, "trigger_rule": "all_done", **broken.callback}) as dag:
        chain(
            *[
                AmplitudeRampRolloutOperator(task_id=field, **{"flag_key": "search", **PLAN, **given})
                for field, given in wrong.items()
            ]
        )
    ran = run(dag)

    assert ran.states == dict.fromkeys(wrong, "failed")
    assert ran.tries == dict.fromkeys(wrong, 1)
    for field in wrong:
        assert f"{field}:" in broken.said(field)
    assert emulator.requests()["total"] == 0
    assert exposures(emulator, flag_id) == [0]


def test_a_flag_or_a_segment_that_is_not_there(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag_id = flag(emulator)
    broken = Failures()
    with DAG(dag_id, default_args={**RETRIED, **broken.callback}) as dag:
        AmplitudeRampRolloutOperator(task_id="flag", flag_key="nobody", **PLAN)
        AmplitudeRampRolloutOperator(task_id="segment", flag_key="search", segment="Nobody", **PLAN)
    ran = run(dag)

    assert ran.states == {"flag": "failed", "segment": "failed"}
    assert set(ran.tries.values()) == {1}
    assert "Failed to ramp flag 'nobody'" in broken.said("flag")
    assert "no target segments named 'Nobody'" in broken.said("segment")
    assert exposures(emulator, flag_id) == [0]


@pytest.mark.parametrize("stages", [[100], [Stage(1, "1h"), 100], [Stage(1, 0), Stage(5, 0), 100]])
def test_a_ramp_whose_stages_all_say_how_long_needs_no_soak(stages: list[Any]) -> None:
    with DAG("right"):
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", stages=stages)


def test_no_soak_at_all_is_said_on_purpose() -> None:
    with DAG("right"):
        ramp = AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", stages=[1, 5, 100], soak=0)
    assert [stage.soak.total_seconds() for stage in ramp.plan().stages] == [0, 0, 0]


@pytest.mark.parametrize("native", [False, True])
def test_a_param_that_renders_to_nothing_is_refused_by_name(
    run: Runner, emulator: Emulator, dag_id: str, native: bool
) -> None:
    """The result is the text "None", or natively None. Neither may mean "not given", which is a ramp of all users."""
    beta = {
        "name": "Beta",
        "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
        "percentage": 0,
        "rolloutWeights": {"on": 1},
    }
    flag_id = flag(emulator, targetSegments=[beta])
    emulator.clear_requests()
    wrong: dict[str, Callable[[str], Any]] = {
        "segment": lambda name: AmplitudeRampRolloutOperator(
            task_id=name, flag_key="search", segment="{{ params.nothing }}", **PLAN
        ),
        "soak": lambda name: AmplitudeRampRolloutOperator(
            task_id=name, flag_key="search", **{**PLAN, "soak": "{{ params.nothing }}"}
        ),
        "project_id": lambda name: AmplitudeEnableOperator(
            task_id=name, flag_key="search", project_id="{{ params.nothing }}"
        ),
        "percentage": lambda name: AmplitudeSetRolloutOperator(
            task_id=name, flag_key="search", percentage="{{ params.nothing }}"
        ),
        "users": lambda name: AmplitudeAddInclusionsOperator(
            task_id=name, flag_key="search", variant="on", users="{{ params.nothing }}"
        ),
        "at_least": lambda name: AmplitudeRolloutSensor(
            task_id=name, flag_key="search", at_least="{{ params.nothing }}"
        ),
    }
    broken = Failures()
    arguments: dict[str, Any] = {"params": {"nothing": None}, "render_template_as_native_obj": native}
    with DAG(dag_id, default_args={"trigger_rule": "all_done", **broken.callback}, **arguments) as dag:
        for name, make in wrong.items():
            make(name)
        AmplitudeSetRolloutOperator.partial(task_id="mapped", flag_key="search", percentage=5).expand(
            segment=["{{ params.nothing }}"]
        )
    ran = run(dag)

    assert ran.states == {**dict.fromkeys(wrong, "failed"), "mapped[0]": "failed"}
    for name in (*wrong, "mapped"):
        assert ("segment" if name == "mapped" else name) in broken.said(name)
    assert emulator.requests()["total"] == 0
    assert exposures(emulator, flag_id) == [0]


def test_an_xcom_that_is_missing_is_refused_by_name(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag_id = flag(emulator)
    broken = Failures()
    with DAG(dag_id, default_args=broken.callback) as dag:

        @dag.task
        def segment() -> None:
            return None

        AmplitudeSetRolloutOperator(task_id="set", flag_key="search", percentage=100, segment=segment())
    assert run(dag).states["set"] == "failed"
    assert "segment" in broken.said("set")
    assert exposures(emulator, flag_id) == [0]
