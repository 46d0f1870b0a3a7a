"""A cleared run or a backfill does not overwrite changes that were made after it was due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import HAS_TASK_STATE, PLAN, Failures, Soaks, exposures, flag, writes

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.decision import AmplitudeDecideExperimentOperator
from airflow_provider_ampexp.operators.dependencies import AmplitudeSetDependenciesOperator
from airflow_provider_ampexp.operators.deployments import (
    AmplitudeAddDeploymentsOperator,
    AmplitudeRemoveDeploymentOperator,
)
from airflow_provider_ampexp.operators.lifecycle import (
    AmplitudeCreateExperimentOperator,
    AmplitudeCreateFlagOperator,
    AmplitudeDisableOperator,
    AmplitudeEditOperator,
    AmplitudeEnableOperator,
)
from airflow_provider_ampexp.operators.rollout import (
    AmplitudeRampRolloutOperator,
    AmplitudeSetRolloutOperator,
    AmplitudeSetWeightsOperator,
)
from airflow_provider_ampexp.operators.variants import (
    AmplitudeCreateVariantOperator,
    AmplitudeEditVariantOperator,
    AmplitudeRemoveVariantOperator,
)
from airflow_provider_ampexp.operators.version import AmplitudeRestoreVersionOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]


class Late:
    """Runs that were due ten hours before they began, like cleared runs or backfills."""

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        self._soaks, self._patch = Soaks(emulator, monkeypatch), monkeypatch

    def begins(self) -> None:
        """Let the next run begin now on the service's clock, which the soaks have advanced."""
        from airflow_provider_ampexp.operators import _attempts as attempts
        from airflow_provider_ampexp.operators import _outdated_run as outdated_run

        began = self._soaks.now() + timedelta(seconds=1)
        run = outdated_run.LateRun(began - timedelta(hours=10), began)
        self._patch.setattr(outdated_run, "late_run", lambda context, now: run)
        self._patch.setattr(attempts, "run_began", lambda context, now: began)


@pytest.fixture
def late(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Late:
    return Late(emulator, monkeypatch)


def rollout(is_group: bool, **more: Any) -> None:
    if is_group:
        staged_rollout(flag_key="search", **{**PLAN, **more})
    else:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **{**PLAN, **more})


def test_when_a_run_was_due_is_told_by_airflow(run: Runner, emulator: Emulator, dag_id: str) -> None:
    from airflow_provider_ampexp.operators._outdated_run import late_run

    found: list[Any] = []
    with DAG(dag_id) as dag:

        @dag.task
        def look(**context: Any) -> None:
            found.append(late_run(context, datetime.now(timezone.utc)))

        look()
    run(dag)
    assert found == [None]  # the run began in time


@pytest.mark.parametrize("is_group", [False, True])
@pytest.mark.parametrize("edit", [{"rolloutPercentage": 20}, {"enabled": False}, {"rolloutPercentage": 0}])
def test_a_rollout_run_again_leaves_what_a_person_did_since(
    run: Runner, emulator: Emulator, dag_id: str, late: Late, is_group: bool, edit: dict[str, Any]
) -> None:
    """A person lowers or disables the flag of a finished rollout, and then clears the run."""
    flag_id, broken = flag(emulator), Failures()
    with DAG(f"{dag_id}_first") as dag:
        rollout(is_group)
    assert run(dag).succeeded
    emulator.edit("flags", flag_id, by="Maria", **edit)
    before = exposures(emulator, flag_id)
    with DAG(dag_id, default_args=broken.callback) as again:
        rollout(is_group)
    late.begins()
    ran = run(again)
    assert not ran.succeeded
    assert exposures(emulator, flag_id) == before
    task = "ramp" if not is_group else "rollout.stage_25" if edit == {"rolloutPercentage": 20} else "rollout.stage_1"
    assert "by Maria" in broken.said(task)
    assert "if_changed_since='write'" in broken.said(task)


@pytest.mark.parametrize("is_group", [False, True])
def test_a_finished_rollout_run_again_writes_nothing(
    run: Runner, emulator: Emulator, dag_id: str, late: Late, is_group: bool
) -> None:
    flag_id = flag(emulator)
    with DAG(f"{dag_id}_first") as dag:
        rollout(is_group)
    assert run(dag).succeeded
    before = writes(emulator)
    with DAG(dag_id) as again:
        rollout(is_group)
    late.begins()
    assert run(again).succeeded
    assert writes(emulator) == before
    assert exposures(emulator, flag_id)[-1] == 100


