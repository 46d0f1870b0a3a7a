"""The architecture page shows the code as it is, and a module without an underscore is one that users may import."""

from __future__ import annotations

import re
from pathlib import Path

from tools.architecture import PACKAGE, PAGE, PICTURE, draw, table

ROOT = PACKAGE.parent
_AGAIN = "run `python -m tools.architecture`"


def test_the_picture_is_drawn_from_the_contracts() -> None:
    assert PICTURE.read_text() == draw(), _AGAIN


def test_the_table_lists_what_the_code_imports() -> None:
    assert table() in PAGE.read_text(), _AGAIN


def test_a_module_without_an_underscore_is_documented_or_loaded_by_name() -> None:
    """By Airflow or pytest (entry points, provider info), or by ``python -m``. All others begin with an underscore."""
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


def test_every_package_says_what_it_is_for() -> None:
    silent = [str(path) for path in PACKAGE.rglob("__init__.py") if not Path(path).read_text().startswith('"""')]
    assert silent == []
