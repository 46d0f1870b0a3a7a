"""The docstrings of this package for the site: what is Sphinx in them becomes Markdown.

A role such as ``:class:`~package.module.Name``` becomes a link, and a ``::`` before an indented block a colon. An
argument that a class describes, and that the class above it takes, is shown as its own.
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
    """Rewrites each docstring once the whole package is read, since a name may lead to another module."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Go through everything that is in the package."""
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
    *named, last = own.parameters  # **kwargs, which is where they go
    own.parameters = griffe.Parameters(*named, *taken, last) if taken else own.parameters


def _link(name: str, obj: griffe.Object, short: bool) -> str:
    shown = f"`{name.rpartition('.')[2] if short else name}`"
    try:
        path = name if name.startswith(_PACKAGE) else obj.resolve(name)
        found = obj.modules_collection[path]
    except (griffe.NameResolutionError, KeyError):
        return shown  # of somebody else's documentation
    return f"[{shown}][{found.final_target.path if isinstance(found, griffe.Alias) else found.path}]"