def test_a_rollout_that_rolled_back_is_begun_again_by_clearing_it(
    run: Runner, emulator: Emulator, dag_id: str, late: Late
) -> None:
    """The newest change is the rollout's own, so no person's change is overwritten."""
    flag_id, passes = flag(emulator), [False]
    with DAG(f"{dag_id}_first") as dag:
        rollout(False, guardrails=[lambda moment: passes[0]])
    assert not run(dag).succeeded
    assert exposures(emulator, flag_id) == [0, 1, 0]
    passes[0] = True
    with DAG(dag_id) as again:
        rollout(False, guardrails=[lambda moment: passes[0]])
    late.begins()
    assert run(again).succeeded
    assert exposures(emulator, flag_id) == [0, 1, 0, 1, 25, 100]


@pytest.mark.parametrize(("then", "state"), [("fail", "failed"), ("skip", "skipped"), ("write", "success")])
def test_what_follows_is_said_by_the_task(
    run: Runner, emulator: Emulator, dag_id: str, late: Late, then: str, state: str
) -> None:
    flag_id = flag(emulator, enabled=True)
    emulator.edit("flags", flag_id, by="Maria", rolloutPercentage=100)
    with DAG(dag_id) as dag:
        AmplitudeSetRolloutOperator(task_id="set", flag_key="search", percentage=50, if_changed_since=then)
        AmplitudeSetRolloutOperator(task_id="same", flag_key="search", percentage=100, if_changed_since=then)
    late.begins()
    ran = run(dag)
    assert ran.states["set"] == state
    assert exposures(emulator, flag_id)[-1] in ((50, 100) if then == "write" else (100,))
    if then != "write":
        assert ran.states["same"] == "success"  # the flag already has this value, so there is no change


def test_a_backfill_overrules_nobody_and_the_kill_switch_works_always(
    run: Runner, emulator: Emulator, dag_id: str, late: Late
) -> None:
    beta = {
        "name": "Beta",
        "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
        "percentage": 5,
        "rolloutWeights": {"on": 1},
    }
    flag_id = flag(emulator, enabled=True, targetSegments=[beta], rolloutWeights={"on": 1})
    emulator.edit("flags", flag_id, by="Maria", enabled=False)
    emulator.edit("flags", flag_id, by="Maria", targetSegments=[{**beta, "percentage": 80}], tags=["a"])
    other_id, broken = flag(emulator, "other", enabled=True), Failures()
    emulator.edit("flags", other_id, by="Maria", rolloutPercentage=7)
    with DAG(dag_id, default_args=broken.callback) as dag:
        AmplitudeEnableOperator(task_id="enable", flag_key="search")
        AmplitudeSetRolloutOperator(task_id="segment", flag_key="search", segment="Beta", percentage=10)
        AmplitudeEditOperator(task_id="tags", flag_id=flag_id, fields={"tags": ["b"]})
        AmplitudeEditOperator(task_id="name", flag_key="search", fields={"description": "new"})
        AmplitudeDisableOperator(task_id="off", flag_key="other")
    late.begins()
    ran = run(dag)
    assert ran.states == {
        "enable": "failed",
        "segment": "failed",
        "tags": "failed",
        "name": "success",  # no person changed the name
        "off": "success",
    }
    assert "enabled was changed from True to False by Maria" in broken.said("enable")
    found = {stored["id"]: stored for stored in emulator.dump()["flags"]}
    assert (found[flag_id]["enabled"], found[flag_id]["tags"]) == (False, ["a"])
    assert found[other_id]["enabled"] is False


