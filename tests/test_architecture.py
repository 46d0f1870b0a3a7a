"""The architecture page is up to date, and users may import each module without an underscore."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import TypeGuard

from tools.architecture import PACKAGE, PAGE, PICTURE, draw, table

ROOT = PACKAGE.parent
_AGAIN = "run `python -m tools.architecture`"


def test_the_picture_is_drawn_from_the_contracts() -> None:
    assert PICTURE.read_text() == draw(), _AGAIN


def test_the_table_lists_what_the_code_imports() -> None:
    assert table() in PAGE.read_text(), _AGAIN


def test_a_module_without_an_underscore_is_documented_or_loaded_by_name() -> None:
    """Airflow, pytest (entry points, provider info) or ``python -m`` loads it. Others begin with an underscore."""
    named = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    named += (ROOT / "pyproject.toml").read_text() + (ROOT / "docs" / "testing.md").read_text()
    provider_info = (PACKAGE / "get_provider_info.py").read_text()
    unknown = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        module = ".".join((PACKAGE.name, *parts))
        if (
            not re.search(rf"{re.escape(module)}\b", named)
            and f'"{parts[-1]}"' not in provider_info
            and ".".join(parts) not in provider_info
        ):
            unknown.append(module)
    assert unknown == []


def test_a_module_without_an_underscore_names_what_users_may_import() -> None:
    """``__all__`` is complete for a type checker and the reference. A public module has no other public name."""
    silent = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        tree = ast.parse(path.read_text())
        defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ImportFrom) for node in tree.body)
        names = next((ast.literal_eval(node.value) for node in tree.body if _is_all(node)), None)
        known = importlib.import_module(".".join((PACKAGE.name, *parts)).removesuffix(".__init__"))
        if (defines and not names) or not all(hasattr(known, name) for name in names or ()):
            silent.append("/".join(parts))
    assert silent == []


def _is_all(node: ast.stmt) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def test_every_package_says_what_it_is_for() -> None:
    silent = [str(path) for path in PACKAGE.rglob("__init__.py") if not Path(path).read_text().startswith('"""')]
    assert silent == []
