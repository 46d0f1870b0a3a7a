"""Functions that ask the service a question. They use only objects of this run, and return the answer in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any, TypeAlias

from airflow_provider_ampexp.conformance._scratch import Response, Scratch, ScratchObject

Ask: TypeAlias = Callable[[Scratch], str]

_FAR_DATE = 120.0  # seconds


def kind_of(value: object) -> str:
    """Return the JSON type of a value, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "object"
    return "list" if isinstance(value, list) else "number"


def status_of(response: Response) -> str:
    return str(response.status)


def field(kind: str, name: str, show: Callable[[Any], str] = kind_of) -> Ask:
    """Return a function that asks for a field of a new object."""

    def ask(scratch: Scratch) -> str:
        config = scratch.read(scratch.create(kind)).json
        return show(config[name]) if isinstance(config, dict) and name in config else "absent"

    return ask


def after(kind: str, body: dict[str, Any], name: str, show: Callable[[Any], str] = repr) -> Ask:
    """Return a function that asks for the status of an edit, and for a field after the edit."""

    def ask(scratch: Scratch) -> str:
        thing = scratch.create(kind)
        status = scratch.write("PATCH", thing, body=body).status
        return f"{status}, then {show((scratch.read(thing).json or {}).get(name))}"

    return ask


def edit(kind: str, body: dict[str, Any]) -> Ask:
    return lambda scratch: status_of(scratch.write("PATCH", scratch.create(kind), body=body))


def time_format(value: object) -> str:
    """Return the format of a time: the time, such as ``2026-01-01T00:00:00.000Z``, with each digit as 0."""
    return re.sub(r"\d", "0", str(value))


