"""A folder of plan files in a DagBag, as in the DAG processor and in a worker."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

GOOD = "flag: checkout\nstages: [1, 50, 100]\nsoak: 1h\n"
BAD = "flag: search\nstages: [1, 100]\nsoak: 12\nrolback: off\n"
SEARCH = GOOD.replace("checkout", "search")
WARNING = "airflow_provider_ampexp.plans._errors.PlanFileWarning"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Create a DAG file with a folder that has one valid plan."""
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "checkout.yaml").write_text(GOOD)
    (tmp_path / "releases.py").write_text(
        "from airflow_provider_ampexp.plans import rollout_dags\nrollout_dags('rollouts/')\n"
    )
    return tmp_path


def bag(folder: Path) -> Any:
    """Return the DAGs of the folder. Airflow repeats the warnings for a listener; this test has none."""
    from airflow.dag_processing.dagbag import DagBag

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        with warnings.catch_warnings(record=True):
            return DagBag(str(folder), bundle_path=folder, bundle_name="dags-folder")


def warned(found: Any, folder: Path) -> list[str]:
    return [line.replace(f"{folder}/", "") for lines in found.captured_warnings.values() for line in lines]


def test_airflow_finds_the_dags_by_itself(folder: Path) -> None:
    (folder / "rollouts" / "eu").mkdir()
    (folder / "rollouts" / "eu" / "search.yml").write_text(f"{SEARCH}approve_before: [50]\nowner: ana\ntags: [a]\n")
    found = bag(folder)
    assert (found.import_errors, warned(found, folder)) == ({}, [])
    assert set(found.dags) == {"checkout", "search"}
    assert {value.relative_fileloc for value in found.dags.values()} == {"releases.py"}
    assert set(found.dags["checkout"].task_ids) == {
        "rollout.rollback",
        "rollout.stage_1",
        "rollout.stage_50",
        "rollout.stage_100",
    }
    search = found.dags["search"]
    assert "rollout.approve_50" in search.task_ids
    assert (search.tags, search.max_active_runs, search.catchup) == ({"a"}, 1, False)
    assert {task.owner for task in search.tasks} == {"ana"}
    assert f"~~~yaml\n{GOOD}" in found.dags["checkout"].doc_md


def test_a_bad_file_is_a_warning_and_hides_no_other(folder: Path) -> None:
    (folder / "rollouts" / "search.yaml").write_text(BAD)
    (folder / "rollouts" / "zebra.yaml").write_text(GOOD.replace("checkout", "zebra"))
    found = bag(folder)
    assert found.import_errors == {}
    assert set(found.dags) == {"checkout", "zebra", "search.broken"}
    assert warned(found, folder) == [
        f"rollouts/search.yaml:3: {WARNING}: soak: 12 has no unit; write '12s', '12m', '12h' or '12d'",
        f"rollouts/search.yaml:4: {WARNING}: rolback: is an unknown field; is 'rollback' meant?",
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "schedule: every day\n",
            "4: WARNING: schedule: expected cron or a preset such as '@once', got 'every day': "
            "Exactly 5, 6 or 7 columns has to be specified for iterator expression.",
        ),
        (
            "poll_interval: 0s\n",
            "4: WARNING: poll_interval: expected more than 0 seconds, such as 60 or '1m', got '0s'",
        ),
        ("description: |\n  one\n  two\nschedule: '@daily'\n", None),
    ],
)
def test_what_airflow_does_not_accept_is_a_warning_too(folder: Path, more: str, said: str | None) -> None:
    """In a DAG file written by a user, this would be an import error, which hides all DAGs of the file."""
    (folder / "rollouts" / "search.yaml").write_text(f"{SEARCH}{more}")
    found = bag(folder)
    assert found.import_errors == {}
    assert "checkout" in found.dags
    assert ("search" in found.dags) == (said is None)
    assert warned(found, folder) == ([f"rollouts/search.yaml:{said.replace('WARNING', WARNING)}"] if said else [])


