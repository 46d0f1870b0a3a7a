"""Draw the architecture: the picture and the table of `docs/architecture.md`.

The layers come from the import-linter contracts in `pyproject.toml`, which `make lint` checks. The purpose of a package
comes from its docstring, and its imports from its code. Run `python -m tools.architecture` after a change.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import grimp
from importlinter.api import read_configuration

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "airflow_provider_ampexp"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PAGE = ROOT / "docs" / "architecture.md"
_APART = "emulator"
_SHOWN_BESIDE = (_APART,)


@dataclass(frozen=True)
class Component:
    """A package of the provider, or a module beside the packages."""

    name: str
    purpose: str
    imports: tuple[str, ...]
    """The other components that it imports."""
    knows_airflow: bool


def layers() -> list[list[str]]:
    """Return the components by layer, from the top, as the contract names them."""
    contracts = read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"]
    (contract,) = (contract for contract in contracts if contract["id"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def components() -> dict[str, Component]:
    """Return every component with what its code imports."""
    graph = grimp.build_graph(PACKAGE.name, include_external_packages=True)
    found = {}
    for name in (*(name for layer in layers() for name in layer), _APART, "get_provider_info"):
        imports: set[str] = set()
        for module in {f"{PACKAGE.name}.{name}", *graph.find_descendants(f"{PACKAGE.name}.{name}")}:
            imports |= graph.find_modules_directly_imported_by(module)
        within = {module.split(".")[1] for module in imports if module.startswith(f"{PACKAGE.name}.")}
        found[name] = Component(name, _purpose(name), tuple(sorted(within - {name})), "airflow" in imports)
    return found


def table() -> str:
    """Return the table of the page."""
    lines = ["| package | what it is for | imports | imports Airflow itself |", "| --- | --- | --- | --- |"]
    for component in components().values():
        imports = ", ".join(f"`{name}`" for name in component.imports) or "none"
        airflow = "yes" if component.knows_airflow else "no"
        lines.append(f"| `{component.name}` | {component.purpose} | {imports} | {airflow} |")
    return "\n".join(lines) + "\n"


def _purpose(name: str) -> str:
    """Return the first sentence of a package's docstring, without the full stop."""
    path = PACKAGE / name / "__init__.py"
    source = path if path.exists() else PACKAGE / f"{name}.py"
    docstring = ast.get_docstring(ast.parse(source.read_text())) or ""
    first = re.split(r"\.(?:\s|$)", docstring.replace("\n", " "), maxsplit=1)[0]
    return first.replace("``", "`")


_WIDTH, _ROW, _BOX, _GAP = 760, 52, (116, 34), 14


def draw() -> str:
    """Return the picture: a row for each layer, and the emulator beside them."""
    rows, known = layers(), components()
    height = len(rows) * _ROW + 58
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="14" role="img" aria-label="The packages in layers. Each imports only what lies below it.">',
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#f7f9fc"/>',
    ]
    for place, row in enumerate(rows):
        y = 30 + place * _ROW
        left = 300 - (len(row) * (_BOX[0] + _GAP) - _GAP) / 2
        if place:
            lines.append(f'<path d="M20 {y - 26} H580" stroke="#cdd5df" stroke-dasharray="2 4"/>')
        for number, name in enumerate(row):
            lines += _box(known[name], left + number * (_BOX[0] + _GAP), y - 17)
    middle = 30 + (len(rows) - 1) * _ROW / 2
    lines += _box(known[_APART], 622, middle - 17)
    lines += [
        f'<text x="680" y="{middle + 38}" text-anchor="middle" font-size="12" fill="#55606e">separate</text>',
        f'<text x="20" y="{height - 16}" font-size="12" fill="#55606e">A package imports only what lies below it.'
        " Blue packages use Airflow.</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _box(component: Component, x: float, y: float) -> list[str]:
    (width, height) = _BOX
    fill, border = ("#dfe9ff", "#3b6fd4") if component.knows_airflow else ("#ffffff", "#55606e")
    dashes = ' stroke-dasharray="4 3"' if component.name in _SHOWN_BESIDE else ""
    return [
        f'<rect x="{x:g}" y="{y:g}" width="{width}" height="{height}" rx="5" fill="{fill}" stroke="{border}"{dashes}/>',
        f'<text x="{x + width / 2:g}" y="{y + 22:g}" text-anchor="middle" fill="#1c2430">{component.name}</text>',
    ]


if __name__ == "__main__":
    PICTURE.write_text(draw())
    page = PAGE.read_text()
    PAGE.write_text(re.sub(r"\| package \|.*?\n(?=\n)", lambda _: table(), page, flags=re.S))
