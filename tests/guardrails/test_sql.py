"""SqlGuardrail, on a SQLite database through an Airflow connection."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from moments import BEGAN, moment
from sqlite_warehouse import Warehouse

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult, SqlGuardrail, as_guardrail, run_checks
from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy

RATE = """
    select avg(failed), count(*) from checkouts
    where flag = {{ flag_key }} and variant = {{ variant }} and at >= {{ stage_started_at }}
"""
CONTROL = RATE.replace("{{ variant }}", "'control'")


def guardrail(sql: str = RATE, **changed: Any) -> SqlGuardrail:
    return SqlGuardrail("warehouse", sql, **{"name": "errors", "no_data": "hold", "at_most": 0.02, **changed})


def answer(sql: str = RATE, at: CheckContext | None = None, **changed: Any) -> CheckResult:
    return run_checks([guardrail(sql, **changed)], at or moment())[0][1]


def test_a_value_within_its_bound_passes(warehouse: Warehouse):
    warehouse.checkouts("new-checkout", "treatment", failed=2, of=100)
    assert answer() == CheckResult("pass", "0.02 is at most 0.02, measured on 100", 0.02)


def test_a_value_beyond_its_bound_fails(warehouse: Warehouse):
    warehouse.checkouts("new-checkout", "treatment", failed=3, of=100)
    assert answer() == CheckResult("fail", "0.03 is more than 0.02, measured on 100", 0.03)


def test_only_what_the_moment_speaks_of_is_measured(warehouse: Warehouse):
    warehouse.checkouts("new-checkout", "treatment", failed=0, of=10)
    warehouse.checkouts("new-checkout", "treatment", failed=9, of=9, at="2026-03-01 11:59")
    warehouse.checkouts("new-checkout", "control", failed=9, of=9)
    warehouse.checkouts("old-checkout", "treatment", failed=9, of=9)
    assert answer().verdict == "pass"
    assert answer(at=moment(flag_key="old-checkout")).verdict == "fail"
    assert answer(variant="control").verdict == "fail"
    assert answer(at=moment(stage_started_at=BEGAN - timedelta(hours=2))).verdict == "fail"


@pytest.mark.parametrize(
    ("value", "bounds", "verdict", "why"),
    [
        (5, {"at_least": 5}, "pass", "5 is at least 5"),
        (4, {"at_least": 5}, "fail", "4 is less than 5"),
        (4, {"at_least": 3, "at_most": 4}, "pass", "4 is at most 4 and at least 3"),
        (2, {"at_least": 3, "at_most": 4}, "fail", "2 is less than 3"),
        (21, {"baseline": 20, "at_most_of_baseline": 1.05}, "pass", "21 is at most 1.05 x the baseline of 20"),
        (22, {"baseline": 20, "at_most_of_baseline": 1.05}, "fail", "22 is more than 1.05 x the baseline of 20"),
        (19, {"baseline": 20, "at_least_of_baseline": 1}, "fail", "19 is less than 1 x the baseline of 20"),
        (1, {"baseline": 0, "at_most_of_baseline": 1.05}, "fail", "1 is more than 1.05 x the baseline of 0"),
        (
            22,
            {"baseline": 20, "at_most_of_baseline": 1.05, "at_most": 21},
            "fail",
            "22 is more than 21 and more than 1.05 x the baseline of 20",
        ),
    ],
)
def test_bounds(warehouse: Warehouse, value: float, bounds: dict[str, Any], verdict: str, why: str):
    if "baseline" in bounds:
        bounds = {**bounds, "baseline_sql": f"select {bounds['baseline']}"}
        del bounds["baseline"]
    assert answer(f"select {value}", **{"at_most": None, **bounds}) == CheckResult(verdict, why, value)  # type: ignore[arg-type]


def test_the_treatment_is_compared_with_the_control(warehouse: Warehouse):
    bounds = {"at_most": None, "baseline_sql": CONTROL, "at_most_of_baseline": 1.05}
    warehouse.checkouts("new-checkout", "treatment", failed=4, of=100)
    warehouse.checkouts("new-checkout", "control", failed=4, of=100)
    assert answer(**bounds).verdict == "pass"
    warehouse.checkouts("new-checkout", "treatment", failed=4, of=4)
    assert answer(**bounds).verdict == "fail"


@pytest.mark.parametrize(
    ("sql", "verdict", "value"),
    [
        ("select 0.01, 100", "pass", 0.01),
        ("select 0.01, 99", "inconclusive", 0.01),
        ("select 0.9, 99", "inconclusive", 0.9),
        ("select 0.01, null", "inconclusive", 0.01),
        ("select 0.01 as rate, 1 as other, 100 as Sample", "pass", 0.01),
        ("select 100 as sample, 0.01 as rate", "pass", 0.01),
        ("select 0.01", "error", None),
    ],
)
def test_the_sample(warehouse: Warehouse, sql: str, verdict: str, value: float | None):
    said = answer(sql, min_sample=100)
    assert (said.verdict, said.value) == (verdict, value)


def test_the_baseline_needs_its_sample_too(warehouse: Warehouse):
    bounds = {"min_sample": 100, "baseline_sql": "select 0.01, 99", "at_most_of_baseline": 1.05}
    said = answer("select 0.9, 5000", **bounds)
    assert (said.verdict, said.why) == ("inconclusive", "the sample of baseline_sql is 99, fewer than 100")


@pytest.mark.parametrize("sql", ["select null", "select null, 100", "select 1 where 1 = 0"])
@pytest.mark.parametrize(
    ("no_data", "verdict", "effect"),
    [("rollback", "fail", "rollback"), ("hold", "fail", "hold"), ("pass", "pass", None)],
)
def test_no_data_is_what_the_plan_says_after_its_grace(
    warehouse: Warehouse, sql: str, no_data: str, verdict: str, effect: str | None
):
    given: dict[str, Any] = {"no_data": no_data, "no_data_grace": "2h", "effect": "rollback"}
    early = answer(sql, moment(1.99), **given)
    assert (early.verdict, early.effect) == ("inconclusive", "wait")
    assert early.why == "the query has no data, which does not count before 2026-03-01 14:00:00 UTC"
    late = answer(sql, moment(2), **given)
    assert (late.verdict, late.effect) == (verdict, effect)


def test_no_data_of_the_baseline_is_no_data(warehouse: Warehouse):
    said = answer("select 1", baseline_sql="select null", at_most_of_baseline=1.05)
    assert (said.verdict, said.effect, said.why) == ("fail", "hold", "the query of the baseline has no data")


def test_too_small_a_sample_does_not_count_within_the_grace(warehouse: Warehouse):
    given: dict[str, Any] = {"min_sample": 100, "no_data_grace": timedelta(hours=2)}
    assert answer("select 1, 5", moment(1), **given).effect == "wait"
    assert answer("select 1, 5", moment(3), **given).effect is None


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select 1 union select 2", "sql expected one row, got 2"),
        ("select 'many'", "expected a number as the value of sql, got 'many'"),
        ("select '0.01'", "expected a number as the value of sql, got '0.01'"),
        ("select 9e999", "expected a number as the value of sql, got inf"),
        ("select 1, 'many'", "expected a number as the sample of sql, got 'many'"),
        ("select * from nowhere", "no such table: nowhere"),
        ("insert into checkouts values ('a', 'b', 'c', 1); select 1", "one statement at a time"),
    ],
)
def test_what_cannot_be_judged_is_an_error_that_says_why(warehouse: Warehouse, sql: str, told: str):
    said = answer(sql)
    assert said.verdict == "error"
    assert told in said.why


def test_a_negative_baseline_is_an_error(warehouse: Warehouse):
    assert answer("select 1", baseline_sql="select -1", at_most_of_baseline=1.05).verdict == "error"


def test_an_unknown_connection_is_an_error(warehouse: Warehouse):
    given: Any = {"name": "errors", "no_data": "hold", "at_most": 1}
    said = run_checks([SqlGuardrail("nowhere", "select 1", **given)], moment())[0][1]
    assert (said.verdict, "nowhere" in said.why) == ("error", True)


@pytest.mark.parametrize("kind", ["generic", "amplitude_experiment"])
def test_a_connection_without_an_sql_hook_is_named_with_its_type(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f'{{"conn_type": "{kind}", "password": "ampex_x"}}')
    said = answer("select 1")
    assert said.verdict == "error"
    assert f"connection 'warehouse' has type '{kind}', which has no SQL hook: install its provider" in said.why


def test_a_value_cannot_break_out_of_the_query(warehouse: Warehouse):
    hostile = "x' or '1'='1"
    warehouse.checkouts("new-checkout", "treatment", failed=1, of=1)
    assert answer(at=moment(flag_key=hostile)).why == "the query has no data"
    warehouse.checkouts(hostile, "treatment", failed=0, of=4)
    assert answer(at=moment(flag_key=hostile)) == CheckResult("pass", "0 is at most 0.02, measured on 4", 0.0)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"conn_id": ""}, "conn_id"),
        ({"name": " "}, "name"),
        ({"sql": ""}, "sql"),
        ({"sql": "select '{{ flag_key }}'"}, "sql"),
        ({"sql": "select {{ flag }}"}, "sql"),
        ({"no_data": "guess"}, "no_data"),
        ({"no_data_grace": "soon"}, "no_data_grace"),
        ({"variant": ""}, "variant"),
        ({"at_most": None}, "at_most"),
        ({"at_most": "0.02"}, "at_most"),
        ({"at_most": float("nan")}, "at_most"),
        ({"at_least": 0.03}, "at_least"),
        ({"baseline_sql": "select 1"}, "baseline_sql"),
        ({"at_most_of_baseline": 1.05}, "baseline_sql"),
        ({"at_most_of_baseline": -1, "baseline_sql": "select 1"}, "at_most_of_baseline"),
        ({"at_most_of_baseline": 1, "baseline_sql": "select {{ x }}"}, "baseline_sql"),
        ({"min_sample": -1}, "min_sample"),
        ({"effect": "stop"}, "effect"),
        ({"failure_limit": 0}, "failure_limit"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong: dict[str, Any], field: str):
    right = {"conn_id": "warehouse", "sql": RATE, "name": "errors", "no_data": "hold", "at_most": 0.02}
    with pytest.raises(InvalidInputError) as refused:
        SqlGuardrail(**{**right, **wrong})
    assert refused.value.field == field


def test_what_no_data_means_is_never_guessed():
    with pytest.raises(TypeError, match="no_data"):
        SqlGuardrail("warehouse", "select 1", name="errors", at_most=1)  # type: ignore[call-arg]


def test_it_can_be_copied_and_pickled(warehouse: Warehouse):
    one = guardrail("select 0.01", effect="hold", no_data_grace="1h")
    for same in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert same == one
        assert same.check(moment()).verdict == "pass"
    assert as_guardrail(one) is one
    assert one.consequence == GuardrailPolicy(effect="hold")


def test_a_dag_with_guardrails_is_serialized_alike_at_every_parse():
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

    def parsed() -> str:
        with DAG("release", schedule=None) as dag:
            checks = [guardrail(), lambda _: True]
            rollout: Any = {"stages": [5, 100], "soak": "1h", "guardrails": checks}
            AmplitudeRampRolloutOperator(task_id="one", flag_key="new-checkout", **rollout)
            AmplitudeRampRolloutOperator.partial(task_id="each", **rollout).expand(flag_key=["a", "b"])
        encoded = DagSerialization.to_dict(dag)
        DagSerialization.from_dict(encoded)
        return str({**encoded, "dag": {**encoded["dag"], "fileloc": ""}})

    first = parsed()
    assert " at 0x" not in first
    assert parsed() == first


def test_importing_it_loads_no_database_client():
    heavy = ["airflow.providers.common.sql", "sqlalchemy", "pandas", "sqlparse", "requests"]
    program = f"""if True:
        import sys
        from airflow_provider_ampexp.guardrails import SqlGuardrail
        SqlGuardrail("warehouse", "select {{{{ variant }}}}", name="errors", at_most=1, no_data="hold")
        print([one for one in {heavy} if one in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