def test_a_segment_beside_two_of_one_name_is_not_overruled(
    run: Runner, emulator: Emulator, dag_id: str, late: Late
) -> None:
    """In this case the history shows all segments as one field."""
    condition = {"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}
    variants = [{"key": "on"}, {"key": "new"}]

    def segments(beta: int, weights: dict[str, int]) -> list[dict[str, Any]]:
        twin = {"name": "Staff", "conditions": [condition], "percentage": 100, "rolloutWeights": {"on": 1}}
        return [twin, twin, {**twin, "name": "Beta", "percentage": beta, "rolloutWeights": weights}]

    flag_id = flag(emulator, enabled=True, variants=variants, targetSegments=segments(50, {"on": 0, "new": 1}))
    emulator.edit("flags", flag_id, by="Maria", targetSegments=segments(0, {"on": 1, "new": 0}))
    with DAG(dag_id) as dag:
        AmplitudeSetRolloutOperator(task_id="segment", flag_key="search", segment="Beta", percentage=50)
        AmplitudeSetWeightsOperator(task_id="weights", flag_key="search", segment="Beta", weights={"on": 0, "new": 1})
    late.begins()
    assert run(dag).states == {"segment": "failed", "weights": "failed"}
    beta = emulator.flag(flag_id)["targetSegments"][-1]
    assert (beta["percentage"], beta["rolloutWeights"]) == (0, {"on": 1, "new": 0})


def test_weights_that_somebody_set_since_are_kept(run: Runner, emulator: Emulator, dag_id: str, late: Late) -> None:
    variants = [{"key": "blue"}, {"key": "green"}]
    flag_id = flag(emulator, variants=variants, rolloutWeights={"blue": 1, "green": 1})
    emulator.edit("flags", flag_id, by="Maria", rolloutWeights={"blue": 0, "green": 1})
    with DAG(dag_id) as dag:
        AmplitudeSetWeightsOperator(task_id="set", flag_key="search", weights={"blue": 1, "green": 0})
    late.begins()
    assert run(dag).states == {"set": "failed"}


WEB, SERVER, IOS = "600001", "600002", "600003"


def deploy(emulator: Emulator) -> None:
    emulator.load(
        {"deployments": [{"id": id, "label": f"app-{id}", "key": f"client-{id}"} for id in (WEB, SERVER, IOS)]}
    )


def german(percentage: int) -> dict[str, Any]:
    condition = {"type": "property", "prop": "country", "op": "is", "values": ["DE"]}
    return {"name": "DE", "conditions": [condition], "percentage": percentage, "rolloutWeights": {"blue": 1}}


TWO = [{"key": "blue"}, {"key": "green"}]
# A person's change, and the task that would undo it.
UNDONE: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "create": ({"targetSegments": [german(0)]}, AmplitudeCreateFlagOperator, {"target_segments": [german(100)]}),
    "create with weights": (
        {"rolloutWeights": {"blue": 0, "green": 1}},
        AmplitudeCreateFlagOperator,
        {"rollout_weights": {"blue": 3}},
    ),
    "create with variants": (
        {"rolloutWeights": {"blue": 0, "green": 1}},
        AmplitudeCreateFlagOperator,
        {"variants": [{"key": "blue", "rolloutWeight": 3}]},
    ),
    "create with deployments": ({"deployments": [SERVER]}, AmplitudeCreateFlagOperator, {"deployments": [WEB]}),
    "edit a variant": (
        {"rolloutWeights": {"blue": 0, "green": 1}},
        AmplitudeEditVariantOperator,
        {"variant": "blue", "fields": {"rolloutWeight": 3}},
    ),
    "create a variant": (
        {"rolloutWeights": {"blue": 0, "green": 1}},
        AmplitudeCreateVariantOperator,
        {"variant": "blue", "rollout_weight": 3},
    ),
    "create a variant that was removed": (
        {"variants": [{"key": "green"}], "rolloutWeights": {"green": 1}},
        AmplitudeCreateVariantOperator,
        {"variant": "blue", "rollout_weight": 3},
    ),
    "remove a variant": (
        {"rolloutWeights": {"blue": 1, "green": 99}},
        AmplitudeRemoveVariantOperator,
        {"variant": "green"},
    ),
    "add a deployment": ({"deployments": [SERVER]}, AmplitudeAddDeploymentsOperator, {"deployment_ids": [WEB, SERVER]}),
}


