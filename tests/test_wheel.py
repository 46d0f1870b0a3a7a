"""What people install: everything of the package is in it, and nothing else."""

from __future__ import annotations

import configparser
import importlib
import re
from pathlib import Path

import pytest

from airflow_provider_ampexp import __version__
from tools.wheel import PACKAGE, ROOT, build, in_the_sdist, in_the_tree, in_the_wheel, said_by_the_wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("dist"))


def test_the_wheel_is_what_the_tree_is(built: tuple[Path, Path]) -> None:
    names = in_the_wheel(built[1])
    assert names == in_the_tree()
    assert "airflow_provider_ampexp/py.typed" in names
    static = {name.rpartition(".")[2] for name in names if "/static/" in name}
    assert static >= {"html", "css", "js", "svg"}


def test_what_it_says_of_itself(built: tuple[Path, Path]) -> None:
    metadata = said_by_the_wheel(built[1], "METADATA")
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nClassifier: Framework :: Apache Airflow :: Provider\n" in metadata
    assert "Apache License" in said_by_the_wheel(built[1], "LICENSE")
    wanted = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert sorted(wanted) == ["apache-airflow", "cachetools", "requests", "tenacity", "urllib3"]


def test_its_entry_points_lead_somewhere(built: tuple[Path, Path]) -> None:
    points = configparser.ConfigParser()
    points.read_string(said_by_the_wheel(built[1], "entry_points.txt"))
    assert set(points.sections()) >= {"apache_airflow_provider", "airflow.plugins"}
    for section in points.sections():
        for target in points[section].values():
            module, _, name = target.partition(":")
            found = importlib.import_module(module)
            assert not name or getattr(found, name)
    # A plugin that is not among them is loaded by nobody, and nothing fails.
    sources = [path.read_text() for path in (ROOT / PACKAGE).rglob("*.py")]
    plugins = {name for text in sources for name in re.findall(r"^class (\w+)\(AirflowPlugin\)", text, re.MULTILINE)}
    assert {target.partition(":")[2] for target in points["airflow.plugins"].values()} == plugins


def test_the_sdist_has_what_a_build_and_its_tests_need(built: tuple[Path, Path]) -> None:
    names = in_the_sdist(built[0])
    assert in_the_tree() <= names
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests/conftest.py"}
    assert {name.partition("/")[0] for name in names} >= {"docs", "example_dags", "tests", "tools", "constraints"}
    left_over = [name for name in names if re.search(r"__pycache__|\.venv|\.hypothesis|(^|/)site/|\.db$|\.log$", name)]
    assert left_over == []
