"""The wheel and the sdist have all files of the package, and no others."""

from __future__ import annotations

import ast
import configparser
import functools
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from airflow_provider_ampexp import __version__
from airflow_provider_ampexp.get_provider_info import get_provider_info
from tools.wheel import PACKAGE, ROOT, build, in_the_sdist, in_the_tree, in_the_wheel, said_by_the_wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def index(built: tuple[Path, Path], tmp_path: Path) -> Iterator[str]:
    """Serve a simple index (PEP 503) with only these two files, and yield its address."""
    project = tmp_path / "index" / "airflow-provider-ampexp"
    project.mkdir(parents=True)
    for file in built:
        shutil.copy(file, project)
    (project / "index.html").write_text("".join(f'<a href="{file.name}">{file.name}</a>' for file in built))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "index"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


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
    assert re.search(r"^Project-URL: Management API, https://amplitude\.com/", metadata, re.MULTILINE)


def test_the_wheel_requires_what_it_imports(built: tuple[Path, Path]) -> None:
    metadata = said_by_the_wheel(built[1], "METADATA")
    required = set(re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE))
    trees = [ast.parse(path.read_text()) for path in (ROOT / PACKAGE).rglob("*.py")]
    modules = {name.partition(".")[0] for tree in trees for node in ast.walk(tree) for name in _imported_by(node)}
    others = modules - sys.stdlib_module_names - {PACKAGE}
    assert {distribution_of(module) for module in others - {"mmh3", "pytest"}} == required, "mmh3 is in the extra fast"


def distribution_of(module: str) -> str:
    (name, *_) = importlib.metadata.packages_distributions()[module]
    return "apache-airflow" if module == "airflow" else name.lower().replace("_", "-")


def _imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []


def test_its_entry_points_lead_somewhere(built: tuple[Path, Path]) -> None:
    points = configparser.ConfigParser()
    points.read_string(said_by_the_wheel(built[1], "entry_points.txt"))
    assert set(points.sections()) >= {"apache_airflow_provider", "airflow.plugins"}
    for section in points.sections():
        for target in points[section].values():
            module, _, name = target.partition(":")
            found = importlib.import_module(module)
            assert not name or getattr(found, name)
    # Airflow does not load a plugin that is not among the entry points, and does not report this.
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


LOOK = """
import importlib.metadata as metadata, json
import airflow_provider_ampexp
[mine] = metadata.distributions(name="airflow-provider-ampexp", path=[TARGET])
[info] = [one.load()() for one in mine.entry_points if one.group == "apache_airflow_provider"]
print(json.dumps({"file": airflow_provider_ampexp.__file__, "version": mine.version, "info": info}))
"""


def test_pip_installs_it_from_an_index(index: str, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--index-url", index, "--target", str(target), "airflow-provider-ampexp"],
        env=env | {"PIP_CONFIG_FILE": os.devnull},
        check=True,
    )
    look = LOOK.replace("TARGET", repr(str(target)))
    done = subprocess.run(
        [sys.executable, "-c", look],
        env=env | {"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert target in Path(found["file"]).parents
    assert found["version"] == __version__
    assert found["info"] == get_provider_info()
