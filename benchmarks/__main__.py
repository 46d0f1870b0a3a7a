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
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.row import Part, Row, page
from tools.scratch import ROOT, environment

PAGE = ROOT / "docs" / "performance.md"
PARTS = ("call", "listing", "parsing")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="part", help=f"of {', '.join(PARTS)}; all if none")
    parser.add_argument("--write", type=Path, default=PAGE, help="where to (default: docs/performance.md)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ampexp-bench-") as scratch:
        os.environ.update(environment(Path(scratch), "{}"))
        os.environ["PYTHONPATH"] = str(ROOT)
        parts = [_measured(name) for name in options.parts]
    minutes = (time.monotonic() - began) / 60
    options.write.write_text(page(parts, _about(minutes)))
    print(page(parts, _about(minutes)))
    return 0


def _measured(name: str) -> Part:
    print(f"{name} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        part: Part = importlib.import_module(f"benchmarks.{name}").measure()
    except Exception as error:
        # A row that could not be had is no reason to lose the others.
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        part = Part(name, [Row(name, "", "", f"not measured: {why}", None)])
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return part


def _about(minutes: float) -> str:
    load = os.getloadavg()[2]
    return f"""# What it costs

What this provider costs, beside what people would use in its place. `make bench` measures all of it in one run and writes
this page. Compare ratios: seconds are this machine's, and others worked on it at the time. A ratio is the
median of several rounds in which all contestants take turns; behind it, in brackets, stands where the middle half of
the rounds lies. What falls short of its aim is marked, and stays here.

Measured on {date.today()} in {minutes:.1f} minutes, on {os.cpu_count()} cores ({platform.machine()}),
{psutil.virtual_memory().total / 2**30:.0f} GiB, Linux {platform.release().split("-")[0]}, load {load:.1f}.
Python {platform.python_version()}, {_versions()}."""


def _versions() -> str:
    wanted = ("apache-airflow", "apache-airflow-providers-http", "requests", "tenacity", "airflow-provider-ampexp")
    return ", ".join(f"{name} {version(name)}" for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
