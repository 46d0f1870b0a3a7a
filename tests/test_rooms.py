"""The arrows between the rooms are those of the table in `tools/rooms.py`, and so are the picture and the page."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.rooms import ON_PURPOSE, PICTURE, ROOMS, draw, may_import, table

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_ampexp"


def imports_of(module: Path) -> Iterator[str]:
    """Whatever it imports, wherever in it: for types alone and inside functions as well."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name, which hides the room"
            yield from (f"{node.module}.{one.name}" for one in node.names)


def arrows() -> Iterator[tuple[str, str, str]]:
    """Each import of one room by another: room, module, and what is imported."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        room = module.partition(".")[0]
        for imported in imports_of(path):
            within = imported.removeprefix(f"{PACKAGE.name}.")
            if within != imported and within.split(".")[0] not in (room, "__version__"):
                yield room, module, within


def test_every_room_is_in_the_table() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert there - {"__init__", "__pycache__", "static"} == set(ROOMS)


def test_a_room_imports_what_the_table_says_and_nothing_else() -> None:
    against = [
        f"{module} imports {imported}"
        for room, module, imported in arrows()
        if not may_import(room, imported) and not f"{imported}.".startswith(f"{ON_PURPOSE.get(module, '-')}.")
    ]
    assert against == []


def test_the_table_names_no_arrow_that_is_not_there() -> None:
    """What is not used any more is taken out, so that nobody begins to use it unseen."""
    seen = list(arrows())
    used = {
        (room, one) for room, _, imported in seen for one in ROOMS[room].imports if f"{imported}.".startswith(f"{one}.")
    }
    assert {(name, one) for name, room in ROOMS.items() for one in room.imports} - used == set()
    by_name = {module for _, module, imported in seen if imported.startswith(ON_PURPOSE.get(module, "-"))}
    assert by_name == set(ON_PURPOSE)


def test_arrows_run_downwards() -> None:
    """No way along the arrows leads back to where it began."""
    left = {name: {one.partition(".")[0] for one in room.imports} for name, room in ROOMS.items()}
    while bottom := {name for name, below in left.items() if not below & left.keys()}:
        left = {name: below for name, below in left.items() if name not in bottom}
    assert left == {}
    for name, room in ROOMS.items():
        for below in {one.partition(".")[0] for one in room.imports}:
            other = ROOMS[below]
            assert room.at is not None, name
            assert other.at is not None, below
            assert room.at[1] < other.at[1], f"{name} is drawn beside or below {below}, which it imports"


def test_the_emulator_stands_apart() -> None:
    assert ROOMS["emulator"].imports == ()
    assert [name for name, room in ROOMS.items() if any(one.startswith("emulator") for one in room.imports)] == []


@pytest.mark.parametrize("room", [name for name, room in ROOMS.items() if not room.airflow])
def test_it_knows_nothing_of_airflow(room: str) -> None:
    modules = sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    of_airflow = [
        f"{module.name} imports {imported}"
        for module in modules
        for imported in imports_of(module)
        if imported.partition(".")[0] == "airflow"
    ]
    assert of_airflow == []


def test_the_picture_and_the_page_are_drawn_from_the_table() -> None:
    again = "run `python -m tools.rooms`"
    assert PICTURE.read_text() == draw(), again
    assert table() in (PICTURE.parent.parent / "architecture.md").read_text(), again
