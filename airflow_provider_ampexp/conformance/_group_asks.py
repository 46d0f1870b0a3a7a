"""Functions that ask the service about mutual exclusion groups and holdout groups. They use only groups of this run."""

from __future__ import annotations

from typing import Any

from airflow_provider_ampexp.conformance._asks import Ask, kind_of, status_of
from airflow_provider_ampexp.conformance._scratch import Response, Scratch, ScratchObject

SHARES: dict[str, dict[str, Any]] = {
    "mutexes": {"slots": [{"percentage": 40}, {"percentage": 60}]},
    "holdouts": {"holdoutPercentage": 5},
}


def create_answer(kind: str) -> Ask:
    def ask(scratch: Scratch) -> str:
        response = _post(scratch, kind)
        body = response.json if isinstance(response.json, dict) else {}
        return ", ".join([str(response.status), *(f"{name}: {kind_of(body[name])}" for name in sorted(body))])

    return ask


def wrong_sum(scratch: Scratch) -> str:
    return status_of(_post(scratch, "mutexes", slots=[{"percentage": 40}, {"percentage": 50}]))


def key_of_a_flag(scratch: Scratch) -> str:
    return status_of(_post(scratch, "mutexes", key=scratch.create("flags").key))


def slots(scratch: Scratch) -> str:
    found = _slots(scratch, _create(scratch, "mutexes"))
    return ", ".join(f"{slot.get('index')}: {slot.get('percentage')} %" for slot in found)


def experiment_in_slots(*indexes: int) -> Ask:
    """Return a function that puts an experiment into slots, and asks for the last status and for its slots.

    :param indexes: the slots, each written by one edit, in this order
    """

    def ask(scratch: Scratch) -> str:
        group, experiment = _create(scratch, "mutexes"), scratch.create("experiments")
        for index in indexes:
            body = {"experiments": [_number(experiment.id)]}
            status = scratch.write("PATCH", group, f"/slots/{index}", body).status
        found = [slot.get("index") for slot in _slots(scratch, group) if _lists(slot, experiment)]
        return f"{status}, then in {found}"

    return ask


def experiment_in_holdout(scratch: Scratch) -> str:
    group, experiment = _create(scratch, "holdouts"), scratch.create("experiments")
    status = scratch.write("PATCH", group, body={"experiments": [_number(experiment.id)]}).status
    return f"{status}, then {_lists(scratch.read(group).json, experiment)}"


def archived(kind: str) -> Ask:
    def ask(scratch: Scratch) -> str:
        group = _create(scratch, kind)
        status = scratch.write("PATCH", group, body={"archive": True}).status
        read, listed = scratch.read(group).json, scratch.get(f"/{kind}", limit="1000").json[kind]
        in_list = any(str(item.get("id")) == group.id for item in listed)
        return f"{status}, deleted {(read or {}).get('deleted')}; in the list {in_list}"

    return ask


def _post(scratch: Scratch, kind: str, **fields: Any) -> Response:
    return scratch.post_object(kind, **{"name": "Conformance", **SHARES[kind], **fields})


def _create(scratch: Scratch, kind: str) -> ScratchObject:
    return scratch.create(kind, name="Conformance", **SHARES[kind])


def _slots(scratch: Scratch, group: ScratchObject) -> list[dict[str, Any]]:
    return list(scratch.read(group).json["slots"])


def _lists(part: dict[str, Any], experiment: ScratchObject) -> bool:
    return experiment.id in map(str, part["experiments"])


def _number(id: str) -> int | str:
    return int(id) if id.isdigit() else id
