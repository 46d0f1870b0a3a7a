"""Which room of this package may import which: the one table for the picture in the documentation and for its test.

`tests/test_rooms.py` holds the code, the picture and the table of `docs/architecture.md` against it. After a change,
`python -m tools.rooms` draws the picture anew and prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "rooms.svg"


@dataclass(frozen=True)
class Room:
    """A folder of the package, or a module beside the folders."""

    what: str
    imports: tuple[str, ...] = ()
    """What it may import: whole rooms, or single modules of one."""
    airflow: bool = False
    """Whether it may import Airflow."""
    at: tuple[int, int] | None = None
    """Where it stands in the picture: the middle in pixels from the left, and the floor counted from the top."""


ROOMS = {
    "plans": Room(
        "releases as YAML files, and the commands that check them",
        ("task_groups", "operators", "guardrails", "hooks", "ensure", "rollout", "client"),
        airflow=True,
        at=(220, 0),
    ),
    "rollouts_page": Room(
        "the page in Airflow's navigation; it only reads",
        ("operators", "hooks", "ensure", "rollout", "client"),
        airflow=True,
        at=(560, 0),
    ),
    "task_groups": Room(
        "a rollout as a group, one task a stage", ("operators", "rollout", "client"), airflow=True, at=(220, 1)
    ),
    "sensors": Room("wait for a state", ("operators", "triggers", "hooks", "client"), airflow=True, at=(390, 1)),
    "operators": Room(
        "tasks that see to something",
        ("assets", "triggers", "guardrails", "hooks", "ensure", "rollout", "client"),
        airflow=True,
        at=(390, 2),
    ),
    "triggers": Room(
        "wait without a worker; they only read", ("hooks", "ensure", "rollout", "client"), airflow=True, at=(220, 3)
    ),
    "guardrails": Room(
        "checks that look at the world and answer pass, fail or inconclusive",
        ("rollout", "client"),
        airflow=True,
        at=(390, 3),
    ),
    "hooks": Room("from an Airflow connection to a client", ("client",), airflow=True, at=(90, 4)),
    "ensure": Room("bring a flag to a state: read, compare, write, read back", ("client",), at=(240, 4)),
    "rollout": Room(
        "what a rollout is: plan, history, decision; pure functions",
        (
            "client.actors",
            "client.checks",
            "client.errors",
            "client.fields",
            "client.optional_fields",
            "client.timestamps",
        ),
        at=(390, 4),
    ),
    "assets": Room("flags as Airflow assets", ("client",), airflow=True, at=(560, 4)),
    "client": Room("the Management API", at=(315, 5)),
    "provider": Room("what Airflow reads to know this provider"),
    "emulator": Room("a Management API to try things on, written from the contract alone", at=(720, 4)),
}

ON_PURPOSE = {
    "rollout.__main__": "plans.command",  # `python -m airflow_provider_ampexp.plans` is a name for people, no more
}
"""Modules that import what their room may not, because a person asks for them by that name."""


def may_import(room: str, imported: str) -> bool:
    """Whether a room may import a module, such as ``client.errors.InvalidInputError``."""
    return any(imported == one or imported.startswith(f"{one}.") for one in ROOMS[room].imports)


def table() -> str:
    """The table of `docs/architecture.md`."""
    lines = ["| room | what it is | imports | knows Airflow |", "| --- | --- | --- | --- |"]
    for name, room in ROOMS.items():
        imports = ", ".join(f"`{one}`" for one in room.imports) or "none"
        lines.append(f"| `{name}` | {room.what} | {imports} | {'yes' if room.airflow else 'no'} |")
    return "\n".join(lines) + "\n"


def drawn_arrows() -> list[tuple[str, str]]:
    """The arrows of the picture: those that follow from two others are left out."""
    arrows = {(name, one.partition(".")[0]) for name, room in ROOMS.items() for one in room.imports}
    reach = set(arrows)
    while more := {(a, d) for a, b in reach for c, d in arrows if b == c} - reach:
        reach |= more
    implied = {(a, d) for a, b in arrows for c, d in reach if b == c}
    return sorted(arrows - implied)


_WIDTH, _HEIGHT, _FLOOR, _BOX = 820, 452, 74, (124, 36)


def draw() -> str:
    """The picture."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="14" role="img" aria-label="The rooms, and who imports whom">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#55606e"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#f7f9fc"/>',
    ]
    for upper, lower in drawn_arrows():
        lines.append(_line(_foot(upper), _head(lower)))
    for name, room in ROOMS.items():
        if room.at is not None:
            lines += _box(name, room)
    x, y = _middle("emulator")
    lines += [
        f'<text x="{x}" y="{y + 40}" text-anchor="middle" font-size="12" fill="#55606e">stands apart</text>',
        f'<text x="20" y="{_HEIGHT - 16}" font-size="12" fill="#55606e">An arrow goes to what is imported.'
        " Blue rooms know Airflow.</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _middle(name: str) -> tuple[int, int]:
    x, floor = ROOMS[name].at or (0, 0)
    return x, 30 + floor * _FLOOR


def _head(name: str) -> tuple[int, int]:
    x, y = _middle(name)
    return x, y - _BOX[1] // 2


def _foot(name: str) -> tuple[int, int]:
    x, y = _middle(name)
    return x, y + _BOX[1] // 2


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<path d="M{x1} {y1} {x2} {y2}" stroke="#55606e" stroke-width="1.4" marker-end="url(#head)"/>'


def _box(name: str, room: Room) -> list[str]:
    (x, y), (width, height) = _middle(name), _BOX
    fill, border = ("#dfe9ff", "#3b6fd4") if room.airflow else ("#ffffff", "#55606e")
    apart = ' stroke-dasharray="4 3"' if name == "emulator" else ""
    return [
        f'<rect x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}" rx="5" fill="{fill}" '
        f'stroke="{border}"{apart}><title>{room.what}</title></rect>',
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="#1c2430">{name}</text>',
    ]


if __name__ == "__main__":
    PICTURE.write_text(draw())
    print(table(), end="")