@pytest.mark.parametrize("name", UNDONE)
@pytest.mark.parametrize(("then", "state"), [("fail", "failed"), ("skip", "skipped"), ("write", "success")])
def test_an_old_run_undoes_no_later_edit_of_variants_deployments_and_the_fields_of_a_creation(
    run: Runner, emulator: Emulator, dag_id: str, late: Late, name: str, then: str, state: str
) -> None:
    edit, operator, arguments = UNDONE[name]
    deploy(emulator)
    segments, weights = [german(100)], {"blue": 1, "green": 1}
    flag_id = flag(
        emulator, enabled=True, variants=TWO, rolloutWeights=weights, targetSegments=segments, deployments=[WEB]
    )
    emulator.edit("flags", flag_id, by="Maria", **edit)
    before, broken = emulator.flag(flag_id), Failures()
    updates = {"if_exists": "update"} if "create" in name else {}
    with DAG(dag_id, default_args=broken.callback) as dag:
        operator(task_id="task", flag_key="search", **arguments, **updates, if_changed_since=then)
    late.begins()
    assert run(dag).states == {"task": state}
    assert (emulator.flag(flag_id) == before) is (then != "write")
    if then == "fail":
        assert "by Maria" in broken.said("task")


def test_an_old_run_creates_a_flag_and_an_experiment_that_do_not_exist(
    run: Runner, emulator: Emulator, dag_id: str, late: Late
) -> None:
    with DAG(dag_id) as dag:
        AmplitudeCreateFlagOperator(task_id="a", flag_key="new", variants=TWO, if_exists="update")
        AmplitudeCreateExperimentOperator(task_id="b", experiment_key="newer", variants=TWO, if_exists="update")
    late.begins()
    assert run(dag).succeeded
    assert [len(emulator.dump()[kind]) for kind in ("flags", "experiments")] == [1, 1]


def test_an_old_run_changes_what_no_later_edit_is_about(
    run: Runner, emulator: Emulator, dag_id: str, late: Late
) -> None:
    deploy(emulator)
    weights = {"blue": 1, "green": 1}
    flag_id = flag(emulator, enabled=True, variants=TWO, rolloutWeights=weights, deployments=[WEB])
    emulator.edit("flags", flag_id, by="Maria", deployments=[SERVER], rolloutWeights={"blue": 1, "green": 0})
    with DAG(dag_id) as dag:
        add = AmplitudeAddDeploymentsOperator(task_id="add", flag_key="search", deployment_ids=[SERVER, IOS])
        edit = AmplitudeEditVariantOperator(
            task_id="edit", flag_key="search", variant="green", fields={"name": "Green", "description": "New"}
        )
        update = AmplitudeCreateFlagOperator(
            task_id="update", flag_key="search", if_exists="update", name="Search", rollout_weights={"blue": 2}
        )
        remove = AmplitudeRemoveDeploymentOperator(task_id="remove", flag_key="search", deployment_id=SERVER)
        add >> edit >> update >> remove
    late.begins()
    assert run(dag).succeeded
    assert emulator.flag(flag_id)["deployments"] == [IOS]
    assert emulator.flag(flag_id)["rolloutWeights"] == {"blue": 2, "green": 0}


def test_a_run_that_began_in_time_costs_no_request_more(run: Runner, emulator: Emulator, dag_id: str) -> None:
    flag_id = flag(emulator, enabled=True)
    emulator.edit("flags", flag_id, by="Maria", enabled=False)
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeEnableOperator(task_id="set", flag_key="search")
    assert run(dag).succeeded
    assert emulator.requests()["by_route"] == {
        "GET /api/1/flags": 1,
        "PATCH /api/1/flags/{id}": 1,
        "GET /api/1/flags/{id}": 1,
    }


def edits_before_the_retry(emulator: Emulator, flag_id: str, **edit: Any) -> dict[str, Any]:
    """Return the arguments of a task that fails at its write and is retried, after Maria's edit."""

    def edited(context: Any) -> None:
        emulator.clear_faults()
        if edit:
            emulator.edit("flags", flag_id, by="Maria", **edit)

    return {"retries": 1, "retry_delay": 0, "on_retry_callback": edited}


