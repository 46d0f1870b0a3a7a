"""The provider's metadata in Airflow, and the cost of parsing a DAG that uses the provider."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_ampexp.get_provider_info import get_provider_info

INFO = get_provider_info()


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_what_airflows_schema_says() -> None:
    folder = Path(airflow.__file__).parent
    jsonschema.validate(INFO, json.loads((folder / "provider_info.schema.json").read_text()))
    # the schema of the form is in another file, which Airflow does not use to check installed providers
    whole = json.loads((folder / "provider.yaml.schema.json").read_text())
    jsonschema.validate(INFO["connection-types"], whole["properties"]["connection-types"])


def test_its_integration_has_guides_and_a_logo() -> None:
    docs = Path(__file__).parents[2] / "docs"
    (integration,) = INFO["integrations"]
    guides = [docs / guide.removeprefix("/docs/") for guide in integration["how-to-guide"]]
    assert all(guide.is_file() for guide in guides)
    assert {guide for guide in guides if guide.parent.name == "operators"} == set((docs / "operators").glob("*.md"))
    assert (docs / integration["logo"].lstrip("/")).is_file()
    folder = Path(airflow.__file__).parent
    whole = json.loads((folder / "provider.yaml.schema.json").read_text())
    jsonschema.validate(INFO["integrations"], whole["properties"]["integrations"])
    assert INFO["asset-uris"] == [
        {"schemes": ["amplitude-experiment"], "handler": "airflow_provider_ampexp.assets.sanitize_uri"}
    ]


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_module_is_named_and_there(kind: str) -> None:
    named = {module for entry in INFO[kind] for module in entry["python-modules"]}
    assert all(importlib.import_module(module) for module in named)
    package = importlib.import_module(f"airflow_provider_ampexp.{kind}")
    with_classes = {
        module.__name__
        for path in Path(str(package.__file__)).parent.glob("[!_]*.py")
        if (module := importlib.import_module(f"{package.__name__}.{path.stem}"))
        and any(
            name.startswith("Amplitude") and member.__module__ == module.__name__ and not inspect.isabstract(member)
            for name, member in inspect.getmembers(module, inspect.isclass)
        )
    }
    assert named >= with_classes


@pytest.mark.filterwarnings("ignore:ProvidersManager")  # the parts for tasks have moved to another module
def test_the_providers_manager_knows_it_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    from airflow.providers_manager import ProvidersManager

    with caplog.at_level(logging.INFO):
        manager = ProvidersManager()
        hook = manager.hooks["amplitude_experiment"]
        assert hook is not None
        assert (hook.connection_id_attribute_name, hook.hook_name) == ("amplitude_conn_id", "Amplitude Experiment")
        assert hook.connection_testable
        assert "airflow_provider_ampexp.links.amplitude.AmplitudeExperimentLink" in manager.extra_links_class_names
        fields = {
            widget.field_name: widget
            for name, widget in manager.connection_form_widgets.items()
            if name.startswith("extra__amplitude_experiment__")
        }
        assert list(fields) == ["region", "project_id", "base_url", "timeout", "retry_for"]
        region: dict[str, Any] = fields["region"].field
        assert (region["schema"]["enum"], region["value"]) == (["us", "eu"], "us")
        assert not any(widget.is_sensitive for widget in fields.values())
        behaviour = manager.field_behaviours["amplitude_experiment"]
        assert behaviour["relabeling"] == {"password": "Management API key"}
    assert [line for line in caplog.text.splitlines() if "ampl" in line.lower()] == []


def test_the_commands_show_it() -> None:
    """One process runs three commands, because the import of Airflow takes most of the time."""
    said = python(
        "from airflow.__main__ import main\n"
        "import sys\n"
        "for what in ('list', 'hooks', 'links'):\n"
        "    sys.argv = ['airflow', 'providers', what]\n"
        "    main()\n"
    )
    assert "airflow-provider-ampexp" in said
    assert "amplitude_experiment" in said
    assert "airflow_provider_ampexp.links.amplitude.AmplitudeExperimentLink" in said
    assert "warn" not in "\n".join(line for line in said.lower().splitlines() if "ampl" in line)


def test_parsing_a_dag_loads_neither_requests_nor_triggers() -> None:
    modules = [
        module for kind in ("operators", "sensors") for entry in INFO[kind] for module in entry["python-modules"]
    ]
    imports = "\n".join(f"from {module} import *" for module in modules)
    said = python(
        "import sys\n"
        "from airflow.sdk import DAG\n"
        f"{imports}\n"
        "with DAG('d'):\n"
        "    AmplitudeCreateFlagOperator(task_id='a', flag_key='a', variants=[{'key': 'on'}])\n"
        "    AmplitudeSetRolloutOperator(task_id='b', flag_key='a', percentage=1)\n"
        "    AmplitudeRolloutSensor(task_id='c', flag_key='a', at_least=1, deferrable=True)\n"
        "    AmplitudeListOperator(task_id='d', path='/tmp/x')\n"
        "    AmplitudeEditDeploymentOperator.partial(task_id='e').expand(deployment_id=['1'], label=['a'])\n"
        "print([name for name in ('requests', 'airflow.triggers.base', 'fastapi') "
        "if name in sys.modules])"
    )
    assert said.splitlines()[-1] == "[]"


def test_the_link_is_in_the_serialized_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_ampexp.operators.lifecycle import AmplitudeEnableOperator

    # The scheduler disables operator links for its whole process; the web server loads them.
    monkeypatch.setattr(DagSerialization, "_load_operator_extra_links", True)
    with DAG("linked") as dag:
        AmplitudeEnableOperator(task_id="plain", flag_key="a")
        AmplitudeEnableOperator.partial(task_id="mapped").expand(flag_key=["a"])
    back = DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dag))))
    for name in ("plain", "mapped"):
        assert [(link.name, link.xcom_key) for link in back.get_task(name).operator_extra_links] == [
            ("Amplitude", "amplitude_experiment_url")
        ]


def test_a_home_of_its_own() -> None:
    assert "ampexp-airflow-" in os.environ["AIRFLOW_HOME"]
