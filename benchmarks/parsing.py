"""The cost of the imports of all operators, sensors and groups for the parse of a DAG file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from benchmarks.rounds import spread
from benchmarks.row import Part, Row, table
from tools.scratch import ROOT

ROUNDS = 15

# The imports that each DAG file with operators, sensors and groups needs.
_SDK = """
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, TaskGroup, conf, task
from airflow.sdk.exceptions import AirflowFailException
with DAG("bare"):
    BaseOperator(task_id="one")
"""

_PACKAGES = ("operators", "sensors", "task_groups")

_HTTP = "from airflow.providers.http.operators.http import HttpOperator\n"

_TASKS = """
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
with DAG("tasks"):
    for number in range({count}):
        AmplitudeRampRolloutOperator(task_id=f"ramp_{{number}}", flag_key="search", stages=[1, 5, 25, 100], soak="1h")
"""
_BARE_TASKS = """
with DAG("tasks"):
    for number in range({count}):
        BaseOperator(task_id=f"task_{{number}}")
"""

_HEAVY = ("requests", "tenacity", "pydantic_core", "airflow.triggers.base", "airflow_provider_ampexp.client._transport")


def _all_operators() -> str:
    """Return the imports of all public operators and sensors, and of the packages of tasks."""
    found = [f"import airflow_provider_ampexp.{package}" for package in _PACKAGES]
    for package in _PACKAGES:
        for path in sorted((ROOT / "airflow_provider_ampexp" / package).glob("*.py")):
            for name in re.findall(r"^class (Amplitude\w+(?:Operator|Sensor))\b", path.read_text(), re.MULTILINE):
                found.append(f"from airflow_provider_ampexp.{package}.{path.stem} import {name}")
    return "\n".join([*found, "from airflow_provider_ampexp.task_groups.rollout import staged_rollout", ""])


def measure() -> Part:
    """Measure fresh processes in turns. The least time counts, because load on the machine only adds to the time."""
    imports = _all_operators()
    files = {"ours": imports, "http": _HTTP}
    # A first round compiles all modules.
    loaded, _ = (_added(file)["loaded"] for file in files.values())
    added: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(ROUNDS):
        for name, file in files.items():
            added[name].append(_added(file)["ms"])
    ours, http = min(added["ours"]), min(added["http"])
    grown = []
    for count in (1, 10, 100):
        mine = _added(imports, _TASKS.format(count=count))["ms"]
        bare = _added(imports, _BARE_TASKS.format(count=count))["ms"]
        grown.append((count, f"{mine:.1f}", f"{mine / count:.2f}", f"{bare / count:.2f}"))
    return Part(
        "Parsing",
        [
            Row(
                "parse of a DAG file: import of all operators",
                "bare `airflow.sdk`; `HttpOperator`",
                "at most 20 ms",
                f"{ours:.0f} ms (half of the rounds: {spread(added['ours'], 0)}), against {http:.0f} ms "
                f"({spread(added['http'], 0)}) of `HttpOperator`: {ours / http:.2f} x",
                ours <= 20,
            )
        ],
        [
            f"{ROUNDS} fresh processes each, in turns, after the import of `airflow.sdk` with its operators, sensors "
            "and groups. The least time in milliseconds of CPU counts, because load only adds to it. Modules that a "
            f"DAG file should not load: {', '.join(loaded) or 'none'} loaded.",
            table(["ramps in the file", "ms in total", "ms each", "ms for a BaseOperator each"], grown),
        ],
    )


_CHILD = """
import sys, time, json
exec(compile({before!r}, "before", "exec"))
known = set(sys.modules)
code = compile({measured!r}, "measured", "exec")
began = time.process_time()
exec(code)
ms = (time.process_time() - began) * 1000
print(json.dumps({{"ms": ms, "loaded": [one for one in {heavy!r} if one in sys.modules and one not in known]}}))
"""


def _added(first: str, then: str = "") -> dict:
    """Return the cost of a file after the bare file; with a second file, the cost of the second after both."""
    before, measured = (_SDK + first, then) if then else (_SDK, first)
    child = _CHILD.format(before=before, measured=measured, heavy=_HEAVY)
    # Without compiled modules, an import is mostly the compilation.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", child], env=env, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])
