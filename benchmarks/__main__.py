"""`python -m benchmarks`: measure everything in one run, and write docs/performance.md."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.row import Part, Row, page
from tools.scratch import ROOT, environment

if TYPE_CHECKING:
    from benchmarks.whole_airflow import WholeAirflow

PAGE = ROOT / "docs" / "performance.md"
PARTS = ("call", "listing", "parsing", "waits", "latency", "rollout_cost", "bucketing")
IN_AIRFLOW = ("latency", "rollout_cost")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="part", help=f"of {', '.join(PARTS)}; all if none")
    parser.add_argument("--write", type=Path, default=PAGE, help="where to (default: docs/performance.md)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ampexp-bench-") as scratch:
        os.environ.update(environment(Path(scratch), "{}"))
        os.environ["PYTHONPATH"] = str(ROOT)
        with ExitStack() as stack:
            whole = Whole(stack)
            parts = [_measured(name, whole) for name in options.parts]
    minutes = (time.monotonic() - began) / 60
    options.write.write_text(page(parts, _about(minutes)))
    print(page(parts, _about(minutes)))
    return 0


class Whole:
    """One complete Airflow for all parts that need it. It starts with the first of these parts."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    @cached_property
    def airflow(self) -> WholeAirflow:
        from benchmarks.whole_airflow import a_whole_airflow

        return self._stack.enter_context(a_whole_airflow())


def _measured(name: str, whole: Whole) -> Part:
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        module = importlib.import_module(f"benchmarks.{name}")
        part: Part = module.measure(whole.airflow) if name in IN_AIRFLOW else module.measure()
    except Exception as error:
        # A failed part must not discard the results of the others.
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        part = Part(name, [Row(name, "", "", f"not measured: {why}", None)])
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return part


def _about(minutes: float) -> str:
    load = os.getloadavg()[2]
    return f"""# Performance

The cost of this provider, compared with the alternatives. `make bench` measures all of it in one run and writes this
page. Compare ratios, because seconds depend on this machine and its load. A ratio is the median of several rounds in
which all alternatives take turns. The interquartile range is in brackets. A result that misses its aim is marked.

Measured on {date.today()} in {minutes:.1f} minutes, on {os.cpu_count()} cores ({platform.machine()}),
{psutil.virtual_memory().total / 2**30:.0f} GiB, Linux {platform.release().split("-")[0]}, load {load:.1f}.
Python {platform.python_version()}, {_versions()}."""


def _versions() -> str:
    wanted = ("apache-airflow", "apache-airflow-providers-http", "requests", "tenacity", "airflow-provider-ampexp")
    return ", ".join(f"{name} {version(name)}" for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