def test_a_dag_that_was_only_half_made_is_not_taken_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_ampexp._validate import InvalidInputError
    from airflow_provider_ampexp.task_groups import rollout

    whole = rollout.staged_rollout

    def half(**arguments: Any) -> Any:
        made = whole(**arguments)
        if arguments["flag_key"] == "broken":
            raise RuntimeError("something\nunheard of")
        if arguments["flag_key"] == "refused":
            raise InvalidInputError("amplitude_conn_id", "is refused")
        return made

    monkeypatch.setattr(rollout, "staged_rollout", half)
    (folder / "rollouts" / "broken.yaml").write_text(GOOD.replace("checkout", "broken"))
    (folder / "rollouts" / "refused.yaml").write_text(GOOD.replace("checkout", "refused") + "connection: a\n")
    found = bag(folder)
    assert (set(found.dags), found.import_errors) == ({"checkout", "broken.broken", "refused.broken"}, {})
    assert warned(found, folder) == [
        f"rollouts/broken.yaml:1: {WARNING}: Airflow does not accept the DAG: RuntimeError: something unheard of",
        f"rollouts/refused.yaml:4: {WARNING}: connection: is refused",
    ]


def test_what_nobody_thought_of_hides_no_other_file_either(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = importlib.import_module("airflow_provider_ampexp.plans._loader")
    whole = reading.read_plan

    def broken(path: Path, defaults: Any) -> Any:
        return whole(path, defaults) if path.stem == "checkout" else 1 / 0

    monkeypatch.setattr(reading, "read_plan", broken)
    (folder / "rollouts" / "a.yaml").write_text(GOOD)
    found = bag(folder)
    assert (set(found.dags), found.import_errors) == ({"checkout", "a.broken"}, {})
    assert warned(found, folder) == [
        f"rollouts/a.yaml:1: {WARNING}: cannot be read: ZeroDivisionError: division by zero"
    ]


def test_a_mistake_in_the_dag_file_is_an_import_error(folder: Path) -> None:
    (folder / "releases.py").write_text(
        "from airflow_provider_ampexp.plans import rollout_dags\nrollout_dags('rolouts/')\n"
    )
    (error,) = bag(folder).import_errors.values()
    assert f"NotADirectoryError: expected a folder or a plan file, but '{folder}/rolouts' does not exist" in error
    (folder / "releases.py").write_text(
        "from airflow_provider_ampexp.plans import rollout_dags\nrollout_dags('rollouts/', sok='1h')\n"
    )
    (error,) = bag(folder).import_errors.values()
    assert "InvalidInputError: sok: is an unknown field; is 'soak' meant?" in error


def test_the_dags_can_be_put_into_globals_too(folder: Path) -> None:
    (folder / "releases.py").write_text(
        "from airflow_provider_ampexp.plans import rollout_dags\n"
        "globals().update(rollout_dags('rollouts/', tags=['release'], connection='amplitude_eu'))\n"
    )
    found = bag(folder)
    assert found.import_errors == {}
    assert {name: dag.tags for name, dag in found.dags.items()} == {"checkout": {"release"}}
    assert found.dags["checkout"].get_task("rollout.stage_1").amplitude_conn_id == "amplitude_eu"


def test_each_parse_reads_the_folder_anew_and_finds_the_same(folder: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    def serialized() -> str:
        dag = bag(folder).dags["checkout"]
        return json.dumps(DagSerialization.to_dict(dag), sort_keys=True, default=str)

    (folder / "rollouts" / "checkout.yaml").write_text(
        (Path(__file__).parents[2] / "example_dags" / "rollouts" / "new-checkout.yaml").read_text()
    )
    assert serialized() == serialized()  # otherwise each parse would make a new version of the DAG
    (folder / "rollouts" / "search.yaml").write_text(SEARCH)
    assert set(bag(folder).dags) == {"checkout", "search"}
    (folder / "rollouts" / "checkout.yaml").unlink()
    assert set(bag(folder).dags) == {"search"}


def test_the_examples() -> None:
    from airflow.dag_processing.dagbag import DagBag

    found = DagBag(str(Path(__file__).parents[2] / "example_dags" / "rollouts_from_files.py"))
    assert (found.import_errors, found.captured_warnings) == ({}, {})
    assert set(found.dags) == {"new-checkout", "search-ranking"}


def test_parsing_loads_pydantic_and_yaml_but_not_requests(folder: Path) -> None:
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(folder)!r})\n"
        "import releases\n"
        "names = ('pydantic', 'yaml', 'requests', 'fastapi', 'airflow.triggers.base')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['pydantic', 'yaml']"