@pytest.mark.skipif(not HAS_TASK_STATE, reason="Airflow 3.2 keeps nothing of an attempt that failed")
@pytest.mark.parametrize(("then", "state"), [("fail", "failed"), ("skip", "skipped"), ("write", "success")])
def test_a_retry_leaves_what_a_person_did_since_the_first_attempt_began(
    run: Runner, impatient: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch, then: str, state: str
) -> None:
    from airflow_provider_ampexp.operators import _outdated_run as outdated_run

    monkeypatch.setattr(outdated_run, "_CLOCK_STEP", timedelta(0))  # here Maria edits faster than a person could
    flag_id, broken = flag(impatient, enabled=True, rolloutPercentage=5), Failures()
    impatient.fault("status", status=503, times=None, route="PATCH /api/1/flags/{id}")
    retried = edits_before_the_retry(impatient, flag_id, rolloutPercentage=0)
    with DAG(dag_id, default_args=broken.callback) as dag:
        AmplitudeSetRolloutOperator(task_id="set", flag_key="search", percentage=50, if_changed_since=then, **retried)
    ran = run(dag)
    assert (ran.states["set"], ran.tries["set"]) == (state, 2)
    assert exposures(impatient, flag_id)[-1] == (50 if then == "write" else 0)
    if then == "fail":
        assert "was changed from 5 to 0 by Maria" in broken.said("set")


def test_a_retry_takes_no_earlier_task_of_its_run_for_somebody_else(
    run: Runner, impatient: Emulator, dag_id: str
) -> None:
    flag_id = flag(impatient, enabled=True, rolloutPercentage=5)
    retried = edits_before_the_retry(impatient, flag_id)
    with DAG(dag_id) as dag:
        first = AmplitudeSetRolloutOperator(task_id="first", flag_key="search", percentage=10)

        @dag.task
        def break_writes() -> None:
            impatient.fault("status", status=503, times=None, route="PATCH /api/1/flags/{id}")

        (
            first
            >> break_writes()
            >> AmplitudeSetRolloutOperator(task_id="set", flag_key="search", percentage=50, **retried)
        )
    ran = run(dag)
    assert (ran.states["set"], ran.tries["set"]) == ("success", 2)
    assert exposures(impatient, flag_id)[-1] == 50


def test_a_retry_takes_its_own_first_write_for_no_change_of_somebody_else(
    run: Runner, impatient: Emulator, dag_id: str
) -> None:
    """The write of the first attempt was applied, and all its responses from then on were lost."""
    flag_id = flag(impatient, enabled=True, rolloutPercentage=5)
    impatient.fault("cut_after", times=None, route="PATCH /api/1/flags/{id}")
    impatient.fault("status", status=503, times=None, route="GET /api/1/flags/{id}")
    with DAG(dag_id) as dag:
        AmplitudeSetRolloutOperator(
            task_id="set", flag_key="search", percentage=50, **edits_before_the_retry(impatient, flag_id)
        )
    ran = run(dag)
    assert (ran.states["set"], ran.tries["set"]) == ("success", 2)
    assert exposures(impatient, flag_id)[-1] == 50


@pytest.mark.parametrize(("then", "state"), [("fail", "failed"), ("skip", "skipped"), ("write", "success")])
def test_an_old_run_replaces_no_later_dependencies(
    run: Runner, emulator: Emulator, dag_id: str, late: Late, then: str, state: str
) -> None:
    flag_id = flag(emulator)
    hers, ours = ({"flags": {emulator.create_flag(key)["id"]: ["on"]}, "operator": "all"} for key in ("hers", "ours"))
    emulator.edit("flags", flag_id, by="Maria", parentDependencies=hers)
    with DAG(dag_id) as dag:
        AmplitudeSetDependenciesOperator(
            task_id="set", flag_key="search", depends_on={"ours": ["on"]}, if_changed_since=then
        )
    late.begins()
    assert run(dag).states == {"set": state}
    assert emulator.flag(flag_id)["parentDependencies"] == (ours if then == "write" else hers)


DECISION = {"experiment_key": "button", "decision": "rollout", "winner": "treatment"}


def experiment(emulator: Emulator) -> str:
    variants = [{"key": "control"}, {"key": "treatment", "name": "Green button"}]
    return str(emulator.create_experiment("button", enabled=True, rolloutPercentage=20, variants=variants)["id"])