def date_header(scratch: Scratch) -> str:
    found = scratch.get("/flags", limit="1").headers.get("Date")
    if found is None:
        return "absent"
    try:
        away = abs((parsedate_to_datetime(found) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return f"not a date: {found!r}"
    return "the present time" if away < _FAR_DATE else "another time than this machine's"


def create_answer(kind: str) -> Ask:
    def ask(scratch: Scratch) -> str:
        response = scratch.post_object(kind)
        body = response.json if isinstance(response.json, dict) else {}
        return ", ".join([str(response.status), *(f"{name}: {kind_of(body[name])}" for name in sorted(body))])

    return ask


def same_key(kind: str) -> Ask:
    return lambda scratch: status_of(scratch.post_object(kind, key=scratch.create(kind).key))


def read_list(kind: str, **query: str) -> Callable[[Scratch, str], list[dict[str, Any]]]:
    def read(scratch: Scratch, key: str) -> list[dict[str, Any]]:
        found = scratch.get(f"/{kind}", **{name: value.format(key=key) for name, value in query.items()}).json
        listed = found.get(kind, []) if isinstance(found, dict) else found
        return listed if isinstance(listed, list) else []

    return read


def key_filter(kind: str) -> Ask:
    def ask(scratch: Scratch) -> str:
        scratch.create(kind)
        key = scratch.create(kind).key
        keys = [item.get("key") for item in read_list(kind, key="{key}")(scratch, key)]
        return "only this key" if keys == [key] else "ignored" if key in keys else "nothing found"

    return ask


def project_filter(scratch: Scratch) -> str:
    key = scratch.create("flags").key
    keys = [item.get("key") for item in read_list("flags", projectId="0")(scratch, key)]
    return "ignored" if key in keys else "applied"


def newest_first(scratch: Scratch) -> str:
    older, newer = (scratch.create("flags").key for _ in range(2))
    keys = [item.get("key") for item in read_list("flags", limit="100")(scratch, newer)]
    if older not in keys or newer not in keys:
        return "not on the first page"
    return "newest first" if keys.index(newer) < keys.index(older) else "oldest first"


def list_shape(scratch: Scratch) -> str:
    found = scratch.get("/flags", limit="1").json
    return f"object with {', '.join(sorted(found))}" if isinstance(found, dict) else kind_of(found)


def cursor(scratch: Scratch) -> str:
    for _ in range(2):
        scratch.create("flags")
    found = scratch.get("/flags", limit="1").json
    return kind_of(found["nextCursor"]) if isinstance(found, dict) and "nextCursor" in found else "absent"


def last_cursor(scratch: Scratch) -> str:
    key = scratch.create("flags").key
    found = scratch.get("/flags", key=key).json
    if not isinstance(found, dict) or "nextCursor" not in found:
        return "absent"
    return "empty" if found["nextCursor"] == "" else kind_of(found["nextCursor"])


def write_body(scratch: Scratch) -> str:
    response = scratch.write("PATCH", scratch.create("flags"), body={"rolloutPercentage": 5})
    return f"{response.status} {response.text.strip()}"


def versions(kind: str, show: Callable[[list[dict[str, Any]]], str]) -> Ask:
    """Return a function that asks for the versions after two edits."""

    def ask(scratch: Scratch) -> str:
        thing = scratch.create(kind)
        for percentage in (1, 2):
            scratch.write("PATCH", thing, body={"rolloutPercentage": percentage})
        found = scratch.read(thing, "/versions").json
        listed = found.get("versions", []) if isinstance(found, dict) else found
        return show(listed) if isinstance(listed, list) and listed else f"no versions: {kind_of(found)}"

    return ask


def order(versions: list[dict[str, Any]]) -> str:
    numbers = [version.get("version") for version in versions]
    steps = {int(a) - int(b) for a, b in pairwise(numbers) if a is not None and b is not None}
    return "newest first, steps of " + ", ".join(map(str, sorted(steps)))


def config_fields(versions: list[dict[str, Any]]) -> str:
    wanted = ("enabled", "rolloutPercentage", "rolloutWeights", "targetSegments", "tags", "variants", "bucketingSalt")
    config = versions[0].get("flagConfig") or {}
    return f"without {', '.join(missing)}" if (missing := [name for name in wanted if name not in config]) else "all"


def unchanged(scratch: Scratch) -> str:
    thing = scratch.create("flags")

    def count() -> int:
        found = scratch.read(thing, "/versions").json
        return len(found.get("versions", []) if isinstance(found, dict) else found)

    scratch.write("PATCH", thing, body={"rolloutPercentage": 5})
    before = count()
    status = scratch.write("PATCH", thing, body={"rolloutPercentage": 5}).status
    return f"{status}, {count() - before} new versions"


def variant(method: str, path: str, body: object = None) -> Ask:
    def ask(scratch: Scratch) -> str:
        return status_of(scratch.write(method, scratch.create("flags"), f"/variants{path}", body))

    return ask


def added_weight(scratch: Scratch) -> str:
    thing = scratch.create("flags")
    status = scratch.write("POST", thing, "/variants", {"key": "second"}).status
    return f"{status}, weight {(scratch.read(thing).json or {}).get('rolloutWeights', {}).get('second')}"


def odd_key(scratch: Scratch) -> str:
    thing = scratch.create("flags")
    created = scratch.write("POST", thing, "/variants", {"key": "a/b c"}).status
    return f"{created}, then {scratch.read(thing, '/variants/a%2Fb%20c').status}"


def inclusions(show: Callable[[Scratch, ScratchObject], str]) -> Ask:
    """Return a function that asks about the inclusions ann and bob of a new flag."""

    def ask(scratch: Scratch) -> str:
        thing = scratch.create("flags")
        added = scratch.write("POST", thing, "/variants/on/users", {"inclusions": ["ann", "bob"]})
        return show(scratch, thing) if added.status < 300 else f"adding: {added.status}"

    return ask


def users(scratch: Scratch, thing: ScratchObject) -> str:
    return str(scratch.read(thing, "/variants/on/users").json)


def again(scratch: Scratch, thing: ScratchObject) -> str:
    status = scratch.write("POST", thing, "/variants/on/users", {"inclusions": ["ann"]}).status
    return f"{status}, then {users(scratch, thing)}"


def remove(index: str) -> Callable[[Scratch, ScratchObject], str]:
    def show(scratch: Scratch, thing: ScratchObject) -> str:
        status = scratch.write("DELETE", thing, f"/variants/on/users/{index}").status
        return f"{status}, then {users(scratch, thing)}"

    return show


def bulk_removal(scratch: Scratch, thing: ScratchObject) -> str:
    status = scratch.write("DELETE", thing, "/variants/on/bulk-delete-users", {"users": ["ann"]}).status
    return f"{status}, then {users(scratch, thing)}"


def archived(kind: str) -> Ask:
    def ask(scratch: Scratch) -> str:
        thing = scratch.create(kind)
        scratch.write("PATCH", thing, body={"archive": True})
        config = scratch.read(thing)
        deleted = config.json.get("deleted") if isinstance(config.json, dict) else None
        listed = [
            thing.key in [item.get("key") for item in read_list(kind, key="{key}", **more)(scratch, thing.key)]
            for more in ({}, {"includeArchived": "true"})
        ]
        return f"{config.status}, deleted {deleted}; in the list {listed[0]}, with includeArchived {listed[1]}"

    return ask


def enabled_experiment(scratch: Scratch) -> str:
    thing = scratch.create("experiments")
    status = scratch.write("PATCH", thing, body={"enabled": True}).status
    config = scratch.read(thing).json or {}
    return f"{status}, state {config.get('state')}, startDate {kind_of(config.get('startDate'))}"


def decided(scratch: Scratch) -> str:
    thing = scratch.create("experiments")
    body = {"decision": "rollout", "rolledOutVariant": "treatment", "decisionReason": "conformance"}
    status = scratch.write("PATCH", thing, body=body).status
    config = scratch.read(thing).json or {}
    return (
        f"{status}, state {config.get('state')}, percentage {config.get('rolloutPercentage')}, "
        f"winner {config.get('rolledOutVariant')}"
    )


def dependency(scratch: Scratch) -> str:
    """Ask for the status of an edit of ``parentDependencies``, and for the field after the edit."""
    parent, child = scratch.create("flags"), scratch.create("flags")
    wanted = {"flags": {parent.id: ["on"]}, "operator": "all"}
    status = scratch.write("PATCH", child, body={"parentDependencies": wanted}).status
    found = (scratch.read(child).json or {}).get("parentDependencies")
    return f"{status}, then {'as sent' if found == wanted else kind_of(found)}"
