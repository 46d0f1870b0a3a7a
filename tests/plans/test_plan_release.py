"""A plan file with several flags: a coordinated release."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.plans._cli import main
from airflow_provider_ampexp.plans._dag_factory import rollout_dag
from airflow_provider_ampexp.plans._errors import PlanFileError
from airflow_provider_ampexp.plans._loader import plans_of_one_flag, read_plan, read_plans

RELEASE = """\
release:
  - flag: api
    create: {variants: ["on"], rollout_weights: {"on": 1}}
    stages: [50]
  - flag: web
    soak: 1d
    approve_before: [100]
    inclusions: {"on": [ana]}
regions: {us: amplitude_us, eu: amplitude_eu}
stages: [5, 100]
soak: 4h
owner: ana
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "checkout.yaml"
    found.write_text(RELEASE)
    return found


def mistakes(path: Path, text: str) -> list[str]:
    """Return the mistakes of the file, and of its DAG."""
    path.write_text(text)
    try:
        rollout_dag(read_plan(path))
    except PlanFileError as error:
        return [f"{mistake.line}: {mistake.sentence}" for mistake in error.mistakes]
    return []


def test_each_flag_has_its_own_fields_otherwise_those_of_the_release(path: Path) -> None:
    api, web = read_plan(path).flags
    assert [stage.percentage for stage in api.rollout_plan().all_stages] == [50]
    assert [(stage.percentage, str(stage.soak)) for stage in web.rollout_plan().all_stages] == [
        (5, "1 day, 0:00:00"),
        (100, "0:00:00"),
    ]
    assert [(rollout.plan.connection, rollout.plan.flag) for rollout in read_plan(path).rollouts] == [
        (f"amplitude_{region}", key) for region in ("us", "eu") for key in ("api", "web")
    ]


def test_the_dag_releases_the_flags_in_their_order(path: Path) -> None:
    dag = rollout_dag(read_plan(path))
    assert (dag.dag_id, dag.max_active_runs, {task.owner for task in dag.tasks}) == ("checkout", 1, {"ana"})

    def before(task: str) -> set[str]:
        return set(dag.get_task(task).upstream_task_ids)

    checks = {"release.us.check_order", "release.eu.check_order"}
    assert before("release.us.check_order") == {"prepare_us_api.create"}
    assert before("release.us.api.stage_50") == {*checks, "prepare_us_api.create"}
    assert before("release.us.web.stage_5") == {"release.us.api.stage_50", "prepare_us_web.include_on"}
    assert before("release.us.web.stage_100") == {"release.us.web.approve_100"}
    assert before("release.eu.api.stage_50") == {"release.us.released", "prepare_eu_api.create"}
    back = dag.get_task("release.eu.web.rollback")
    assert {task for task in dag.task_ids if ".stage_" in task} <= back.upstream_task_ids
    connections = {task.task_id: task.amplitude_conn_id for task in dag.tasks if hasattr(task, "amplitude_conn_id")}
    assert {connection for name, connection in connections.items() if "eu" in name} == {"amplitude_eu"}
    assert {connection for name, connection in connections.items() if "us" in name} == {"amplitude_us"}


def test_without_regions_the_connection_of_the_release_counts(path: Path) -> None:
    path.write_text("release: [{flag: a}, {experiment_id: 7}]\nstages: [100]\nconnection: amplitude_eu\n")
    dag = rollout_dag(read_plan(path))
    assert {task.amplitude_conn_id for task in dag.tasks} == {"amplitude_eu"}  # type: ignore[union-attr]
    assert dag.get_task("release.check_order").flags == [{"flag_key": "a"}, {"experiment_id": "7"}]  # type: ignore[union-attr]
    path.write_text("release: [{flag: a}]\nregions: [us, eu]\nstages: [100]\n")
    (read,) = read_plans([path], {"connection": "other"})
    assert not isinstance(read, PlanFileError)
    assert "release.eu.a.stage_100" in rollout_dag(read).task_ids


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("release: []", ["1: release: must not be empty"]),
        ("release: [web]", ["1: release[0]: expected a group of fields, got 'web'"]),
        (
            "release:\n - flag: a\n - soak: 1h",
            ["3: release[1]: expected exactly one of flag, flag_id, experiment, experiment_id, got none"],
        ),
        ("release:\n - flag: a\n   soack: 1h", ["3: release[0].soack: is an unknown field; is 'soak' meant?"]),
        ("release:\n - flag: a\n   stages: [5, 1]", ["3: release[0].stages: expected rising percentages"]),
        ("release:\n - flag: a\n   owner: eve", ["3: release[0].owner: belongs to the release"]),
        ("release:\n - flag: a\n   window:", ["3: release[0].window: must not be empty"]),
        ("release: [{flag: a}]\nflag: b", ["2: flag: belongs to a flag of release"]),
        ("release: [{flag: a}]\nregions: [us]\nconnection: eu", ["3: connection: is given, and regions, too"]),
        ("release: [{flag: a, connection: us}, {flag: b, connection: eu}]", ["1: connection: must be the same"]),
        ("flag: a\nregions: [us]", ["2: regions: needs release"]),
        ("release: [{flag: a}]\nregions: us", ["2: regions: expected connections such as [us, eu]"]),
        ("release: [{flag: a}]\nregions: []", ["2: regions: expected connections such as [us, eu]"]),
        ("release: [{flag: a}]\nregions: {us: }", ["2: regions: expected connections"]),
        ("release: [{flag: a}]\nregions: [us, us]", ["2: regions[1]: 'us' is given twice"]),
        ("release: [{flag: a}]\nregions: [a.b, a_b]", ["2: regions[1]: 'a.b' and 'a_b' have the same task ids"]),
        ("release: [{flag: a}]\nregions: {u s: us}", ["2: regions: expected a name"]),
        ("release: [{flag: a}, {flag: a}]", ["1: release[1]: 'a' is given twice"]),
    ],
)
def test_a_mistake_has_the_line_and_the_field(path: Path, text: str, said: list[str]) -> None:
    found = mistakes(path, f"{text}\nstages: [5, 100]\nsoak: 1h\n")
    assert len(found) == len(said), found
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True)), found


def test_a_flag_of_a_release_and_of_another_file_is_a_mistake(path: Path) -> None:
    other = path.parent / "web.yaml"
    other.write_text("flag: web\nconnection: amplitude_eu\nstages: [100]\n")
    (issue,) = plans_of_one_flag(read_plans([path.parent]))
    assert f"{path} ramps the same" in str(issue)


def test_a_forecast_is_of_one_rollout_after_the_other(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", str(path), "--start", "2026-12-01T00:00:00Z"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:5] == [
        "flag 'api' (amplitude_us)",
        "50 %  Tue 2026-12-01 00:00 UTC",
        "finish  Tue 2026-12-01 00:00 UTC",
        "flag 'web' (amplitude_us)",
    ]
    assert lines[-2] == "finish  Thu 2026-12-03 00:00 UTC"


def test_the_command_plan_shows_each_flag(
    amplitude_emulator: Emulator, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for region in ("US", "EU"):
        monkeypatch.setenv(f"AIRFLOW_CONN_AMPLITUDE_{region}", amplitude_emulator.connection_json)
    for key in ("api", "web"):
        amplitude_emulator.create_flag(key, rolloutPercentage=0, enabled=True)
    assert main(["plan", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.count("flag 'api' is at 0 %") == out.count("flag 'web' is at 0 %") == 2
    assert main(["check", str(path)]) == 0
