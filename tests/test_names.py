"""A variable is named for the thing that it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_FOLDERS = ("airflow_provider_ampexp", "example_dags", "tests", "tests_ui", "tools", "benchmarks")
_EMPTY_NAMES = {"one", "each", "thing"}


def _loop_variables(tree: ast.AST) -> Iterator[ast.Name | ast.arg]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            yield from node.args.args
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield from (part for part in ast.walk(node.target) if isinstance(part, ast.Name))


@pytest.mark.parametrize("folder", _FOLDERS)
def test_a_loop_variable_names_the_thing(folder: str) -> None:
    unnamed = [
        f"{path.relative_to(ROOT)}:{variable.lineno}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for variable in _loop_variables(ast.parse(path.read_text()))
        if (variable.arg if isinstance(variable, ast.arg) else variable.id) in _EMPTY_NAMES
    ]
    assert unnamed == []
