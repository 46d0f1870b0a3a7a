"""Each example of the documentation works as printed, unless ``<!-- fragment -->`` is on the line above."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_ampexp.conformance import _cli as conformance
from airflow_provider_ampexp.emulator import __main__ as emulator
from airflow_provider_ampexp.plans import _arguments as plan_arguments
from airflow_provider_ampexp.plans._errors import PlanFileError
from airflow_provider_ampexp.plans._loader import read_plan
from airflow_provider_ampexp.watchdog import _cli as watchdog

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
FENCED = re.compile(r"^(<!-- fragment -->\n)?```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "plans": plan_arguments.parser_of_commands,
    "emulator": emulator._parser,
    "conformance": conformance._parser,
    "watchdog": watchdog._parser,
}

# A bag for each page, because two pages may show a DAG of the same name. Files without a DAG are parsed, too.
PARSE = """
import json, os, pathlib, sys, warnings
warnings.simplefilter("ignore")
from airflow.dag_processing.dagbag import DagBag
found, environment = {}, dict(os.environ)
for path in pathlib.Path(sys.argv[1]).glob("*.py"):
    bag = DagBag(str(path), safe_mode=False)
    found[path.name] = {"dags": sorted(bag.dags), "mistakes": list(bag.import_errors.values())}
    os.environ.clear()
    os.environ.update(environment)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    :param line: the number of its first line, counted from 1
    :param language: the language of its fence; empty for none
    """

    line: int
    language: str
    text: str
    is_fragment: bool


def blocks(page: Path) -> list[Block]:
    """Return all fenced blocks. Files of the repository that the site includes have their own tests."""
    text = page.read_text()
    found = [
        Block(text.count("\n", 0, match.start(3)) + 1, match[2], match[3], match[1] is not None)
        for match in FENCED.finditer(text)
    ]
    return [block for block in found if not block.text.startswith("--8<--")]


def name_of(page: Path) -> str:
    return re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))


def examples(page: Path, language: str) -> list[Block]:
    """Return the blocks of a language that must work as printed."""
    return [block for block in blocks(page) if block.language == language and not block.is_fragment]


def plans(page: Path, folder: Path) -> list[Path]:
    """Write the YAML blocks of a page to files, with the name in the first line if there is one."""
    written = []
    for block in examples(page, "yaml"):
        named = re.match(r"# \S*?([\w-]+\.yaml)\n", block.text)
        path = folder / (named[1] if named else f"{name_of(page)}_{block.line}.yaml")
        path.write_text(block.text)
        written.append(path)
    return written


def as_a_file(page: Path, scratch: Path) -> str:
    """Return all Python of a page as one file. Each line has the same number as in the page."""
    text = ""
    for block in examples(page, "python"):
        text += "\n" * (block.line - 1 - text.count("\n")) + block.text
    return text.replace("/tmp/", f"{scratch}/")


def write_pages(folder: Path, scratch: Path) -> None:
    """Write a file for each page, and the plans of all pages beside them."""
    (folder / "rollouts").mkdir()
    for page in PAGES:
        plans(page, folder / "rollouts")
        if python := as_a_file(page, scratch):
            (folder / f"{name_of(page)}.py").write_text(python)


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """Parse each page with Airflow in a separate process without connections, and return the results."""
    folder, scratch = tmp_path_factory.mktemp("dags"), tmp_path_factory.mktemp("scratch")
    write_pages(folder, scratch)
    done = subprocess.run([sys.executable, "-c", PARSE, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


PAGES_WITH_PYTHON = [page for page in PAGES if examples(page, "python")]


@pytest.mark.parametrize("page", PAGES_WITH_PYTHON, ids=name_of)
def test_every_python_example_is_a_file_that_airflow_parses(
    page: Path, parsed: dict[str, dict[str, list[str]]]
) -> None:
    found = parsed[f"{name_of(page)}.py"]
    assert found["mistakes"] == []
    makes_dags = re.search(r"\bDAG\(|@dag\b|rollout_dags\(", "".join(block.text for block in examples(page, "python")))
    assert bool(found["dags"]) == bool(makes_dags)


def test_no_python_example_uses_a_name_that_it_does_not_define(tmp_path: Path) -> None:
    write_pages(tmp_path, tmp_path)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821", str(tmp_path)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page, "yaml")], ids=name_of)
def test_every_yaml_example_is_a_plan(page: Path, tmp_path: Path) -> None:
    mistakes = []
    for path in plans(page, tmp_path):
        try:
            read_plan(path)
        except PlanFileError as error:
            mistakes += error.mistakes
    assert mistakes == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_this_package_takes_what_is_printed(page: Path) -> None:
    for block in blocks(page):
        for module, arguments in re.findall(r"python -m airflow_provider_ampexp\.(\w+)([^\n>]*)", block.text):
            PARSERS[module]().parse_args(shlex.split(arguments))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for block in blocks(page) for name in re.findall(r"^make ([\w-]+)", block.text, re.MULTILINE)}
    assert named - targets == set()


def test_a_fragment_is_marked_on_the_line_above() -> None:
    marks = {page.name: page.read_text().count("<!-- fragment -->") for page in PAGES}
    marked = {page.name: sum(block.is_fragment for block in blocks(page)) for page in PAGES}
    assert marks == marked
