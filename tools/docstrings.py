"""Convert the docstrings of this package for the site: Sphinx markup becomes Markdown.

A role such as ``:class:`~package.module.Name``` becomes a link, and a ``::`` before an indented block a colon. An
argument of a base class that a class describes is shown as an argument of that class.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_PACKAGE = "airflow_provider_ampexp"
_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`(~?)([\w.]+)`")
_PARAM = re.compile(r":param (\w+):")
_BLOCK = re.compile(r"::$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrite each docstring after the whole package is loaded, because a role may name another module."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Rewrite the docstrings of a loaded package."""
        if pkg.path == _PACKAGE:
            _rewrite(pkg)


def _rewrite(obj: griffe.Object) -> None:
    if obj.docstring is not None:
        text = _ROLE.sub(lambda role: _link(role[2], obj, bool(role[1])), obj.docstring.value)
        obj.docstring.value = _BLOCK.sub(":", text)
        if isinstance(obj, griffe.Class) and isinstance(own := obj.members.get("__init__"), griffe.Function):
            _take_over(obj, own)
    for member in obj.members.values():
        if isinstance(member, griffe.Object):
            _rewrite(member)


def _take_over(cls: griffe.Class, own: griffe.Function) -> None:
    described = _PARAM.findall(cls.docstring.value if cls.docstring else "")
    above = [parameter for base in cls.mro() if "__init__" in base.members for parameter in base["__init__"].parameters]
    known = {parameter.name: parameter for parameter in reversed(above)}
    taken = [known[name] for name in described if name in known and name not in own.parameters]
    *named, last = own.parameters  # the last one is **kwargs, which passes these arguments to the base class
    own.parameters = griffe.Parameters(*named, *taken, last) if taken else own.parameters


def _link(name: str, obj: griffe.Object, short: bool) -> str:
    shown = f"`{name.rpartition('.')[2] if short else name}`"
    try:
        path = name if name.startswith(_PACKAGE) else obj.resolve(name)
        found = obj.modules_collection[path]
    except (griffe.NameResolutionError, KeyError):
        return shown  # the name of another library, which has no page here
    return f"[{shown}][{found.final_target.path if isinstance(found, griffe.Alias) else found.path}]"