def test_who_wants_an_import_error_can_have_one(folder: Path) -> None:
    (folder / "rollouts" / "search.yaml").write_text(BAD)
    (folder / "releases.py").write_text(
        "import warnings\n"
        "from airflow_provider_ampexp.plans import PlanFileWarning, rollout_dags\n"
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('error', PlanFileWarning)\n"
        "    rollout_dags('rollouts/')\n"
    )
    found = bag(folder)
    (error,) = found.import_errors.values()
    assert "PlanFileWarning: soak: 12 has no unit" in error
    assert set(found.dags) == set()


def test_a_broken_file_is_a_dag_that_fails_with_its_mistakes(folder: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    (folder / "rollouts" / "search.yaml").write_text(BAD)
    dag = bag(folder).dags["search.broken"]
    assert dag.tags == {"broken-plan-file"}
    assert "search.yaml:3: soak: 12 has no unit" in dag.doc_md
    assert (dag.is_paused_upon_creation, dag.catchup) == (False, False)  # the DAG runs once, by itself
    (task,) = dag.tasks
    with pytest.raises(AirflowFailException, match=r"search\.yaml:4: rolback: is an unknown field"):
        task.execute({})


def test_a_file_that_becomes_wrong_leaves_the_tasks_of_its_run_alone(folder: Path) -> None:
    """With the id of the file's own DAG, Airflow would remove the tasks of a running rollout."""
    before = set(bag(folder).dags)
    (folder / "rollouts" / "checkout.yaml").write_text(BAD)
    assert before & set(bag(folder).dags) == set()


def test_two_files_that_ramp_one_flag_are_told(folder: Path) -> None:
    (folder / "rollouts" / "zebra.yaml").write_text(GOOD)
    (folder / "rollouts" / "beta.yaml").write_text(f"{GOOD}segment: Beta\n")  # another audience
    found = bag(folder)
    assert set(found.dags) == {"checkout", "zebra", "beta"}
    assert warned(found, folder) == [
        f"rollouts/zebra.yaml:1: {WARNING}: flag: {folder}/rollouts/checkout.yaml ramps the same flag; "
        "each rollout would stop at the changes of the other".replace(f"{folder}/", "")
    ]


def test_a_plan_creates_its_flag_and_lets_qa_in_before_its_first_stage(folder: Path) -> None:
    (folder / "rollouts" / "checkout.yaml").write_text(
        f"{GOOD}project_id: 100001\ncreate:\n  name: New checkout\n  variants: [on]\n  rollout_weights: {{on: 1}}\n"
        "inclusions:\n  on: [qa@example.com, 42]\n"
    )
    found = bag(folder)
    assert warned(found, folder) == []
    dag = found.dags["checkout"]
    create, include = dag.get_task("create"), dag.get_task("include_on")
    assert (create.flag_key, create.project_id, create.variants) == ("checkout", "100001", [{"key": "on"}])
    assert (include.variant, include.users) == ("on", ["qa@example.com", "42"])
    assert create.downstream_task_ids == {"include_on"}
    assert "rollout.stage_1" in include.downstream_task_ids


def test_a_plan_names_a_queue_params_and_callbacks(folder: Path) -> None:
    (folder / "alerts.py").write_text("def page(context):\n    pass\n")
    (folder / "rollouts" / "checkout.yaml").write_text(
        f"{GOOD}queue: releases\nparams: {{team: payments}}\non_failure_callback: alerts:page\n"
    )
    sys.path.insert(0, str(folder))
    try:
        dag = bag(folder).dags["checkout"]
    finally:
        sys.path.remove(str(folder))
        del sys.modules["alerts"]
    assert {task.queue for task in dag.tasks} == {"releases"}
    assert dag.params["team"] == "payments"
    assert dag.has_on_failure_callback
    assert dag.on_failure_callback.__name__ == "page"