@pytest.mark.parametrize(
    "edit", [{"decision": "rollback"}, {"rolloutPercentage": 5}, {"rolloutWeights": {"control": 9, "treatment": 1}}]
)
def test_an_old_run_rolls_no_winner_out_over_a_later_change_and_rolls_back_always(
    run: Runner, emulator: Emulator, dag_id: str, late: Late, edit: dict[str, Any]
) -> None:
    experiment_id = experiment(emulator)
    emulator.edit("experiments", experiment_id, by="Maria", **edit)
    before = emulator.experiment(experiment_id)
    with DAG(dag_id) as dag:
        AmplitudeDecideExperimentOperator(task_id="roll_out", **DECISION)
    late.begins()
    assert run(dag).states == {"roll_out": "failed"}
    assert emulator.experiment(experiment_id) == before
    with DAG(f"{dag_id}_back") as dag:
        AmplitudeDecideExperimentOperator(task_id="back", experiment_key="button", decision="{{ 'rollback' }}")
    late.begins()
    assert run(dag).succeeded
    assert emulator.experiment(experiment_id)["enabled"] is False


SEVERAL_WRITES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "decide": (AmplitudeDecideExperimentOperator, DECISION, "PATCH /api/1/experiments/{id}"),
    "decide by name": (
        AmplitudeDecideExperimentOperator,
        {**DECISION, "winner": "Green button"},
        "PATCH /api/1/experiments/{id}",
    ),
    "restore": (
        AmplitudeRestoreVersionOperator,
        {"experiment_key": "button", "version": 1, "overwrite": True},
        "PATCH /api/1/experiments/{id}/variants/{variantKey}",
    ),
    "create": (
        AmplitudeCreateExperimentOperator,
        {
            "experiment_key": "button",
            "if_exists": "update",
            "variants": [{"key": "treatment", "payload": {"color": "green"}, "rolloutWeight": 3}],
            "target_segments": [{**german(5), "rolloutWeights": {"treatment": 1}}],
            "rollout_weights": {"treatment": 3, "control": 0},
        },
        "PATCH /api/1/experiments/{id}/variants/{variantKey}",
    ),
    "weigh": (
        AmplitudeSetWeightsOperator,
        {"experiment_key": "button", "weights": {"treatment": 3}, "others": 0},
        "PATCH /api/1/experiments/{id}/variants/{variantKey}",
    ),
}


@pytest.mark.skipif(not HAS_TASK_STATE, reason="Airflow 3.2 keeps nothing of an attempt that failed")
@pytest.mark.parametrize("name", SEVERAL_WRITES)
@pytest.mark.parametrize("theirs", [None, 9], ids=["alone", "Maria sets the weight again"])
def test_a_retry_completes_several_writes_of_which_the_first_was_applied(
    run: Runner, impatient: Emulator, dag_id: str, monkeypatch: pytest.MonkeyPatch, name: str, theirs: int | None
) -> None:
    from airflow_provider_ampexp.operators import _outdated_run as outdated_run

    monkeypatch.setattr(outdated_run, "_CLOCK_STEP", timedelta(0))
    operator, arguments, route = SEVERAL_WRITES[name]
    experiment_id, broken = experiment(impatient), Failures()
    before = {"control": 5, "treatment": 0 if name == "decide by name" else 5}
    impatient.edit("experiments", experiment_id, rolloutWeights=before, rolloutPercentage=50)
    impatient.advance(60)
    impatient.fault("status", status=503, times=None, skip=int("decide" not in name), route=route)

    def edited(context: Any) -> None:
        impatient.clear_faults()
        if theirs is not None:
            weights = {"control": theirs, "treatment": theirs}
            impatient.edit("experiments", experiment_id, by="Maria", rolloutWeights=weights)

    with DAG(dag_id, default_args=broken.callback) as dag:
        operator(task_id="task", **arguments, retries=1, retry_delay=0, on_retry_callback=edited)
    ran = run(dag)
    assert ran.tries == {"task": 2}
    assert ran.states == {"task": "success" if theirs is None else "failed"}
    weights = impatient.experiment(experiment_id)["rolloutWeights"]
    if theirs is None:
        given = ["control", "treatment"] if name == "restore" else ["treatment"]
        assert [key for key, weight in weights.items() if weight] == given
    else:
        assert weights == {"control": theirs, "treatment": theirs}
        assert f"to {theirs} by Maria" in broken.said("task")
