"""Parse a YAML text, with the line of each field.

The rules are those of YAML 1.2, as in editors. PyYAML's default is YAML 1.1, in which ``off`` is false, ``22:00`` is
the number 1320, ``010`` is eight and ``1e-3`` is a text.

One rule is stricter: a whole number has one way to be written. ``007`` and ``+48123456789`` are texts, because the
number would be another flag or another user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml  # type: ignore[import-untyped]

from airflow_provider_ampexp.plans._errors import FieldPath, named

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_EXPONENT = r"(?:[eE][-+]?[0-9]+)"


class YamlError(Exception):
    """The text is invalid, or a field is duplicate. ``found`` has the line, the field and the problem of each."""

    def __init__(self, *found: tuple[int, str, str]) -> None:
        super().__init__(found)
        self.found = found


class YamlDocument:
    """A parsed text: its ``value`` in plain Python values, and its lines.

    :raises YamlError: when the text is not YAML, has other values than plain ones, or has a duplicate field
    """

    def __init__(self, data: bytes) -> None:
        self.text = _decoded(data)
        try:
            loader = _Loader(self.text)
            self._root = loader.get_single_node()
            if self._root is not None and (twice := list(_wrong_keys(self._root, (), set()))):
                raise YamlError(*twice)
            self.value: object = None if self._root is None else loader.construct_document(self._root)
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise YamlError((line, "", f"not YAML: the character {chr(error.character)!r} is not allowed")) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = ", ".join(filter(None, (error.context, error.problem)))
            raise YamlError((mark.line + 1 if mark else 1, "", f"not YAML: {said}")) from None
        except RecursionError:
            raise YamlError((1, "", "not readable YAML: too many levels")) from None

    def line_of(self, path: FieldPath) -> int:
        """Return the line of a field, or of the innermost existing field around it."""
        node, line = self._root, 1
        for part in path:
            if isinstance(part, str) and isinstance(node, yaml.MappingNode):
                # The last pair counts: own fields come after merged fields.
                here = next((pair for pair in reversed(node.value) if pair[0].value == part), None)
            elif isinstance(part, int) and isinstance(node, yaml.SequenceNode) and part < len(node.value):
                here = (node.value[part], node.value[part])
            else:
                here = None
            if here is None:
                break
            line, node = here[0].start_mark.line + 1, here[1]
        return int(line)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML comes without types
    """Load plain values by the core schema of YAML 1.2, and ``<<`` to merge."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's interface


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"0|-?[1-9][0-9]{0,17}", "-0123456789"),
    (
        "tag:yaml.org,2002:float",
        rf"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*){_EXPONENT}?|[0-9]+{_EXPONENT})",
        "-+.0123456789",
    ),
    (_MERGE, r"<<", "<"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), [*_first, *([""] if _first == "~nN" else [])])
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(loader.construct_scalar(node)))


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError((data.count(b"\n", 0, error.start) + 1, "", "not UTF-8")) from None


def _wrong_keys(node: yaml.Node, path: FieldPath, seen: set[int]) -> Iterator[tuple[int, str, str]]:
    """Yield duplicate fields, of which YAML would silently take the last, and fields that are not a text."""
    if id(node) in seen:
        return  # an alias, perhaps to a node around it
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _wrong_keys(item, (*path, place), seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if key.tag not in (_TEXT, _MERGE):
                name = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list"
                in_quotes = "; put it in quotes" if path and isinstance(key, yaml.ScalarNode) else ""
                yield line, named(path), f"expected the name of a field, got {name}{in_quotes}"
                continue
            here = (*path, key.value)
            if key.value in lines:
                yield line, named(here), f"is a duplicate: also in line {lines[key.value]}"
            lines.setdefault(key.value, line)
            yield from _wrong_keys(item, here, seen)
